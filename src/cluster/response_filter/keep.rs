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
pub enum Keep {
    /// Whole objects, with only the needed metadata.
    Objects,
    /// A Secret's or ConfigMap's version, and the values of these keys, each up to a limit in bytes of JSON. `null` replaces a
    /// longer value.
    Values(Vec<(String, usize)>),
}

/// The position of a value in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
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
pub(super) enum Fate {
    Kept(Place),
    /// A text; a longer one is cut.
    Cut(usize),
    /// A text; `null` replaces a longer one, and any other value.
    Bounded(usize),
    Dropped,
}

impl Keep {
    pub(super) fn fate(&self, place: Place, key: &str) -> Fate {
        match (place, key) {
            (Place::Object, "metadata") => Fate::Kept(Place::Metadata),
            (Place::Object, "items" | "object") => Fate::Kept(Place::Object),
            (Place::Object, _) if *self == Self::Objects => Fate::Kept(Place::Plain),
            (Place::Object, "data" | "binaryData") => Fate::Kept(Place::Data),
            (Place::Metadata, "annotations") if *self == Self::Objects => Fate::Kept(Place::Annotations),
            (Place::Metadata, "annotations") => Fate::Dropped,
            (Place::Metadata, key) if METADATA.contains(&key) => Fate::Kept(Place::Plain),
            (Place::Annotations, REQUESTED_AT) => Fate::Cut(ANNOTATION_MAX),
            (Place::Data, key) => match self {
                Self::Values(wanted) => {
                    wanted.iter().find(|(name, _)| name == key).map_or(Fate::Dropped, |(_, max)| Fate::Bounded(*max))
                }
                Self::Objects => Fate::Dropped,
            },
            (Place::Plain, _) => Fate::Kept(Place::Plain),
            (Place::Object | Place::Metadata | Place::Annotations, _) => Fate::Dropped,
        }
    }
}
