//! Persons who do not exist, and the filters of a SOAP query over them.

const FIRST: [&str; 16] = [
    "Ambrose",
    "Beatrix",
    "Cosmo",
    "Dahlia",
    "Erasmus",
    "Fenella",
    "Gideon",
    "Hyacinth",
    "Ignatius",
    "Juniper",
    "Leopold",
    "Marigold",
    "Nestor",
    "Ottoline",
    "Peregrine",
    "Rosalba",
];
const LAST: [&str; 15] = [
    "Applewhistle",
    "Bramblethorpe",
    "Candlewick",
    "Dribblesworth",
    "Elderfudge",
    "Figglestone",
    "Gumblewick",
    "Humperdell",
    "Inkpenny",
    "Jibberfield",
    "Kettlebrook",
    "Lollipot",
    "Mugglethwaite",
    "Nettlebrow",
    "Oddlington",
];

/// A person's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// Six digits from 000001.
    pub(crate) employee_number: String,
    /// Given name.
    pub(crate) first_name: &'static str,
    /// Family name, obviously invented.
    pub(crate) last_name: &'static str,
}

impl Person {
    /// The person at this place, from 0.
    pub(crate) fn at(index: usize) -> Self {
        Self {
            employee_number: format!("{:06}", index + 1),
            first_name: FIRST[index % FIRST.len()],
            last_name: LAST[index % LAST.len()],
        }
    }

    /// The value of a member of a query; all persons are alike in those not named here.
    fn member(&self, name: &str) -> &str {
        match name {
            "EmployeeNumber" => &self.employee_number,
            "FirstName" => self.first_name,
            "LastName" => self.last_name,
            "CompanyCode" => "SIM01",
            "CompanyName" => "Simulated Company",
            "Country" => "USA",
            "Status" => "A",
            "FullOrPartTime" => "F",
            _ => "",
        }
    }
}

/// A condition on one member, as in `= (x)`, `LIKE (x%)` and `IN (x, y)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    member: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    Equals(String),
    Like(String),
    In(Vec<String>),
}

impl Filter {
    /// Reads a condition; `None` if it has another form.
    pub(crate) fn parse(member: &str, text: &str) -> Option<Self> {
        let (operator, rest) = text.trim().split_once('(')?;
        let value = rest.strip_suffix(')')?.trim();
        let test = match operator.trim().to_ascii_uppercase().as_str() {
            "=" => Test::Equals(value.to_owned()),
            "LIKE" => Test::Like(value.to_lowercase()),
            "IN" => Test::In(value.split(',').map(|value| value.trim().to_owned()).collect()),
            _ => return None,
        };
        Some(Self { member: member.to_owned(), test })
    }

    /// Whether the person meets the condition.
    pub(crate) fn matches(&self, person: &Person) -> bool {
        let value = person.member(&self.member);
        match &self.test {
            Test::Equals(wanted) => value.eq_ignore_ascii_case(wanted),
            Test::Like(pattern) => like(&value.to_lowercase(), pattern),
            Test::In(wanted) => wanted.iter().any(|wanted| value.eq_ignore_ascii_case(wanted)),
        }
    }
}

/// SQL's LIKE with `%` only.
fn like(value: &str, pattern: &str) -> bool {
    match pattern.split_once('%') {
        None => value == pattern,
        Some((start, rest)) => value
            .strip_prefix(start)
            .is_some_and(|tail| (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| like(&tail[at..], rest))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_choose_whom_they_say() {
        let cases = [
            ("EmployeeNumber", "= (000002)", 1),
            ("EmployeeNumber", "=(000002)", 1),
            ("EmployeeNumber", "= (__none__)", 0),
            ("EmployeeNumber", "IN (000001, 000003)", 2),
            ("EmployeeNumber", "LIKE (00000%)", 9),
            ("LastName", "like (%WICK)", 3),
            ("LastName", "= (candlewick)", 2),
            ("CompanyCode", "= (SIM01)", 20),
            ("TimeClockId", "= (1)", 0),
        ];
        for (member, text, want) in cases {
            let filter = Filter::parse(member, text).expect(text);
            let got = (0..20).map(Person::at).filter(|person| filter.matches(person)).count();
            assert_eq!(got, want, "{member} {text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_not_guessed_at() {
        for text in ["000001", "= 000001", "(000001)", "> (1)", "= (1", "1)"] {
            assert_eq!(Filter::parse("EmployeeNumber", text), None, "{text}");
        }
    }
}
