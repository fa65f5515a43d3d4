use super::*;

#[test]
fn every_row_has_a_read_and_a_name_that_is_its_title() {
    let catalogue = Catalogue::built_in();
    for row in catalogue.rows() {
        // An acronym is a word in the name: EmployeeSsoUser.
        assert!(row.title.replace(' ', "").eq_ignore_ascii_case(&row.name), "{} is not {}", row.name, row.title);
        assert!(!row.name.as_bytes().windows(3).any(|three| three.iter().all(u8::is_ascii_uppercase)), "{}", row.name);
        assert!(row.has(row.preferred()), "{}", row.name);
        assert!(row.enables.len() > 10, "{}", row.name);
    }
}

#[test]
fn a_row_that_is_known_and_not_probed_says_why_unless_somebody_has_a_read_for_it() {
    let catalogue = Catalogue::built_in();
    let asked = |catalogue: &Catalogue, name: &str| catalogue.require(name, None).map_err(|unknown| unknown.to_string());
    for name in ["EmployeeExport", "UserProfileDetails"] {
        let why = asked(&catalogue, name).expect_err("not probed");
        assert!(why.starts_with(&format!("permission {name} is not tested, because ")), "{why}");
    }
    let read = "permissions: [{name: UserProfileDetails, title: User Profile Details, enables: profiles of users, \
        rest: {path: /personnel/v1/user-profile-details, people: true}}]";
    let catalogue = catalogue.extended(read).expect("good");
    assert!(asked(&catalogue, "UserProfileDetails").is_ok());
    assert!(catalogue.extended("unprobed: [{name: X, title: X, why: ''}]").is_err());
}

#[test]
fn every_row_of_the_two_guides_is_there_and_in_a_profile() {
    let catalogue = Catalogue::built_in();
    for title in [
        "Employee Person Details",
        "Employee Job Details",
        "Employee Contacts",
        "Employee User Defined Fields",
        "Employee Compensation Details",
        "Employee Pay Statement",
        "Employee Employment Information",
        "PTO Plan Integration",
        "Company Configuration Integration",
        "Payroll Integration",
        "Personnel Integration",
        "Employee Job History Details",
    ] {
        let row = catalogue.rows().find(|row| row.title == title).expect(title);
        let guides = ["EmployeeData", "Compensation", "HrisIntegration"];
        let in_a_guide = guides
            .iter()
            .any(|guide| catalogue.profile(guide).expect(guide).permissions.iter().any(|member| member.name == row.name));
        assert!(in_a_guide, "{title}");
    }
}

#[test]
fn a_read_of_persons_is_past_the_end() {
    for row in Catalogue::built_in().rows() {
        let Some(rest) = &row.rest else { continue };
        let about_persons = !["/configuration/v1/company-details", "/payroll/v1/"].iter().any(|of| rest.path.starts_with(of));
        assert_eq!(rest.people, about_persons, "{}", row.name);
        assert_eq!(rest.target().contains("page=1000000"), about_persons, "{}", row.name);
    }
}

#[test]
fn an_administrator_may_add_and_replace_but_not_everything() {
    let extended = |yaml: &str| Catalogue::built_in().extended(yaml);
    let row = |rest: &str| format!("permissions: [{{name: TimeClock, title: Time Clock, enables: clock times, {rest}}}]");
    let more = extended(&row("rest: {path: /time/v1/clocks}")).expect("good");
    assert_eq!(more.require("TimeClock", None).expect("added").api, Api::Rest);
    assert!(more.require("EmployeePersonDetails", None).is_ok(), "the others stay");
    let replaced = extended(
        "permissions: [{name: EmployeeContacts, title: Kontakte, enables: the contacts, soap: {service: EmployeeContacts, operation: FindContacts}}]",
    );
    assert_eq!(replaced.expect("good").require("EmployeeContacts", None).expect("there").row.title, "Kontakte");

    for (bad, said) in [
        (row(""), "write a soap or a rest read"),
        (row("rest: {path: /x}").replace("clock times", &"x".repeat(257)), "at most 256 characters"),
        (row("rest: {path: 'https://evil.example/'}"), "path from the root"),
        (row("rest: {path: /../admin}"), "path from the root"),
        (row("rest: {path: '/x y'}"), "path from the root"),
        (row("rest: {path: /personnel/v1/employee-changes}"), "eight calls of this read per day"),
        (row("rest: {path: '/x?page=1', people: true}"), "leave the query out"),
        (row("rest: {path: /x, people: true, pageSize: 'a=b&c'}"), "the name of a parameter"),
        (row("rest: {path: /x, people: true, pageSize: Page}"), "the one for the page size"),
        (row("rest: {path: /x, pageSize: per_page}"), "leave it out if people is not true"),
        (row("soap: {service: EmployeePerson, operation: UpdatePerson}"), "only reads may be probed"),
        (row("soap: {service: 'a/b', operation: FindX}"), "as in the WSDL"),
        (row("rest: {path: /x, verb: DELETE}"), "not have the format"),
        (
            "profiles: [{name: P, description: x, permissions: [{name: EmployeePersonDetail}]}]".to_owned(),
            "nearest: EmployeePersonDetails",
        ),
        (
            "profiles: [{name: P, description: x, permissions: [{name: EmployeeContacts, api: REST}]}]".to_owned(),
            "cannot be tested by REST",
        ),
        ("nonsense".to_owned(), "not have the format"),
    ] {
        let error = extended(&bad).expect_err(&bad).to_string();
        assert!(error.contains(said), "{bad}: {error}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let catalogue = Catalogue::built_in();
    for (wrong, right) in [
        ("EmployeePersonDetail", "EmployeePersonDetails"),
        ("employeejobdetails", "EmployeeJobDetails"),
        ("PTOPlanIntegration", "PtoPlanIntegration"),
        ("EmployeeCompensations", "EmployeeCompensation"),
    ] {
        let Err(Unknown::Permission(_, nearest)) = catalogue.require(wrong, None) else { panic!("{wrong} is known") };
        assert_eq!(nearest.first().map(String::as_str), Some(right), "{wrong}");
    }
    assert_eq!(catalogue.require("Zzz", None), Err(Unknown::Permission("Zzz".to_owned(), Vec::new())));
    assert!(matches!(catalogue.profile("employeedata"), Err(Unknown::Profile(_, nearest)) if nearest[0] == "EmployeeData"));
}
