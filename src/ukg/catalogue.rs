//! The rows of *Service Account Administration*, and the read that shows whether one is granted.
//!
//! Data, in one place. A row's `name` is what a connection lists in `spec.permissions`; its `title` is what stands on the page.
//!
//! **Invariant.** A probe reads and reads nobody: SOAP queries filter on a number no employee has; a REST read that would return
//! persons asks for a page far past the end.

use std::fmt;

/// Which of UKG Pro's two interfaces a probe uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// A WCF service under `/services`, with a token from LoginService.
    Soap,
    /// A REST resource, with basic authentication.
    Rest,
}

/// A read of one SOAP data service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoapProbe {
    /// The service's name, as in `/services/EmployeePerson`.
    pub service: &'static str,
    /// The operation's name, as in `FindPeople`.
    pub operation: &'static str,
    /// How sure the form of the request is.
    pub form: Form,
}

/// Whether a bare fault may be taken for a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The request's form is known, so an authentication fault speaks of permissions.
    Known,
    /// The request's form is disputed, so a fault may be about the form: only permission words count as a denial.
    Disputed,
}

/// A read of one REST resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestProbe {
    /// Path and query, from the root.
    pub path: &'static str,
}

/// A row of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What a connection calls it: the title in PascalCase.
    pub name: &'static str,
    /// What stands on the page.
    pub title: &'static str,
    /// The SOAP read, where UKG Pro has a service for it.
    pub soap: Option<SoapProbe>,
    /// The REST read, where there is one.
    pub rest: Option<RestProbe>,
}

/// The read chosen for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// By SOAP.
    Soap(SoapProbe),
    /// By REST.
    Rest(RestProbe),
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::Soap => "SOAP",
            Api::Rest => "REST",
        })
    }
}

impl Probe {
    /// The interface it uses.
    pub fn api(&self) -> Api {
        match self {
            Probe::Soap(_) => Api::Soap,
            Probe::Rest(_) => Api::Rest,
        }
    }
}

impl Row {
    /// The read to use: SOAP where there is a service, for its filter reads nobody and its token spends no further login; REST
    /// elsewhere.
    pub fn probe(&self) -> Probe {
        match (self.soap, self.rest) {
            (Some(soap), _) => Probe::Soap(soap),
            (None, Some(rest)) => Probe::Rest(rest),
            (None, None) => unreachable!("a test holds every row to having a read"),
        }
    }
}

/// A page no tenant reaches, so that a read of persons returns none.
macro_rules! past_the_end {
    ($path:literal) => {
        Some(RestProbe { path: concat!($path, "?page=1000000&per_Page=1") })
    };
}

const fn soap(service: &'static str, operation: &'static str) -> Option<SoapProbe> {
    Some(SoapProbe { service, operation, form: Form::Known })
}

const fn rest(path: &'static str) -> Option<RestProbe> {
    Some(RestProbe { path })
}

/// Every row known, in the order of the page's groups.
pub const ROWS: &[Row] = &[
    Row {
        name: "EmployeePersonDetails",
        title: "Employee Person Details",
        soap: soap("EmployeePerson", "FindPeople"),
        rest: past_the_end!("/personnel/v1/person-details"),
    },
    Row { name: "EmployeeJobDetails", title: "Employee Job Details", soap: soap("EmployeeJob", "FindJobs"), rest: None },
    Row { name: "EmployeeContacts", title: "Employee Contacts", soap: soap("EmployeeContacts", "FindContacts"), rest: None },
    Row {
        name: "EmployeeUserDefinedFields",
        title: "Employee User Defined Fields",
        soap: soap("EmployeeUserDefinedFields", "FindUserDefinedFields"),
        rest: None,
    },
    Row {
        name: "EmployeeCompensationDetails",
        title: "Employee Compensation Details",
        soap: soap("EmployeeCompensation", "FindCompensations"),
        rest: past_the_end!("/personnel/v1/compensation-details"),
    },
    Row {
        name: "EmployeePayStatement",
        title: "Employee Pay Statement",
        soap: Some(SoapProbe { service: "EmployeePayStatement", operation: "FindLastPayStatement", form: Form::Disputed }),
        rest: None,
    },
    Row {
        name: "EmployeeEmploymentInformation",
        title: "Employee Employment Information",
        soap: soap("EmployeeEmploymentInformation", "FindEmploymentInformations"),
        rest: None,
    },
    Row {
        name: "EmployeeJobHistoryDetails",
        title: "Employee Job History Details",
        soap: None,
        rest: past_the_end!("/personnel/v1/employee-job-history-details"),
    },
    // The only read here that spells per_page in lower case.
    Row {
        name: "PtoPlanIntegration",
        title: "PTO Plan Integration",
        soap: None,
        rest: rest("/personnel/v1/pto-plans?page=1&per_page=1"),
    },
    Row {
        name: "CompanyConfigurationIntegration",
        title: "Company Configuration Integration",
        soap: None,
        rest: rest("/configuration/v1/company-details?page=1&per_Page=1"),
    },
    Row {
        name: "PayrollIntegration",
        title: "Payroll Integration",
        soap: None,
        rest: rest("/payroll/v1/paygroup-payperiods?page=1&per_Page=1"),
    },
    // The least personal of some forty reads behind this row; past the end all the same.
    Row {
        name: "PersonnelIntegration",
        title: "Personnel Integration",
        soap: None,
        rest: past_the_end!("/personnel/v1/employee-supervisor-details"),
    },
];

/// The row of this name.
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_read_and_a_name_that_is_its_title() {
        for row in ROWS {
            assert!(row.soap.is_some() || row.rest.is_some(), "{}", row.name);
            let joined = row.title.replace("PTO", "Pto").replace(' ', "");
            assert_eq!(joined, row.name);
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1);
        }
    }

    #[test]
    fn the_export_that_is_limited_to_eight_calls_a_day_is_never_probed() {
        assert!(ROWS.iter().filter_map(|row| row.rest).all(|rest| !rest.path.contains("employee-changes")));
    }

    #[test]
    fn both_guides_rows_are_there() {
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
            assert!(ROWS.iter().any(|row| row.title == title), "{title}");
        }
    }
}
