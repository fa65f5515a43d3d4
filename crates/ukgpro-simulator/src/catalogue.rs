//! The names of UKG Pro's web services and permission rows, all in one place.
//!
//! Everything here is data: which SOAP services and REST reads exist, and which row of the page *Service Account Administration*
//! opens which of them. The other modules look names up here and contain none themselves.

/// Namespace of the SOAP envelope, version 1.2.
pub(crate) const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
/// Namespace of the SOAP envelope, version 1.1, which the services do not support.
pub(crate) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// WS-Addressing 1.0. The services require its `Action`.
pub(crate) const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// Namespace of the four login headers and of the children of `TokenResponse`.
pub(crate) const LOGIN: &str = "http://www.ultipro.com/services/loginservice";
/// The only action of LoginService.
pub(crate) const LOGIN_ACTION: &str = "http://www.ultipro.com/services/loginservice/ILoginService/Authenticate";
/// The four credentials. Each is a header of a login.
pub(crate) const LOGIN_HEADERS: [&str; 4] = ["ClientAccessKey", "Password", "UserAccessKey", "UserName"];
/// Namespace of `TokenRequest`, `TokenResponse`, `OperationResult` and the children of `query`.
pub(crate) const CONTRACTS: &str = "http://www.ultipro.com/contracts";
/// Namespace of the header `UltiProToken`.
pub(crate) const TOKEN: &str = "http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken";
/// Namespace of the header `ClientAccessKey` of a data service.
pub(crate) const CLIENT_ACCESS_KEY: &str = "http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey";

/// Path prefix of all SOAP services.
pub(crate) const SERVICES: &str = "/services/";
/// Name of the service that issues tokens.
pub(crate) const LOGIN_SERVICE: &str = "LoginService";

/// A SOAP data service and its one read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SoapService {
    /// Last part of the path `/services/<name>`.
    pub(crate) name: &'static str,
    /// The operation, and name of the body element.
    pub(crate) operation: &'static str,
    /// Name of the element of one record in `Results`.
    pub(crate) record: &'static str,
}

impl SoapService {
    /// Returns the namespace of the service, which is also that of its body element and of `query`.
    pub(crate) fn namespace(&self) -> String {
        format!("http://www.ultipro.com/services/{}", self.name.to_ascii_lowercase())
    }

    /// Returns the WS-Addressing action of the operation.
    pub(crate) fn action(&self) -> String {
        format!("{}/I{}/{}", self.namespace(), self.name, self.operation)
    }

    /// Returns the type of the operation's result: `PersonFindResponse` for EmployeePerson.
    pub(crate) fn find_response(&self) -> String {
        format!("{}FindResponse", self.name.strip_prefix("Employee").unwrap_or(self.name))
    }
}

const fn soap(name: &'static str, operation: &'static str, record: &'static str) -> SoapService {
    SoapService { name, operation, record }
}

/// All SOAP data services.
#[rustfmt::skip]
pub(crate) static SOAP_SERVICES: &[SoapService] = &[
    soap("EmployeePerson", "FindPeople", "EmployeePerson"),
    soap("EmployeeJob", "FindJobs", "EmployeeJob"),
    soap("EmployeeContacts", "FindContacts", "EmployeeContact"),
    soap("EmployeeUserDefinedFields", "FindUserDefinedFields", "EmployeeUserDefinedFields"),
    soap("EmployeeCompensation", "FindCompensations", "EmployeeCompensation"),
    soap("EmployeePayStatement", "FindLastPayStatement", "EmployeePayStatement"),
    soap("EmployeeEmploymentInformation", "FindEmploymentInformations", "EmployeeEmploymentInformation"),
    soap("EmployeeAddress", "FindAddresses", "EmployeeAddress"),
    soap("EmployeePhoneInformation", "FindPhoneInformations", "EmployeePhoneInformation"),
    soap("EmployeeTermination", "FindTerminations", "EmployeeTermination"),
    soap("EmployeeSsoUser", "FindSsoUsers", "EmployeeSsoUser"),
];

/// A REST read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RestRead {
    /// The path. After `GET `, it is also the name in counters and faults.
    pub(crate) path: &'static str,
    /// How this read spells its page size parameter. It ignores other spellings.
    pub(crate) page_size: &'static str,
    /// What a row holds.
    pub(crate) rows: Rows,
}

/// What the rows of a REST read hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// One row per person, counted in `personRecords`.
    People,
    /// A fixed number of rows of company data, regardless of persons.
    Company(usize),
}

const fn rest(path: &'static str, page_size: &'static str, rows: Rows) -> RestRead {
    RestRead { path, page_size, rows }
}

/// All REST reads that answer with rows.
#[rustfmt::skip]
pub(crate) static REST_READS: &[RestRead] = &[
    rest("/configuration/v1/company-details", "per_Page", Rows::Company(1)),
    rest("/personnel/v1/employee-supervisor-details", "per_Page", Rows::People),
    rest("/payroll/v1/paygroup-payperiods", "per_Page", Rows::Company(12)),
    rest("/personnel/v1/pto-plans", "per_page", Rows::People),
    rest("/personnel/v1/person-details", "per_Page", Rows::People),
    rest("/personnel/v1/compensation-details", "per_Page", Rows::People),
    rest("/personnel/v1/employee-job-history-details", "per_Page", Rows::People),
];

/// The only REST read of pay statements: a POST with identifiers.
pub(crate) const PAY_STATEMENT: &str = "/payroll/v1/employees/pay-statement/last";
/// Allowed eight times a day, so no check may ever call it.
pub(crate) const EMPLOYEE_CHANGES: &str = "/personnel/v1/employee-changes";

/// A row of the page Service Account Administration, and what View on it opens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The row's name in PascalCase, as the configuration writes it.
    pub(crate) name: &'static str,
    /// The row's name as the page shows it.
    pub(crate) title: &'static str,
    /// The SOAP service it opens.
    pub(crate) soap: Option<&'static str>,
    /// The REST path it opens.
    pub(crate) rest: Option<&'static str>,
}

const fn row(name: &'static str, title: &'static str, soap: Option<&'static str>, rest: Option<&'static str>) -> Row {
    Row { name, title, soap, rest }
}

/// All rows. Where two sources name the same right differently, both names are here.
#[rustfmt::skip]
pub(crate) static ROWS: &[Row] = &[
    row("EmployeePersonDetails", "Employee Person Details", Some("EmployeePerson"), Some("/personnel/v1/person-details")),
    row("EmployeePerson", "Employee Person", Some("EmployeePerson"), None),
    row("EmployeeJobDetails", "Employee Job Details", Some("EmployeeJob"), None),
    row("EmployeeJob", "Employee Job", Some("EmployeeJob"), None),
    row("EmployeeContacts", "Employee Contacts", Some("EmployeeContacts"), None),
    row("EmployeeUserDefinedFields", "Employee User Defined Fields", Some("EmployeeUserDefinedFields"), None),
    row("EmployeeCompensationDetails", "Employee Compensation Details", Some("EmployeeCompensation"), Some("/personnel/v1/compensation-details")),
    row("EmployeeCompensation", "Employee Compensation", Some("EmployeeCompensation"), None),
    row("EmployeePayStatement", "Employee Pay Statement", Some("EmployeePayStatement"), Some(PAY_STATEMENT)),
    row("EmployeeEmploymentInformation", "Employee Employment Information", Some("EmployeeEmploymentInformation"), None),
    row("EmployeeAddress", "Employee Address", Some("EmployeeAddress"), None),
    row("EmployeePhoneInformation", "Employee Phone Information", Some("EmployeePhoneInformation"), None),
    row("EmployeeTermination", "Employee Termination", Some("EmployeeTermination"), None),
    row("EmployeeSsoUser", "Employee SSO User", Some("EmployeeSsoUser"), None),
    row("EmployeeJobHistoryDetails", "Employee Job History Details", None, Some("/personnel/v1/employee-job-history-details")),
    row("PtoPlanIntegration", "PTO Plan Integration", None, Some("/personnel/v1/pto-plans")),
    row("CompanyConfigurationIntegration", "Company Configuration Integration", None, Some("/configuration/v1/company-details")),
    row("PayrollIntegration", "Payroll Integration", None, Some("/payroll/v1/paygroup-payperiods")),
    row("PersonnelIntegration", "Personnel Integration", None, Some("/personnel/v1/employee-supervisor-details")),
    row("EmployeeExport", "Employee Export", None, Some(EMPLOYEE_CHANGES)),
];

/// The members of a SOAP `query` in the order of the contract. The service drops other members, and members out of order.
#[rustfmt::skip]
pub(crate) static QUERY_MEMBERS: [&str; 23] = [
    "CompanyCode", "CompanyName", "Country", "EmployeeNumber", "FirstName", "FormerName",
    "FullOrPartTime", "Job", "LastHire", "LastName", "Location", "OrganizationLevel1",
    "OrganizationLevel2", "OrganizationLevel3", "OrganizationLevel4", "OriginalHire",
    "PageNumber", "PageSize", "PayGroup", "Status", "SupervisorLastName", "TerminationDate",
    "TimeClockId",
];

/// The members that begin every service's record, in the order of the contract. The members after them differ by service. The
/// simulator knows only those of EmployeePerson.
pub(crate) static EMPLOYEE_MEMBERS: [&str; 4] = ["CompanyCode", "EmployeeNumber", "FirstName", "LastName"];

/// The service whose record has a list `People` with elements `Person`.
pub(crate) const WITH_PEOPLE: &str = "EmployeePerson";

/// The text members of a Person, in the order of the contract. EmployeeIdentifier, SelfServiceProperties and SuppressSSN are not
/// texts.
pub(crate) static PERSON_TEXTS: [&str; 10] = [
    "AlternateEmailAddress",
    "EmailAddress",
    "FirstName",
    "FormerLastName",
    "LastName",
    "MiddleName",
    "PreferredFirstName",
    "Prefix",
    "SSN",
    "Suffix",
];

/// Which API a grant opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Both,
    Soap,
    Rest,
}

/// A ticked View on one row: `EmployeePersonDetails` for both APIs, or with the prefix `soap:` or `rest:` for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    row: &'static Row,
    reach: Reach,
}

impl Grant {
    /// Parses a grant of the configuration. The error says what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (reach, name) = match text.split_once(':') {
            Some(("soap", name)) => (Reach::Soap, name),
            Some(("rest", name)) => (Reach::Rest, name),
            Some(_) => {
                return Err(format!("`{text}` has an unknown prefix: write `soap:` or `rest:`, or none for both"));
            }
            None => (Reach::Both, text),
        };
        let Some(row) = ROWS.iter().find(|row| row.name == name) else {
            let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            return Err(format!("`{name}` is no known row: write one of {}", known.join(", ")));
        };
        let opens_nothing = (reach == Reach::Soap && row.soap.is_none()) || (reach == Reach::Rest && row.rest.is_none());
        if opens_nothing {
            return Err(format!("`{text}` opens nothing, as {name} belongs to the other API: write `{name}`"));
        }
        Ok(Self { row, reach })
    }

    /// Whether the grant opens the SOAP service of this name.
    pub(crate) fn opens_soap(&self, service: &str) -> bool {
        self.reach != Reach::Rest && self.row.soap == Some(service)
    }

    /// Whether the grant opens the REST path.
    pub(crate) fn opens_rest(&self, path: &str) -> bool {
        self.reach != Reach::Soap && self.row.rest == Some(path)
    }
}

/// Returns a path in the catalogue's spelling. As on IIS, case and repeated slashes are ignored. A path that is not in the
/// catalogue only loses repeated slashes.
pub(crate) fn canonical(path: &str) -> String {
    let mut single = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !single.ends_with('/') {
            single.push(character);
        }
    }
    let services = SOAP_SERVICES.iter().map(|service| service.name).chain([LOGIN_SERVICE]);
    let soap = single.get(..SERVICES.len()).filter(|start| start.eq_ignore_ascii_case(SERVICES)).and_then(|_| {
        let name = services.into_iter().find(|name| name.eq_ignore_ascii_case(&single[SERVICES.len()..]))?;
        Some(format!("{SERVICES}{name}"))
    });
    let paths = REST_READS.iter().map(|read| read.path).chain([PAY_STATEMENT, EMPLOYEE_CHANGES]);
    let rest = || paths.into_iter().find(|path| path.eq_ignore_ascii_case(&single)).map(str::to_owned);
    soap.or_else(rest).unwrap_or(single)
}

/// Returns the data service of this name.
pub(crate) fn soap_service(name: &str) -> Option<&'static SoapService> {
    SOAP_SERVICES.iter().find(|service| service.name == name)
}

/// Returns the read at this path.
pub(crate) fn rest_read(path: &str) -> Option<&'static RestRead> {
    REST_READS.iter().find(|read| read.path == path)
}

/// Returns the row to tick for a SOAP service, as the page shows it.
pub(crate) fn soap_title(service: &str) -> &'static str {
    ROWS.iter().find(|row| row.soap == Some(service)).map_or("an unknown row", |row| row.title)
}

/// Returns the row to tick for a REST path, as the page shows it.
pub(crate) fn rest_title(path: &str) -> &'static str {
    ROWS.iter().find(|row| row.rest == Some(path)).map_or("an unknown row", |row| row.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_points_at_something_that_is_served() {
        for row in ROWS {
            assert!(row.soap.is_some() || row.rest.is_some(), "{} opens nothing", row.name);
            assert_eq!(row.name.to_lowercase(), row.title.replace(' ', "").to_lowercase());
            if let Some(service) = row.soap {
                assert!(soap_service(service).is_some(), "{} names an unknown service", row.name);
            }
            if let Some(path) = row.rest {
                assert!(
                    rest_read(path).is_some() || path == PAY_STATEMENT || path == EMPLOYEE_CHANGES,
                    "{} names an unknown path",
                    row.name
                );
            }
        }
    }

    #[test]
    fn everything_that_is_served_has_a_row() {
        for service in SOAP_SERVICES {
            assert_ne!(soap_title(service.name), "an unknown row");
        }
        for read in REST_READS {
            assert_ne!(rest_title(read.path), "an unknown row");
        }
    }

    #[test]
    fn a_grant_opens_both_apis_unless_it_names_one() {
        let cases = [
            ("EmployeePersonDetails", true, true),
            ("soap:EmployeePersonDetails", true, false),
            ("rest:EmployeePersonDetails", false, true),
            ("EmployeePerson", true, false),
            ("EmployeeJobDetails", false, false),
        ];
        for (text, soap, rest) in cases {
            let grant = Grant::parse(text).expect(text);
            assert_eq!(grant.opens_soap("EmployeePerson"), soap, "{text} by SOAP");
            assert_eq!(grant.opens_rest("/personnel/v1/person-details"), rest, "{text} by REST");
        }
    }

    #[test]
    fn a_grant_that_makes_no_sense_is_refused_with_what_to_write() {
        for (text, says) in [
            ("Employee Person", "EmployeePersonDetails"),
            ("xml:EmployeePerson", "`soap:` or `rest:`"),
            ("rest:EmployeeJobDetails", "opens nothing"),
            ("soap:PtoPlanIntegration", "opens nothing"),
        ] {
            let error = Grant::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn actions_and_namespaces_follow_the_services_name() {
        let service = soap_service("EmployeePerson").expect("it is in the table");
        assert_eq!(service.namespace(), "http://www.ultipro.com/services/employeeperson");
        assert_eq!(service.action(), "http://www.ultipro.com/services/employeeperson/IEmployeePerson/FindPeople");
    }

    #[test]
    fn members_are_in_alphabetical_order() {
        assert!(QUERY_MEMBERS.is_sorted());
        assert!(EMPLOYEE_MEMBERS.is_sorted());
        assert!(PERSON_TEXTS.is_sorted());
        assert!(soap_service(WITH_PEOPLE).is_some());
    }

    #[test]
    fn a_path_is_known_in_any_case_and_with_slashes_to_spare() {
        let cases = [
            ("/services/LoginService", "/services/LoginService"),
            ("/SERVICES/loginservice", "/services/LoginService"),
            ("//services//employeeperson", "/services/EmployeePerson"),
            ("/Personnel/v1//PTO-Plans", "/personnel/v1/pto-plans"),
            ("/payroll/v1/employees/Pay-Statement/last", PAY_STATEMENT),
            ("/services/Unknown", "/services/Unknown"),
            ("/Services/LoginService/x", "/Services/LoginService/x"),
            ("/services/\u{e9}", "/services/\u{e9}"),
            ("/\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", "/\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"),
            ("", ""),
        ];
        for (path, want) in cases {
            assert_eq!(canonical(path), want, "{path}");
        }
    }
}
