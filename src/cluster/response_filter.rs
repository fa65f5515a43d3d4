//! Drops the parts of the API server's responses that nothing needs, while they are read.
//!
//! It is a layer of the Kubernetes client, and a body for single requests.
//!
//! kube collects a whole response before it decodes anything. So fields that a type ignores take memory too: the annotations of a
//! whole page of objects, or a Secret of 1 MiB for one password. This filter reads JSON byte by byte, and drops unneeded
//! parts in the frame in which they arrive.
//!
//! **Contract.** What is kept is unchanged. A response that is not JSON yields nothing that can be decoded.
//!
//! **Bound.** For an object's metadata: the keys of `METADATA`, and the `requestedAt` annotation up to `ANNOTATION_MAX`. For a
//! Secret or ConfigMap: the requested values, each up to its limit. Besides: one network frame, and the one text that is being
//! read.

use zeroize::{Zeroize as _, Zeroizing};

mod layer;
mod projection;

/// Longer than any key that is kept.
const KEY_MAX: usize = 512;

/// More than a credential takes as JSON.
const CREDENTIAL_MAX: usize = 8 << 10;

/// Far deeper than any object of the operator; deeper values are dropped.
const DEPTH_MAX: usize = 32;

/// An object or array that is kept.
struct Container {
    is_object: bool,
    position: JsonPosition,
    /// Whether anything has been written in it.
    begun: bool,
}

enum State {
    /// Before a value; in an array, also where the array may end.
    Value(Action),
    /// Before a key, or at the end of an object.
    BeforeKey,
    /// Inside a key; its text so far is in `text`.
    Key {
        escaped: bool,
    },
    Colon(Action),
    /// Inside a text that is passed on as it arrives.
    Text {
        escaped: bool,
    },
    /// Inside a text of limited length. `cut` is the last position where a longer text can be cut; `None` if it is not to be cut.
    Held {
        max: usize,
        cut: Option<usize>,
        escaped: bool,
        /// How many digits of an escape are still to come.
        digits: u8,
    },
    /// Inside a number, `true`, `false` or `null`.
    Word {
        kept: bool,
    },
    /// Inside an object or array that is kept whole, except what is nested too deeply.
    Whole(Extent),
    /// Inside a value that is dropped.
    Skipped {
        extent: Extent,
        /// Its depth within a value that is kept whole; 0 elsewhere.
        within: usize,
    },
    /// After a value.
    After,
    /// The input is not JSON.
    Broken,
}

/// The position inside a value: the number of open objects and arrays, and whether in a text.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Extent {
    const OBJECT_OR_ARRAY: Self = Self { depth: 1, in_text: false, escaped: false };
    const TEXT: Self = Self { depth: 0, in_text: true, escaped: false };

    /// Reads up to the end of the value, or into an object or array deeper than `most`. Returns the number of bytes read, or `None`
    /// if neither is reached in `bytes`.
    fn read(&mut self, bytes: &[u8], most: usize) -> Option<usize> {
        // Locals stay in registers; most of what an API server sends passes through this loop.
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

/// What is kept of some bytes.
struct Kept {
    bytes: Vec<u8>,
    /// Whether it may hold a credential. Then no copy stays behind when the buffer grows.
    is_secret: bool,
}

impl Kept {
    fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    fn extend_from_slice(&mut self, more: &[u8]) {
        if self.is_secret {
            reserve_wiping(&mut self.bytes, more.len(), usize::MAX);
        }
        self.bytes.extend_from_slice(more);
    }
}

/// Makes room for `more` bytes, in a buffer of at most `most` if these fit. The old buffer is wiped: a reallocation would leave a copy.
pub fn reserve_wiping(bytes: &mut Vec<u8>, more: usize, most: usize) {
    let length = bytes.len() + more;
    if length > bytes.capacity() {
        let mut larger = Vec::with_capacity((2 * length).min(most).max(length));
        larger.extend_from_slice(bytes);
        std::mem::replace(bytes, larger).zeroize();
    }
}

/// Reads JSON and returns the parts to keep.
pub struct JsonFilter {
    projection: Projection,
    state: State,
    containers: Vec<Container>,
    /// Text that is read but not yet decided on.
    text: Zeroizing<Vec<u8>>,
}

impl JsonFilter {
    /// Makes a filter that keeps `projection`.
    pub fn new(projection: Projection) -> Self {
        // A buffer that grows leaves copies behind, and the text may be a credential. Longer ones are certificates.
        let longest = projection.longest_text().clamp(KEY_MAX + 1, CREDENTIAL_MAX);
        Self {
            projection,
            state: State::Value(Action::Kept(JsonPosition::Object)),
            containers: Vec::new(),
            text: Zeroizing::new(Vec::with_capacity(longest)),
        }
    }

    /// Returns what is kept of the next bytes.
    pub fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = match self.projection {
            // Most is kept.
            Projection::Objects => Kept { bytes: Vec::with_capacity(bytes.len()), is_secret: false },
            Projection::Values(_) => Kept { bytes: Vec::new(), is_secret: true },
        };
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            // Fast paths that take many bytes at once.
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
            // A word ends at the byte after it, which must be read again.
            if self.take(byte, &mut kept) {
                rest = after;
            }
        }
        kept.bytes
    }

    /// Passes on a value that is kept whole, as far as it goes. Returns the rest of the input.
    fn pass_whole<'a>(&mut self, bytes: &'a [u8], kept: &mut Kept) -> &'a [u8] {
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
            // Too deep: `null` replaces the value, including its opening byte.
            kept.extend_from_slice(&bytes[..read - 1]);
            kept.extend_from_slice(b"null");
            self.state = State::Skipped { extent: Extent::OBJECT_OR_ARRAY, within: most };
        }
        &bytes[read..]
    }

    /// Skips a value that is dropped, as far as it goes. Returns the rest of the input.
    fn pass_skipped<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let State::Skipped { extent, within } = &mut self.state else { return bytes };
        let Some(read) = extent.read(bytes, usize::MAX) else { return &[] };
        self.state = match *within {
            0 => State::After,
            depth => State::Whole(Extent { depth, ..Extent::default() }),
        };
        &bytes[read..]
    }

    /// Takes one byte; returns false if the byte must be taken again.
    fn take(&mut self, byte: u8, kept: &mut Kept) -> bool {
        let is_blank = matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        match &mut self.state {
            State::Value(action) => {
                let action = *action;
                if is_blank {
                    // Whitespace between the events of a watch.
                    if self.containers.is_empty() {
                        kept.push(byte);
                    }
                } else if byte == b']' {
                    self.close(false, byte, kept);
                } else {
                    self.begin(byte, action, kept);
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
                    let position = self.containers.last().map_or(JsonPosition::Plain, |container| container.position);
                    let action = match std::str::from_utf8(&self.text) {
                        Ok(key) if key.len() <= KEY_MAX => self.projection.action(position, key),
                        _ => Action::Dropped,
                    };
                    self.state = State::Colon(action);
                } else {
                    *escaped = byte == b'\\' && !*escaped;
                    if self.text.len() <= KEY_MAX {
                        self.text.push(byte);
                    }
                }
            }
            State::Colon(action) => {
                let action = *action;
                if byte == b':' {
                    if action != Action::Dropped {
                        self.separate(kept);
                        kept.push(b'"');
                        kept.extend_from_slice(&self.text);
                        kept.extend_from_slice(b"\":");
                    }
                    self.text.clear();
                    self.state = State::Value(action);
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
                    // Only at the start of a character: not inside its bytes, an escape, or a pair of escapes for one character.
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
                    self.state =
                        if container.is_object { State::BeforeKey } else { State::Value(Action::Kept(container.position)) };
                }
                (b'}', Some(_)) => self.close(true, byte, kept),
                (b']', Some(_)) => self.close(false, byte, kept),
                (_, None) => {
                    self.state = State::Value(Action::Kept(JsonPosition::Object));
                    return false;
                }
                _ if is_blank => {}
                _ => self.state = State::Broken,
            },
            // `filter` handles these many bytes at once.
            State::Whole(_) | State::Skipped { .. } | State::Broken => {}
        }
        true
    }

    /// Begins a value with this byte.
    fn begin(&mut self, byte: u8, action: Action, kept: &mut Kept) {
        let in_array = self.containers.last().is_some_and(|container| !container.is_object);
        if in_array {
            self.separate(kept);
        }
        let is_container = matches!(byte, b'{' | b'[');
        self.state = match action {
            Action::Kept(JsonPosition::Plain) if is_container && self.containers.len() < DEPTH_MAX => {
                kept.push(byte);
                State::Whole(Extent::OBJECT_OR_ARRAY)
            }
            Action::Kept(position) if is_container && self.containers.len() < DEPTH_MAX => {
                kept.push(byte);
                let is_object = byte == b'{';
                self.containers.push(Container { is_object, position, begun: false });
                if is_object { State::BeforeKey } else { State::Value(Action::Kept(position)) }
            }
            Action::Kept(_) if byte == b'"' => {
                kept.push(byte);
                State::Text { escaped: false }
            }
            Action::Kept(_) if !is_container => {
                kept.push(byte);
                State::Word { kept: true }
            }
            Action::Cut(max) if byte == b'"' => State::Held { max, cut: Some(0), escaped: false, digits: 0 },
            Action::Bounded(max) if byte == b'"' => State::Held { max, cut: None, escaped: false, digits: 0 },
            Action::Kept(_) | Action::Cut(_) | Action::Bounded(_) | Action::Dropped => {
                if action != Action::Dropped {
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

    /// Writes a comma, except before the first member of a container.
    fn separate(&mut self, kept: &mut Kept) {
        if let Some(container) = self.containers.last_mut()
            && std::mem::replace(&mut container.begun, true)
        {
            kept.push(b',');
        }
    }

    fn close(&mut self, is_object: bool, byte: u8, kept: &mut Kept) {
        self.state = match self.containers.pop() {
            Some(container) if container.is_object == is_object => {
                kept.push(byte);
                State::After
            }
            _ => State::Broken,
        };
    }
}

/// Returns true if the text ends with the first escape of a surrogate pair.
fn ends_amid_a_pair(text: &[u8]) -> bool {
    matches!(text, [.., b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _])
}

#[cfg(test)]
mod tests;

pub use layer::{FilterResponses, FilteredBody};
pub use projection::Projection;
use projection::{Action, JsonPosition};
