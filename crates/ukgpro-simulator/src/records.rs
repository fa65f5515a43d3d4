//! A person's record as a service writes it: members in the order of the contract, null if there is no value.

use crate::catalogue::{EMPLOYEE_MEMBERS, PERSON_TEXTS, SoapService, WITH_PEOPLE};
use crate::people::Person;
use crate::xml::escape;

/// Returns a person's record. It uses the prefixes `b` for the contracts and `i` for the instance namespace.
pub(crate) fn record(service: &SoapService, person: &Person) -> String {
    let members = EMPLOYEE_MEMBERS.map(|member| text(member, person.member(member))).concat();
    let people = if service.name == WITH_PEOPLE { people(person) } else { String::new() };
    format!("<b:{0}>{members}{people}</b:{0}>", service.record)
}

fn people(person: &Person) -> String {
    let mut members = PERSON_TEXTS.map(|member| (member, text(member, person.member(member)))).to_vec();
    let identifier = ["CompanyCode", "EmployeeNumber"].map(|member| text(member, person.member(member))).concat();
    let identifier =
        format!(r#"<b:EmployeeIdentifier i:type="b:EmployeeNumberIdentifier">{identifier}</b:EmployeeIdentifier>"#);
    members.push(("EmployeeIdentifier", identifier));
    members.push(("SuppressSSN", text("SuppressSSN", "true")));
    members.sort_unstable();
    let members: String = members.into_iter().map(|(_, member)| member).collect();
    format!("<b:People><b:Person>{members}</b:Person></b:People>")
}

fn text(member: &str, value: &str) -> String {
    match value {
        "" => format!(r#"<b:{member} i:nil="true"/>"#),
        value => format!("<b:{member}>{}</b:{member}>", escape(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{CONTRACTS, soap_service};
    use crate::xml::{self, Element, INSTANCE};

    fn read(service: &str) -> Element {
        let record = record(soap_service(service).expect("it is in the table"), &Person::at(0));
        let document = format!(r#"<x xmlns:b="{CONTRACTS}" xmlns:i="{INSTANCE}">{record}</x>"#);
        xml::read(document.as_bytes()).expect("well-formed").children.remove(0)
    }

    fn names(element: &Element) -> Vec<&str> {
        element.children.iter().map(|child| child.name.as_str()).collect()
    }

    #[test]
    fn a_record_begins_as_every_services_does() {
        let record = read("EmployeeJob");
        assert_eq!(record.name, "EmployeeJob");
        assert_eq!(names(&record), EMPLOYEE_MEMBERS);
        assert_eq!(record.child(CONTRACTS, "EmployeeNumber").map(|number| number.text.as_str()), Some("000001"));
    }

    #[test]
    fn a_person_has_its_members_in_order_and_no_number_that_is_secret() {
        let record = read("EmployeePerson");
        assert_eq!(names(&record)[4..], ["People"]);
        let person = &record.children[4].children[0];
        assert!(names(person).is_sorted() && names(person).len() == PERSON_TEXTS.len() + 2, "{:?}", names(person));
        let member = |name| person.child(CONTRACTS, name).expect(name);
        assert_eq!(member("SSN").attribute(INSTANCE, "nil"), Some("true"));
        assert_eq!(member("SuppressSSN").text, "true");
        assert_eq!(member("EmailAddress").text, "ambrose.applewhistle@example.com");
        let identifier = member("EmployeeIdentifier");
        assert_eq!(identifier.attribute(INSTANCE, "type"), Some("b:EmployeeNumberIdentifier"));
        assert_eq!(names(identifier), ["CompanyCode", "EmployeeNumber"]);
    }
}
