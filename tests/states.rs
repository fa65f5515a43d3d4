//! There is a stored connection for each state. That they are what the API server stores is held end to end.

use std::collections::BTreeSet;

use ukgpro_operator::api::conditions::find;
use ukgpro_operator::api::{Reason, UkgProConnection};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/states");

/// Those besides one for each reason.
const OTHERS: [&str; 5] = [
    "ActiveThenEdited",
    "ActiveThenSuspended",
    "ActiveWithRefusedCandidate",
    "UnauthorizedThenEdited",
    "UnauthorizedThenSuspended",
];

#[test]
fn every_reason_has_a_stored_connection_that_gives_it() {
    let files = std::fs::read_dir(DIRECTORY).expect("a directory").map(|file| file.expect("a file").file_name());
    let files: BTreeSet<_> = files.map(|name| name.into_string().expect("a name")).collect();
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    assert_eq!(files, reasons.chain(OTHERS).map(|name| format!("{name}.yaml")).collect());
    for reason in Reason::ALL {
        let file = std::fs::read_to_string(format!("{DIRECTORY}/{}.yaml", reason.as_str())).expect("a file");
        let connection: UkgProConnection = serde_saphyr::from_str(&file).expect("a connection");
        let conditions = connection.status.expect("a status").conditions;
        assert_eq!(find(&conditions, "Ready").expect("always there").reason, reason.as_str());
    }
}
