//! The permission catalogue: the rows of *Service Account Administration*, the read that tests each, and named sets of rows.
//!
//! The data is in one place: `catalogue.yaml` beside this file. Whoever runs the operator may add and replace entries with a file
//! of the same format.
//!
//! **Invariant.** A probe only reads, and reads nobody: SOAP queries filter on a number that no employee has, and REST reads of
//! persons ask for a page far past the end. The one read with a known daily limit is never made.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::words::{Words, WordsError};

/// A page far past the last one of any tenant.
const PAGE_PAST_THE_END: u32 = 1_000_000;
/// The spelling of the parameter for the size of a page that nearly every resource uses.
const PAGE_SIZE: &str = "per_Page";
/// UKG Pro limits this read to eight calls a day.
const NEVER_PROBED: &str = "employee-changes";
/// The number of names suggested for an unknown one.
const SUGGESTIONS_MAX: usize = 3;

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
    /// Whether the request's form is disputed. A fault may then be about the form, so only permission words count as a denial.
    #[serde(default)]
    pub disputed: bool,
}

/// A read of one REST resource.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestProbe {
    /// The path from the root, with a query if it does not read persons.
    pub path: String,
    /// Whether it reads persons, so that a page far past the end is requested.
    #[serde(default)]
    pub people: bool,
    /// The parameter for the size of a page, where it reads persons.
    #[serde(default = "page_size")]
    pub page_size: String,
}

fn page_size() -> String {
    PAGE_SIZE.to_owned()
}

/// A permission: a row of the page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name in a connection: the title in PascalCase.
    pub name: String,
    /// Its title on the page.
    pub title: String,
    /// What it gives an integration.
    pub enables: String,
    /// The SOAP read, if UKG Pro has a service for it.
    #[serde(default)]
    pub soap: Option<SoapProbe>,
    /// The REST read, if there is one.
    #[serde(default)]
    pub rest: Option<RestProbe>,
}

/// An existing row that is not probed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unprobed {
    /// Its name, as a connection would write it.
    pub name: String,
    /// Its title on the page.
    pub title: String,
    /// Why not, as the end of a sentence.
    pub why: String,
}

/// A named set of rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name in a connection.
    pub name: String,
    /// Its purpose.
    pub description: String,
    /// Its rows.
    pub permissions: Vec<ProfileEntry>,
}

/// A row in a profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileEntry {
    /// The row's name.
    pub name: String,
    /// The interface to test it by, if it matters.
    #[serde(default)]
    pub api: Option<Api>,
}

/// A required row, with the read chosen for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The row.
    pub row: Arc<Row>,
    /// The interface to test it by. The row has a read for it.
    pub api: Api,
}

/// Why a required row or profile is not available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// No row has this name. The nearest names follow.
    Permission(String, Vec<String>),
    /// No profile has this name. The nearest names follow.
    Profile(String, Vec<String>),
    /// The row has no read with this interface.
    Api(String, Api),
    /// The row exists but is not probed, for this reason.
    Unprobed(String, String),
}

/// The format of the file.
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

/// Why a catalogue file is invalid.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not YAML, or unknown fields.
    #[error("it does not have the format of crates/ukg-pro/src/catalogue.yaml: {0}")]
    Syntax(String),
    /// A row cannot be probed.
    #[error("permission {name}: {what}")]
    Row {
        /// Its name.
        name: String,
        /// What to write instead.
        what: &'static str,
    },
    /// The words are invalid.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// A profile requires what does not exist.
    #[error("profile {profile}: {unknown}")]
    Profile {
        /// Its name.
        profile: String,
        /// What does not exist.
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
            Unknown::Unprobed(name, why) => return write!(f, "permission {name} is not tested, because {why}; leave it out"),
        };
        write!(f, "there is no {kind} {name}")?;
        if nearest.is_empty() { Ok(()) } else { write!(f, " (nearest: {})", nearest.join(", ")) }
    }
}

impl RestProbe {
    /// Returns path and query.
    pub fn target(&self) -> String {
        match self.people {
            true => format!("{}?page={PAGE_PAST_THE_END}&{}=1", self.path, self.page_size),
            false => self.path.clone(),
        }
    }
}

impl Row {
    /// Returns the default interface: SOAP if there is a service, since its filter reads nobody and its token needs no further
    /// login; otherwise REST.
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
            return wrong("name: write letters and digits, beginning with a capital letter, such as EmployeePersonDetails");
        }
        if self.title.is_empty() || self.title.len() > 128 || self.title.chars().any(char::is_control) {
            return wrong("title: write the title on the page, in at most 128 characters");
        }
        if self.enables.is_empty() || self.enables.len() > 256 || self.enables.chars().any(char::is_control) {
            return wrong("enables: write what the row gives an integration, in at most 256 characters");
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
            return wrong("rest.path: write a path from the root, such as /configuration/v1/company-details?page=1&per_Page=1");
        }
        if !rest.page_size.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || rest.page_size.is_empty() {
            return wrong("rest.pageSize: write the name of a parameter, such as per_Page");
        }
        if rest.page_size.eq_ignore_ascii_case("page") {
            return wrong(
                "rest.pageSize: page is the parameter for the page number; write the one for the page size, such as per_Page",
            );
        }
        if !rest.people && rest.page_size != PAGE_SIZE {
            return wrong("rest.pageSize: leave it out if people is not true, and write the page size in rest.path");
        }
        if rest.people && rest.path.contains('?') {
            return wrong("rest.path: leave the query out if people is true; the operator requests a page far past the end");
        }
        if rest.path.contains(NEVER_PROBED) {
            return wrong("rest.path: UKG Pro allows only eight calls of this read per day, so it is never probed");
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
    /// Returns the built-in catalogue.
    pub fn built_in() -> Self {
        let empty = Self {
            rows: BTreeMap::new(),
            unprobed: BTreeMap::new(),
            profiles: BTreeMap::new(),
            words: Arc::new(Words::built_in()),
        };
        empty.extended(include_str!("catalogue.yaml")).expect("a test reads the file that is compiled in")
    }

    /// Adds the rows, profiles and words of a file. Rows and profiles replace those of the same name.
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

    /// Returns the words by which answers are judged.
    pub fn words(&self) -> Arc<Words> {
        self.words.clone()
    }

    /// Returns all rows, by name.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values()
    }

    /// Returns the existing rows that are not probed, by name.
    pub fn unprobed(&self) -> impl Iterator<Item = &Unprobed> {
        self.unprobed.values()
    }

    /// Returns all profiles, by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// Returns the row of this name, with this interface or the default one.
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

    /// Returns the profile of this name.
    pub fn profile(&self, name: &str) -> Result<&Profile, Unknown> {
        self.profiles.get(name).ok_or_else(|| Unknown::Profile(name.to_owned(), nearest(name, self.profiles.keys())))
    }
}

/// Returns the most similar names, if any is similar.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let mut alike: Vec<_> = known
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    alike.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests;
