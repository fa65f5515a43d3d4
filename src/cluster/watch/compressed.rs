//! Compresses spec and status of a connection to a few hundred bytes.
//!
//! As JSON, they are almost the same for every connection: names of fields and rows, and texts of conditions. So they are
//! compressed (LZ4) with a typical connection as the dictionary. They are never stored outside this process, so the typical one may
//! change.

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

use crate::api::{UkgProConnectionSpec, UkgProConnectionStatus};

/// Spec and status, compressed.
#[derive(Debug)]
pub(super) struct CompressedState(Box<[u8]>);

impl CompressedState {
    pub(super) fn of(spec: &UkgProConnectionSpec, status: Option<&UkgProConnectionStatus>) -> Self {
        Self(compress_prepend_size_with_dict(&json(spec, status), DICTIONARY).into())
    }

    pub(super) fn read(&self) -> (UkgProConnectionSpec, Option<UkgProConnectionStatus>) {
        let text = decompress_size_prepended_with_dict(&self.0, DICTIONARY).expect("it is what was compressed");
        serde_json::from_slice(&text).expect("it is what was written")
    }
}

fn json(spec: &UkgProConnectionSpec, status: Option<&UkgProConnectionStatus>) -> Vec<u8> {
    serde_json::to_vec(&(spec, status)).expect("types with plain text keys can be written")
}

/// Spec and status of a connection that is Active and needs every row of the catalogue, as JSON. A test of the controller writes
/// it.
const DICTIONARY: &[u8] = include_bytes!("typical.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::controller::decide::tests::connection_with;

    #[test]
    fn what_is_kept_of_a_connection_is_small_whatever_its_verdict() {
        for (reason, most) in [(Some(Reason::AllPermissionsGranted), 300), (Some(Reason::PermissionsMissing), 900), (None, 500)]
        {
            let connection = connection_with(reason);
            let text = CompressedState::of(&connection.spec, connection.status.as_ref());
            assert_eq!(text.read(), (connection.spec.clone(), connection.status.clone()));
            let plain = json(&connection.spec, connection.status.as_ref()).len();
            assert!(text.0.len() <= most, "{reason:?}: {} of {plain} bytes", text.0.len());
        }
    }
}
