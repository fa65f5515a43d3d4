//! What is left out of the API server's answers while they are read. A layer of the Kubernetes client, and a body for single requests.
//!
//! kube collects the whole of an answer before anything is decoded, so what a type does not keep is held all the same: a page of a list
//! with the annotations of all its objects, a Secret of 1 MiB for the sake of one password. Here JSON is read byte by byte, and what no
//! step needs goes no further than the frame it came in.
//!
//! **Contract.** What is kept is kept as it was written. An answer that is no JSON comes to nothing that could be decoded.
//!
//! **Bound.** Of an object's metadata: the keys of `METADATA`, and the one annotation as far as `ANNOTATION_MAX`. Of a Secret or
//! ConfigMap: the values that are wanted, each as far as its bound. A frame of the network, and a text that is being read.

use zeroize::Zeroizing;

mod keep;
mod layer;

/// Longer than any key that is kept.
const KEY_MAX: usize = 512;

/// Deeper than any object of ours by far; what is deeper is left out.
const DEPTH_MAX: usize = 32;

/// An object or array that is kept.
struct Container {
    is_object: bool,
    place: Place,
    /// Whether something was written in it.
    begun: bool,
}

enum State {
    /// Before a value; at its end or after a comma it is the end of an array too.
    Value(Fate),
    /// Before a key, or the end of an object.
    BeforeKey,
    /// In a key, whose text is in `text`.
    Key {
        escaped: bool,
    },
    Colon(Fate),
    /// In a text that is kept as it comes.
    Text {
        escaped: bool,
    },
    /// In a text of bounded length; `Some` where it is to be cut: the last place where that can be done.
    Held {
        max: usize,
        cut: Option<usize>,
        escaped: bool,
        /// So many digits of an escape are to come.
        digits: u8,
    },
    /// In a number, `true`, `false` or `null`.
    Word {
        kept: bool,
    },
    /// In an object or array of which nothing is left out but what is too deep.
    Whole(Extent),
    /// In what is left out.
    Skipped {
        extent: Extent,
        /// How deep in what is kept whole it is left out; 0 elsewhere.
        within: usize,
    },
    /// After a value.
    After,
    /// It is no JSON.
    Broken,
}

/// How far a value is read: in how many objects and arrays, and whether in a text.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Extent {
    const OBJECT_OR_ARRAY: Self = Self { depth: 1, in_text: false, escaped: false };
    const TEXT: Self = Self { depth: 0, in_text: true, escaped: false };

    /// Reads on, to the end of the value or into an object or array deeper than `most`. Gives how many bytes that took, or `None` if
    /// all are read and neither was met.
    fn read(&mut self, bytes: &[u8], most: usize) -> Option<usize> {
        // Locals stay in registers; this loop sees most of what an API server sends.
        let Self { mut depth, mut in_text, mut escaped } = *self;
        let mut at = 0;
        let end = loop {
            let Some(&byte) = bytes.get(at) else { break None };
            if escaped {
                escaped = false;
            } else if in_text {
                let Some(next) = memchr::memchr2(b'"', b'\\', &bytes[at..]) else { break None };
                at += next;
                escaped = bytes[at] == b'\\';
                in_text = escaped;
            } else {
                match byte {
                    b'"' => in_text = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            at += 1;
            if (depth == 0 && !in_text) || depth > most {
                break Some(at);
            }
        };
        *self = Self { depth, in_text, escaped };
        end
    }
}

/// Reads JSON and writes what is kept of it.
pub struct Sieve {
    keep: Keep,
    state: State,
    containers: Vec<Container>,
    /// What is read and not yet judged.
    text: Zeroizing<Vec<u8>>,
}

impl Sieve {
    /// One that keeps this.
    pub fn new(keep: Keep) -> Self {
        Self { keep, state: State::Value(Fate::Kept(Place::Object)), containers: Vec::new(), text: Zeroizing::default() }
    }

    /// What is kept of the next bytes.
    pub fn sift(&mut self, bytes: &[u8]) -> Vec<u8> {
        // Never more than what comes in, besides what was held back. Of most answers most is kept.
        let mut kept = Vec::new();
        if self.keep == Keep::Objects {
            kept.reserve_exact(bytes.len());
        }
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            // The long ways, a stretch at a time.
            match &self.state {
                State::Whole(_) => {
                    rest = self.pass_whole(rest, &mut kept);
                    continue;
                }
                State::Skipped { .. } => {
                    rest = self.pass_skipped(rest);
                    continue;
                }
                State::Text { escaped: false } if !matches!(byte, b'"' | b'\\') => {
                    let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    kept.extend_from_slice(&rest[..length]);
                    rest = &rest[length..];
                    continue;
                }
                State::Broken => break,
                _ => {}
            }
            // A word ends with what comes after it, which is looked at again.
            if self.take(byte, &mut kept) {
                rest = after;
            }
        }
        kept
    }

    /// Passes on what is kept whole, as far as it goes; gives what comes after it.
    fn pass_whole<'a>(&mut self, bytes: &'a [u8], kept: &mut Vec<u8>) -> &'a [u8] {
        let State::Whole(extent) = &mut self.state else { return bytes };
        let most = DEPTH_MAX - self.containers.len();
        let Some(read) = extent.read(bytes, most) else {
            kept.extend_from_slice(bytes);
            return &[];
        };
        if extent.depth == 0 {
            kept.extend_from_slice(&bytes[..read]);
            self.state = State::After;
        } else {
            // Too deep: without what opens it.
            kept.extend_from_slice(&bytes[..read - 1]);
            kept.extend_from_slice(b"null");
            self.state = State::Skipped { extent: Extent::OBJECT_OR_ARRAY, within: most };
        }
        &bytes[read..]
    }

    /// Passes over what is left out, as far as it goes; gives what comes after it.
    fn pass_skipped<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let State::Skipped { extent, within } = &mut self.state else { return bytes };
        let Some(read) = extent.read(bytes, usize::MAX) else { return &[] };
        self.state = match *within {
            0 => State::After,
            depth => State::Whole(Extent { depth, ..Extent::default() }),
        };
        &bytes[read..]
    }

    /// Takes one byte; `false` where it is to be taken again.
    fn take(&mut self, byte: u8, kept: &mut Vec<u8>) -> bool {
        let is_blank = matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        match &mut self.state {
            State::Value(fate) => {
                let fate = *fate;
                if is_blank {
                    // Between the events of a watch.
                    if self.containers.is_empty() {
                        kept.push(byte);
                    }
                } else if byte == b']' {
                    self.close(false, byte, kept);
                } else {
                    self.begin(byte, fate, kept);
                }
            }
            State::BeforeKey => match byte {
                b'"' => {
                    self.text.clear();
                    self.state = State::Key { escaped: false };
                }
                b'}' => self.close(true, byte, kept),
                b',' => {}
                _ if is_blank => {}
                _ => self.state = State::Broken,
            },
            State::Key { escaped } => {
                if byte == b'"' && !*escaped {
                    let place = self.containers.last().map_or(Place::Plain, |container| container.place);
                    let fate = match std::str::from_utf8(&self.text) {
                        Ok(key) if key.len() <= KEY_MAX => self.keep.fate(place, key),
                        _ => Fate::Dropped,
                    };
                    self.state = State::Colon(fate);
                } else {
                    *escaped = byte == b'\\' && !*escaped;
                    if self.text.len() <= KEY_MAX {
                        self.text.push(byte);
                    }
                }
            }
            State::Colon(fate) => {
                let fate = *fate;
                if byte == b':' {
                    if fate != Fate::Dropped {
                        self.separate(kept);
                        kept.push(b'"');
                        kept.extend_from_slice(&self.text);
                        kept.extend_from_slice(b"\":");
                    }
                    self.text.clear();
                    self.state = State::Value(fate);
                } else if !is_blank {
                    self.state = State::Broken;
                }
            }
            State::Text { escaped } => {
                kept.push(byte);
                if byte == b'"' && !*escaped {
                    self.state = State::After;
                } else {
                    *escaped = byte == b'\\' && !*escaped;
                }
            }
            State::Held { max, cut, escaped, digits } => {
                if byte == b'"' && !*escaped {
                    kept.push(b'"');
                    kept.extend_from_slice(&self.text);
                    kept.push(b'"');
                    self.text.clear();
                    self.state = State::After;
                } else if self.text.len() == *max {
                    match *cut {
                        Some(end) => {
                            kept.push(b'"');
                            kept.extend_from_slice(&self.text[..end]);
                            kept.push(b'"');
                        }
                        None => kept.extend_from_slice(b"null"),
                    }
                    let escaped = byte == b'\\' && !*escaped;
                    self.text.clear();
                    self.state = State::Skipped { extent: Extent { escaped, ..Extent::TEXT }, within: 0 };
                } else {
                    // Before a character: not amid its bytes, nor amid an escape, nor between two that are one character.
                    if let Some(end) = cut
                        && !*escaped
                        && *digits == 0
                        && byte & 0xc0 != 0x80
                        && !ends_amid_a_pair(&self.text)
                    {
                        *end = self.text.len();
                    }
                    *digits = if *escaped && byte == b'u' { 4 } else { digits.saturating_sub(1) };
                    *escaped = byte == b'\\' && !*escaped;
                    self.text.push(byte);
                }
            }
            State::Word { kept: is_kept } => {
                if is_blank || matches!(byte, b',' | b'}' | b']') {
                    self.state = State::After;
                    return false;
                }
                if *is_kept {
                    kept.push(byte);
                }
            }
            State::After => match (byte, self.containers.last()) {
                (b',', Some(container)) => {
                    self.state = if container.is_object { State::BeforeKey } else { State::Value(Fate::Kept(container.place)) };
                }
                (b'}', Some(_)) => self.close(true, byte, kept),
                (b']', Some(_)) => self.close(false, byte, kept),
                (_, None) => {
                    self.state = State::Value(Fate::Kept(Place::Object));
                    return false;
                }
                _ if is_blank => {}
                _ => self.state = State::Broken,
            },
            // In stretches alone.
            State::Whole(_) | State::Skipped { .. } | State::Broken => {}
        }
        true
    }

    /// A value begins with this byte.
    fn begin(&mut self, byte: u8, fate: Fate, kept: &mut Vec<u8>) {
        let in_array = self.containers.last().is_some_and(|container| !container.is_object);
        if in_array {
            self.separate(kept);
        }
        let is_container = matches!(byte, b'{' | b'[');
        self.state = match fate {
            Fate::Kept(Place::Plain) if is_container && self.containers.len() < DEPTH_MAX => {
                kept.push(byte);
                State::Whole(Extent::OBJECT_OR_ARRAY)
            }
            Fate::Kept(place) if is_container && self.containers.len() < DEPTH_MAX => {
                kept.push(byte);
                let is_object = byte == b'{';
                self.containers.push(Container { is_object, place, begun: false });
                if is_object { State::BeforeKey } else { State::Value(Fate::Kept(place)) }
            }
            Fate::Kept(_) if byte == b'"' => {
                kept.push(byte);
                State::Text { escaped: false }
            }
            Fate::Kept(_) if !is_container => {
                kept.push(byte);
                State::Word { kept: true }
            }
            Fate::Cut(max) if byte == b'"' => State::Held { max, cut: Some(0), escaped: false, digits: 0 },
            Fate::Bounded(max) if byte == b'"' => State::Held { max, cut: None, escaped: false, digits: 0 },
            Fate::Kept(_) | Fate::Cut(_) | Fate::Bounded(_) | Fate::Dropped => {
                if fate != Fate::Dropped {
                    kept.extend_from_slice(b"null");
                }
                match byte {
                    b'"' => State::Skipped { extent: Extent::TEXT, within: 0 },
                    b'{' | b'[' => State::Skipped { extent: Extent::OBJECT_OR_ARRAY, within: 0 },
                    _ => State::Word { kept: false },
                }
            }
        };
    }

    /// A comma, but before the first of a container.
    fn separate(&mut self, kept: &mut Vec<u8>) {
        if let Some(container) = self.containers.last_mut()
            && std::mem::replace(&mut container.begun, true)
        {
            kept.push(b',');
        }
    }

    fn close(&mut self, is_object: bool, byte: u8, kept: &mut Vec<u8>) {
        self.state = match self.containers.pop() {
            Some(container) if container.is_object == is_object => {
                kept.push(byte);
                State::After
            }
            _ => State::Broken,
        };
    }
}

/// Whether the first escape of two is the last of a text.
fn ends_amid_a_pair(text: &[u8]) -> bool {
    matches!(text, [.., b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _])
}

#[cfg(test)]
mod tests;

pub use keep::Keep;
use keep::{Fate, Place};
pub use layer::{Sift, Sifted};
