//! Which fields of an object are kept.

use crate::api::REQUESTED_AT;

/// What is kept of the metadata of an object or a list. All else may be as long as its author likes.
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

/// Of the annotation in bytes of JSON; a request is its first 64 characters, each at most 12 of them.
pub(super) const ANNOTATION_MAX: usize = 1 << 10;

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Whole objects, of their metadata what is needed.
    Objects,
    /// Of a Secret or ConfigMap: its version, and the values under these keys as far as so many bytes of JSON. `null` stands for one
    /// that is longer.
    Values(Vec<(String, usize)>),
}

/// Where in an answer a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An object, or a list of them.
    Object,
    Metadata,
    Annotations,
    Data,
    /// Nothing in it is left out.
    Plain,
}

/// What is done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept(Place),
    /// A text, cut when it is longer.
    Cut(usize),
    /// A text; `null` when it is longer, or no text.
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
