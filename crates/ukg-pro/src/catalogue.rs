//! The rows of *Service Account Administration*, the read that shows whether one is granted, and named sets of them.
//!
//! Data, in one place: `catalogue.yaml` beside this file, to which whoever runs the operator may add, or put something in a row's
//! place, by a file of the same form.
//!
//! **Invariant.** A probe reads, and reads nobody: SOAP queries filter on a number no employee has; a REST read of persons asks for a
//! page far past the end. The one read known to be limited by the day is never made.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::words::{Words, WordsError};

/// Far past the last page of any tenant.
const PAST_THE_END: &str = "?page=1000000&per_Page=1";
/// Limited by UKG Pro to eight calls a day.
const NEVER_PROBED: &str = "employee-changes";
/// How many names are offered in place of an unknown one.
const OFFERED: usize = 3;

/// Which of UKG Pro's two interfaces a probe uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Api {
    /// A WCF service under `/services`, with a token from LoginService.
    #[serde(rename = "SOAP")]
    Soap,
    /// A REST resource, with basic authentication.
    #[serde(rename = "REST")]
    Rest,
}

/// A read of one SOAP data service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoapProbe {
    /// The service's name, as in `/services/EmployeePerson`.
    pub service: String,
    /// The operation's name, as in `FindPeople`.
    pub operation: String,
    /// Whether the request's form is disputed, so that a fault may be about the form: only permission words count as a denial then.
    #[serde(default)]
    pub disputed: bool,
}

/// A read of one REST resource.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestProbe {
    /// Path, and query where it does not read persons, from the root.
    pub path: String,
    /// Whether it reads persons, so that a page far past the end is asked for.
    #[serde(default)]
    pub people: bool,
}

/// A row of the page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What a connection calls it: the title in PascalCase.
    pub name: String,
    /// What stands on the page.
    pub title: String,
    /// What an integration gets by it.
    pub enables: String,
    /// The SOAP read, where UKG Pro has a service for it.
    #[serde(default)]
    pub soap: Option<SoapProbe>,
    /// The REST read, where there is one.
    #[serde(default)]
    pub rest: Option<RestProbe>,
}

/// A row that there is and that is not probed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unprobed {
    /// What a connection would call it.
    pub name: String,
    /// What stands on the page.
    pub title: String,
    /// Why not, as the end of a sentence.
    pub why: String,
}

/// A named set of rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What a connection calls it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What is in it.
    pub permissions: Vec<Member>,
}

/// A row in a profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The row's name.
    pub name: String,
    /// The interface to test it by, where it matters.
    #[serde(default)]
    pub api: Option<Api>,
}

/// A row that is required, by the read chosen for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The row.
    pub row: Arc<Row>,
    /// The interface to test it by; the row has a read for it.
    pub api: Api,
}

/// A row or set that is required and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// No row of this name; the nearest there are.
    Permission(String, Vec<String>),
    /// No profile of this name; the nearest there are.
    Profile(String, Vec<String>),
    /// The row has no read by this interface.
    Api(String, Api),
    /// There is such a row, and it is not probed, for this reason.
    Unprobed(String, String),
}

/// The file's form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    permissions: Vec<Row>,
    #[serde(default)]
    unprobed: Vec<Unprobed>,
    #[serde(default)]
    profiles: Vec<Profile>,
    #[serde(default)]
    words: Words,
}

/// Why a catalogue file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not YAML, or other fields.
    #[error("it is not of the form of crates/ukg-pro/src/catalogue.yaml: {0}")]
    Syntax(String),
    /// A row that cannot be probed.
    #[error("permission {name}: {what}")]
    Row {
        /// Which.
        name: String,
        /// What to write instead.
        what: &'static str,
    },
    /// Words that cannot be used.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// A profile of what is not there.
    #[error("profile {profile}: {unknown}")]
    Profile {
        /// Which.
        profile: String,
        /// What is not there.
        unknown: Unknown,
    },
}

/// All rows and profiles, and the words of answers.
#[derive(Debug, Clone)]
pub struct Catalogue {
    rows: BTreeMap<String, Arc<Row>>,
    unprobed: BTreeMap<String, Unprobed>,
    profiles: BTreeMap<String, Profile>,
    words: Arc<Words>,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::Soap => "SOAP",
            Api::Rest => "REST",
        })
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, nearest) = match self {
            Unknown::Permission(name, nearest) => ("permission", name, nearest),
            Unknown::Profile(name, nearest) => ("profile", name, nearest),
            Unknown::Api(name, api) => return write!(f, "permission {name} cannot be tested by {api}"),
            Unknown::Unprobed(name, why) => return write!(f, "permission {name} is not tested, since {why}; leave it out"),
        };
        write!(f, "there is no {kind} {name}")?;
        if nearest.is_empty() { Ok(()) } else { write!(f, " (nearest: {})", nearest.join(", ")) }
    }
}

impl RestProbe {
    /// What to ask for.
    pub fn target(&self) -> String {
        format!("{}{}", self.path, if self.people { PAST_THE_END } else { "" })
    }
}

impl Row {
    /// The interface to use where none is asked for: SOAP where there is a service, for its filter reads nobody and its token spends
    /// no further login; REST elsewhere.
    fn preferred(&self) -> Api {
        if self.soap.is_some() { Api::Soap } else { Api::Rest }
    }

    fn has(&self, api: Api) -> bool {
        match api {
            Api::Soap => self.soap.is_some(),
            Api::Rest => self.rest.is_some(),
        }
    }

    fn check(&self) -> Result<(), CatalogueError> {
        let wrong = |what| Err(CatalogueError::Row { name: self.name.clone(), what });
        let word = |text: &str| !text.is_empty() && text.len() <= 63 && text.chars().all(|c| c.is_ascii_alphanumeric());
        if !word(&self.name) || !self.name.starts_with(|c: char| c.is_ascii_uppercase()) {
            return wrong("name: write letters and digits that begin with a capital, such as EmployeePersonDetails");
        }
        if self.title.is_empty() || self.title.len() > 128 || self.title.chars().any(char::is_control) {
            return wrong("title: write what stands on the page, in at most 128 characters");
        }
        if self.enables.is_empty() || self.enables.len() > 256 || self.enables.chars().any(char::is_control) {
            return wrong("enables: write what an integration gets by it, in at most 256 characters");
        }
        if self.soap.is_none() && self.rest.is_none() {
            return wrong("write a soap or a rest read");
        }
        if self.soap.as_ref().is_some_and(|soap| !word(&soap.service) || !word(&soap.operation)) {
            return wrong("soap: write service and operation as in the WSDL, such as EmployeePerson and FindPeople");
        }
        if self.soap.as_ref().is_some_and(|soap| !soap.operation.starts_with("Find") && !soap.operation.starts_with("Get")) {
            return wrong("soap.operation: only reads may be probed; write one that begins with Find or Get");
        }
        let Some(rest) = &self.rest else { return Ok(()) };
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~?&=%".contains(c);
        if !rest.path.starts_with('/') || rest.path.contains("//") || rest.path.contains("..") || !rest.path.chars().all(plain)
        {
            return wrong("rest.path: write a path from the root, such as /personnel/v1/pto-plans?page=1&per_page=1");
        }
        if rest.people && rest.path.contains('?') {
            return wrong("rest.path: leave the query out where people is true; a page far past the end is asked for");
        }
        if rest.path.contains(NEVER_PROBED) {
            return wrong("rest.path: UKG Pro allows eight calls a day of this read, so it is never probed");
        }
        Ok(())
    }
}

impl Unprobed {
    fn check(&self) -> Result<(), CatalogueError> {
        let is_text = |text: &str, most| !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control);
        match is_text(&self.name, 63) && is_text(&self.title, 128) && is_text(&self.why, 256) {
            true => Ok(()),
            false => Err(CatalogueError::Row {
                name: self.name.chars().filter(|c| !c.is_control()).take(63).collect(),
                what: "unprobed: write name, title and why it is not probed, in at most 63, 128 and 256 characters",
            }),
        }
    }
}

impl Catalogue {
    /// What comes with the operator.
    pub fn built_in() -> Self {
        let empty = Self {
            rows: BTreeMap::new(),
            unprobed: BTreeMap::new(),
            profiles: BTreeMap::new(),
            words: Arc::new(Words::built_in()),
        };
        empty.extended(include_str!("catalogue.yaml")).expect("a test reads the file that is compiled in")
    }

    /// This with the rows and profiles of a file, which replace those of the same name, and with its words.
    pub fn extended(mut self, yaml: &str) -> Result<Self, CatalogueError> {
        let file: File = serde_saphyr::from_str(yaml).map_err(|error| CatalogueError::Syntax(error.to_string()))?;
        for row in file.permissions {
            row.check()?;
            self.unprobed.remove(&row.name);
            self.rows.insert(row.name.clone(), Arc::new(row));
        }
        for unprobed in file.unprobed {
            unprobed.check()?;
            self.rows.remove(&unprobed.name);
            self.unprobed.insert(unprobed.name.clone(), unprobed);
        }
        for profile in file.profiles {
            self.profiles.insert(profile.name.clone(), profile);
        }
        self.words = Arc::new(Arc::unwrap_or_clone(self.words).extended(file.words)?);
        for profile in self.profiles.values() {
            for member in &profile.permissions {
                self.require(&member.name, member.api)
                    .map_err(|unknown| CatalogueError::Profile { profile: profile.name.clone(), unknown })?;
            }
        }
        Ok(self)
    }

    /// What the texts of answers speak of.
    pub fn words(&self) -> Arc<Words> {
        self.words.clone()
    }

    /// All rows, by name.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values()
    }

    /// The rows that there are and that are not probed, by name.
    pub fn unprobed(&self) -> impl Iterator<Item = &Unprobed> {
        self.unprobed.values()
    }

    /// All profiles, by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// The row of this name, by this interface or the preferred one.
    pub fn require(&self, name: &str, api: Option<Api>) -> Result<Requirement, Unknown> {
        if let Some(Unprobed { name, why, .. }) = self.unprobed.get(name) {
            return Err(Unknown::Unprobed(name.clone(), why.clone()));
        }
        let Some(row) = self.rows.get(name) else {
            return Err(Unknown::Permission(name.to_owned(), nearest(name, self.rows.keys())));
        };
        match api {
            Some(api) if !row.has(api) => Err(Unknown::Api(name.to_owned(), api)),
            _ => Ok(Requirement { row: row.clone(), api: api.unwrap_or(row.preferred()) }),
        }
    }

    /// The set of this name.
    pub fn profile(&self, name: &str) -> Result<&Profile, Unknown> {
        self.profiles.get(name).ok_or_else(|| Unknown::Profile(name.to_owned(), nearest(name, self.profiles.keys())))
    }
}

/// The most alike names, if any are alike at all.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let mut alike: Vec<_> = known
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    alike.into_iter().take(OFFERED).map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_read_and_a_name_that_is_its_title() {
        let catalogue = Catalogue::built_in();
        for row in catalogue.rows() {
            let joined = row.title.replace("PTO", "Pto").replace("SSO", "Sso").replace(' ', "");
            assert_eq!(joined, row.name);
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
            assert!(why.starts_with(&format!("permission {name} is not tested, since ")), "{why}");
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
            let about_persons = rest.path.contains("details") && !rest.path.contains("company-details");
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
            (row("rest: {path: /personnel/v1/employee-changes}"), "eight calls a day"),
            (row("rest: {path: '/x?page=1', people: true}"), "leave the query out"),
            (row("soap: {service: EmployeePerson, operation: UpdatePerson}"), "only reads may be probed"),
            (row("soap: {service: 'a/b', operation: FindX}"), "as in the WSDL"),
            (row("rest: {path: /x, verb: DELETE}"), "not of the form"),
            (
                "profiles: [{name: P, description: x, permissions: [{name: EmployeePersonDetail}]}]".to_owned(),
                "nearest: EmployeePersonDetails",
            ),
            (
                "profiles: [{name: P, description: x, permissions: [{name: EmployeeContacts, api: REST}]}]".to_owned(),
                "cannot be tested by REST",
            ),
            ("nonsense".to_owned(), "not of the form"),
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
}
