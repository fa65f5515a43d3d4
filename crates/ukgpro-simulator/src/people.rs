//! Invented persons.

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
    /// Date of the only hire.
    hired: String,
    /// Address in a domain that nobody owns.
    email: String,
}

impl Person {
    /// Returns the person at this index, from 0.
    pub(crate) fn at(index: usize) -> Self {
        let (first_name, last_name) = (FIRST[index % FIRST.len()], LAST[index % LAST.len()]);
        Self {
            employee_number: format!("{:06}", index + 1),
            first_name,
            last_name,
            email: format!("{first_name}.{last_name}@example.com").to_lowercase(),
            hired: format!("{}-{:02}-{:02}T00:00:00", 2000 + index % 20, 1 + index % 12, 1 + index % 28),
        }
    }

    /// Returns the value of a member of a query or a record. A member not listed here is null for every person.
    pub(crate) fn member(&self, name: &str) -> &str {
        match name {
            "EmployeeNumber" => &self.employee_number,
            "FirstName" => self.first_name,
            "LastName" => self.last_name,
            "CompanyCode" => "SIM01",
            "CompanyName" => "Simulated Company",
            // One in five is abroad, so that a condition and its opposite both match someone.
            "Country" if self.employee_number.ends_with(['0', '5']) => "CAN",
            "Country" => "USA",
            "Status" => "A",
            "FullOrPartTime" => "F",
            "OriginalHire" | "LastHire" => &self.hired,
            "EmailAddress" => &self.email,
            _ => "",
        }
    }
}
