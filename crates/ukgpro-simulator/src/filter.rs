//! The conditions of a SOAP query: an operator and a value, or two values with `...` between them.
//!
//! Pure. Text in any other form is not a condition; nothing is guessed.

use std::cmp::Ordering;

use crate::people::Person;

/// The valid forms of a condition, for error messages.
pub(crate) const FORMS: &str =
    "= (value), <> (value), > (value), >= (value), < (value), <= (value), LIKE (value%), IN (value, value) or value...value";

/// A condition on one member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    member: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    Equals(String),
    Differs(String),
    /// The value is on this side of the limit, or equal to it if the flag is set.
    Beyond(Ordering, bool, String),
    Between(String, String),
    Like(String),
    In(Vec<String>),
}

/// An operator comes before any shorter one with which it begins.
const OPERATORS: [&str; 8] = ["<>", ">=", "<=", ">", "<", "=", "LIKE", "IN"];

/// Returns the operator and the text after it, if `text` begins with it. Comparisons other than `=` need no brackets, as in UKG's
/// own sample code.
fn after<'a>(text: &'a str, operator: &'static str) -> Option<(&'static str, &'a str)> {
    let (start, rest) = text.split_at_checked(operator.len())?;
    let rest = rest.trim_start();
    let brackets = matches!(operator, "=" | "LIKE" | "IN");
    (start.eq_ignore_ascii_case(operator) && (!brackets || rest.starts_with('('))).then_some((operator, rest))
}

impl Filter {
    /// Parses a condition. Returns `None` for any other form.
    pub(crate) fn parse(member: &str, text: &str) -> Option<Self> {
        let text = text.trim();
        let (operator, rest) = OPERATORS.iter().find_map(|operator| after(text, operator)).unwrap_or(("", text));
        let value = match rest.strip_prefix('(') {
            Some(rest) => rest.strip_suffix(')')?.trim(),
            None => rest,
        };
        let whole = || value.to_owned();
        let range = value.split_once("...").filter(|_| !value.contains(['(', ')', '<', '>', '=']));
        let test = match operator {
            "" => {
                let (from, to) = range?;
                let (from, to) = (from.trim(), to.trim());
                if from.is_empty() || to.is_empty() {
                    return None;
                }
                Test::Between(from.to_owned(), to.to_owned())
            }
            "=" => Test::Equals(whole()),
            "LIKE" => Test::Like(value.to_lowercase()),
            "IN" => Test::In(value.split(',').map(|value| value.trim().trim_matches('"').to_owned()).collect()),
            _ if value.is_empty() || range.is_some() => return None,
            "<>" => Test::Differs(whole()),
            _ => {
                let side = if operator.starts_with('>') { Ordering::Greater } else { Ordering::Less };
                Test::Beyond(side, operator.ends_with('='), whole())
            }
        };
        Some(Self { member: member.to_owned(), test })
    }

    /// Whether the person meets the condition. A member without a value is null: it is not less, greater or different.
    pub(crate) fn matches(&self, person: &Person) -> bool {
        let value = person.member(&self.member);
        match &self.test {
            Test::Equals(wanted) => equal(value, wanted),
            Test::Differs(other) => !value.is_empty() && !equal(value, other),
            Test::Beyond(side, itself, limit) => {
                let order = compare(value, limit);
                !value.is_empty() && (order == *side || (*itself && order == Ordering::Equal))
            }
            Test::Between(from, to) => {
                !value.is_empty() && compare(value, from) != Ordering::Less && compare(value, to) != Ordering::Greater
            }
            Test::Like(pattern) => like(&value.to_lowercase(), pattern),
            Test::In(wanted) => wanted.iter().any(|wanted| equal(value, wanted)),
        }
    }
}

/// Dates are equal in any format. An employee number is a text, so its leading zeros count.
fn equal(value: &str, wanted: &str) -> bool {
    value.eq_ignore_ascii_case(wanted) || date(value).is_some_and(|value| date(wanted) == Some(value))
}

/// Compares as dates or as numbers if both are, else as texts.
fn compare(value: &str, other: &str) -> Ordering {
    if let (Some(value), Some(other)) = (date(value), date(other)) {
        return value.cmp(&other);
    }
    if let (Ok(value), Ok(other)) = (value.parse::<u64>(), other.parse::<u64>()) {
        return value.cmp(&other);
    }
    value.to_lowercase().cmp(&other.to_lowercase())
}

/// Parses year, month and day of `2026-11-30`, with or without a time, or of `11/30/2026`.
fn date(text: &str) -> Option<(u16, u8, u8)> {
    let day = text.split(['T', ' ']).next()?;
    let (separator, month_first) = if day.contains('/') { ('/', true) } else { ('-', false) };
    let mut parts = day.split(separator);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = if month_first { (third, first, second) } else { (first, second, third) };
    let (year, month, day) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let real = year >= 1000 && (1..=12).contains(&month) && (1..=31).contains(&day) && parts.next().is_none();
    real.then_some((year, month, day))
}

/// SQL's LIKE with `%` only. Each part between two `%` matches at its first occurrence, so each part costs one search.
fn like(value: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('%') else {
        return value == pattern;
    };
    let (middle, end) = rest.rsplit_once('%').unwrap_or(("", rest));
    let found = middle.split('%').try_fold(value.strip_prefix(start), |left, part| {
        let left = left?;
        left.find(part).map(|at| Some(&left[at + part.len()..]))
    });
    found.flatten().is_some_and(|left| left.ends_with(end))
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
            ("EmployeeNumber", "<> (000002)", 19),
            ("EmployeeNumber", "= (2)", 0),
            ("EmployeeNumber", "> (5)", 15),
            ("EmployeeNumber", ">= (5)", 16),
            ("EmployeeNumber", "< (000005)", 4),
            ("EmployeeNumber", "<=(000005)", 5),
            ("EmployeeNumber", "<>000002", 19),
            ("EmployeeNumber", ">= 5", 16),
            ("EmployeeNumber", "<5", 4),
            ("EmployeeNumber", r#"IN("000001","000003")"#, 2),
            ("LastName", "Inka...Inkz", 1),
            ("EmployeeNumber", "000003...000007", 5),
            ("EmployeeNumber", "(3...7)", 5),
            ("EmployeeNumber", "7...3", 0),
            ("LastName", "like (%WICK)", 3),
            ("LastName", "= (candlewick)", 2),
            ("LastName", "<> (candlewick)", 18),
            ("LastName", "< (c)", 4),
            ("LastName", "Candle...Dribble", 2),
            ("LastName", "Candlewick...Dribblesworth", 4),
            ("OriginalHire", "= (1/1/2000)", 1),
            ("OriginalHire", "= (2000-01-01)", 1),
            ("OriginalHire", "> (2/2/2001)", 18),
            ("OriginalHire", "1/1/2005 ... 12/31/2009", 5),
            ("LastHire", "< (2010-01-01T00:00:00)", 10),
            ("CompanyCode", "= (SIM01)", 20),
            ("Country", "<>USA", 4),
            ("Country", "= (USA)", 16),
            ("TimeClockId", "= (1)", 0),
            ("TimeClockId", "<> (1)", 0),
            ("TerminationDate", "< (1/1/2030)", 0),
            ("TerminationDate", "1/1/1990...1/1/2030", 0),
        ];
        for (member, text, want) in cases {
            let filter = Filter::parse(member, text).expect(text);
            let got = (0..20).map(Person::at).filter(|person| filter.matches(person)).count();
            assert_eq!(got, want, "{member} {text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_not_guessed_at() {
        let texts = [
            "000001",
            "= 000001",
            "(000001)",
            "= (1",
            "1)",
            "!= (1)",
            "=> (1)",
            "...",
            "1...",
            "...2",
            "(1...2",
            "1...2)",
            "> 1...2",
            "(1)...(2)",
            ">",
            "<> ()",
            "> (1...2)",
            "LIKE x",
            "IN",
            "",
            "()",
        ];
        for text in texts {
            assert_eq!(Filter::parse("EmployeeNumber", text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_takes_no_longer_than_it_is() {
        for (pattern, want) in [
            ("abcabc", true),
            ("a%", true),
            ("%c", true),
            ("a%c", true),
            ("%", true),
            ("%%", true),
            ("%bc%bc%", true),
            ("%ca%", true),
            ("%bc%bc%bc%", false),
            ("b%", false),
            ("%b", false),
            ("abcabc%c", false),
            ("abcab%bc", false),
            ("", false),
        ] {
            assert_eq!(like("abcabc", pattern), want, "{pattern}");
        }
        assert!(!like(&"a".repeat(1000), &format!("{}b", "%a".repeat(900))));
    }

    #[test]
    fn a_date_is_a_real_one() {
        for text in ["2026-13-01", "2026-00-01", "26-01-01", "1/32/2026", "1/1", "1/1/2026/1", "a-b-c", "", "T", "70000-1-1"] {
            assert_eq!(date(text), None, "{text}");
        }
        assert_eq!(date("11/30/2026"), date("2026-11-30T12:00:00"));
    }
}
