//! Which fields of an object are kept.

use crate::api::REQUESTED_AT;

/// The metadata of an object or a list that is kept. Everything else may be as long as its author likes.
pub(super) const METADATA: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "deletionTimestamp",
    "annotations",
    "continue",
    "remainingItemCount",
];

/// The limit of the `requestedAt` annotation, in bytes of JSON. A request is its first 64 characters, each at most 12 bytes of
/// JSON.
pub(super) const ANNOTATION_MAX: usize = 1 << 10;

/// What to keep of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projection {
    /// Whole objects, with only the needed metadata.
    Objects,
    /// A Secret's or ConfigMap's version, and the values of these keys, each up to a limit in bytes of JSON. `null` replaces a
    /// longer value.
    Values(Vec<(String, usize)>),
}

/// The position of a value in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonPosition {
    /// An object, or a list of them.
    Object,
    Metadata,
    Annotations,
    Data,
    /// A value that is kept whole.
    Plain,
}

/// What is done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Kept(JsonPosition),
    /// A text; a longer one is cut.
    Cut(usize),
    /// A text; `null` replaces a longer one, and any other value.
    Bounded(usize),
    Dropped,
}

impl Projection {
    /// Returns the limit of the longest text that is held back until its end.
    pub(super) fn longest_text(&self) -> usize {
        match self {
            Self::Objects => ANNOTATION_MAX,
            Self::Values(wanted) => wanted.iter().map(|(_, max)| *max).max().unwrap_or_default(),
        }
    }

    pub(super) fn action(&self, position: JsonPosition, key: &str) -> Action {
        match (position, key) {
            (JsonPosition::Object, "metadata") => Action::Kept(JsonPosition::Metadata),
            (JsonPosition::Object, "items" | "object") => Action::Kept(JsonPosition::Object),
            (JsonPosition::Object, _) if *self == Self::Objects => Action::Kept(JsonPosition::Plain),
            (JsonPosition::Object, "data" | "binaryData") => Action::Kept(JsonPosition::Data),
            (JsonPosition::Metadata, "annotations") if *self == Self::Objects => Action::Kept(JsonPosition::Annotations),
            (JsonPosition::Metadata, "annotations") => Action::Dropped,
            (JsonPosition::Metadata, key) if METADATA.contains(&key) => Action::Kept(JsonPosition::Plain),
            (JsonPosition::Annotations, REQUESTED_AT) => Action::Cut(ANNOTATION_MAX),
            (JsonPosition::Data, key) => match self {
                Self::Values(wanted) => {
                    wanted.iter().find(|(name, _)| name == key).map_or(Action::Dropped, |(_, max)| Action::Bounded(*max))
                }
                Self::Objects => Action::Dropped,
            },
            (JsonPosition::Plain, _) => Action::Kept(JsonPosition::Plain),
            (JsonPosition::Object | JsonPosition::Metadata | JsonPosition::Annotations, _) => Action::Dropped,
        }
    }
}
