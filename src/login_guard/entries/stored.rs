//! Converts parts of the entry table to text, and merges the text that another process has stored.

use std::collections::HashMap;

use jiff::Timestamp;

use super::lines::line;
use crate::login_guard::entries::lines::parse;
use crate::login_guard::entries::{Entry, EntryTable, Fingerprint, HEADER, NamespaceId, StoredStates};

impl EntryTable {
    /// Returns the size of a stored part in bytes.
    pub fn bytes_of(&self, part: u8, parts: u8) -> usize {
        HEADER.len() + 1 + self.of(part, parts).map(|(fingerprint, entry)| line(*fingerprint, entry).len()).sum::<usize>()
    }

    /// Drops entries until a part has at most `most` bytes: those of the namespace that takes up most of the part, the longest
    /// unused first.
    pub fn shrink(&mut self, part: u8, parts: u8, most: usize) {
        // The bytes of a namespace, and the last use, fingerprint and length of each of its entries.
        type Share = (usize, Vec<(Timestamp, Fingerprint, usize)>);
        let mut namespaces: HashMap<NamespaceId, Share> = HashMap::new();
        let mut bytes = HEADER.len() + 1;
        for (fingerprint, entry) in self.of(part, parts) {
            let length = line(*fingerprint, entry).len();
            let used = match entry.has_worked() {
                // Dropped first: statuses record it too, and an outage may produce one for each account.
                true => Timestamp::MIN,
                false => self.asked.get(fingerprint).map_or(entry.used, |asked| entry.used.max(*asked)),
            };
            let (has, entries) = namespaces.entry(entry.namespace_id).or_default();
            *has += length;
            entries.push((used, *fingerprint, length));
            bytes += length;
        }
        namespaces.values_mut().for_each(|(_, entries)| entries.sort_unstable_by(|one, other| other.cmp(one)));
        while bytes > most {
            let Some((has, entries)) = namespaces.values_mut().max_by_key(|(has, _)| *has) else { return };
            let Some((_, fingerprint, length)) = entries.pop() else { return };
            *has -= length;
            bytes -= length;
            self.set(fingerprint, None);
        }
    }

    pub(super) fn of(&self, part: u8, parts: u8) -> impl Iterator<Item = (&Fingerprint, &Entry)> {
        self.entries.iter().filter(move |(fingerprint, _)| fingerprint.part(parts) == part)
    }

    /// Returns all entries of a part as text, and the version of the table that the text is from.
    pub fn snapshot(&self, part: u8, parts: u8) -> (u64, String) {
        let mut lines: Vec<_> = self.of(part, parts).map(|(fingerprint, entry)| line(*fingerprint, entry)).collect();
        lines.sort_unstable();
        let mut text = String::from(HEADER);
        text.push('\n');
        lines.iter().for_each(|line| text.push_str(line));
        (self.version, text)
    }

    /// Records that this snapshot of a part is stored.
    pub fn saved(&mut self, part: u8, parts: u8, snapshot: &str) {
        let stored = parse(snapshot).0;
        self.unsaved.retain(|fingerprint, stored_states| {
            if fingerprint.part(parts) != part {
                return true;
            }
            let stored = stored.get(fingerprint);
            *stored_states = StoredStates(vec![stored.cloned()]);
            stored != self.entries.get(fingerprint)
        });
    }

    /// Records that the store holds either this snapshot of a part, or what it held before.
    pub fn maybe_saved(&mut self, part: u8, parts: u8, snapshot: &str) {
        let stored = parse(snapshot).0;
        let of_part = self.unsaved.iter_mut().filter(|(fingerprint, _)| fingerprint.part(parts) == part);
        of_part.for_each(|(fingerprint, stored_states)| stored_states.or(stored.get(fingerprint)));
    }

    /// Takes over the stored text of a part, which another process may have written. Unsaved changes are kept where they still
    /// apply. Returns the number of unreadable lines.
    pub fn rebase(&mut self, part: u8, parts: u8, stored: &str) -> usize {
        let (mut theirs, unreadable) = parse(stored);
        // An entry that has moved to another part may have left a copy here.
        theirs.retain(|fingerprint, _| fingerprint.part(parts) == part);
        let mut entries = theirs.clone();
        let mut unsaved = HashMap::new();
        let (of_part, others) = std::mem::take(&mut self.unsaved).into_iter().partition(|(key, _)| key.part(parts) == part);
        let of_part: HashMap<Fingerprint, StoredStates> = of_part;
        for (fingerprint, stored_states) in of_part {
            let (mine, their) = (self.entries.get(&fingerprint), theirs.get(&fingerprint));
            let kept = match mine {
                mine if stored_states.holds(their) => mine.cloned(),
                Some(mine) => stored_states.merged(mine, their),
                None => their.cloned(),
            };
            if kept.as_ref() == their {
                continue;
            }
            match kept {
                Some(kept) => entries.insert(fingerprint, kept),
                None => entries.remove(&fingerprint),
            };
            unsaved.insert(fingerprint, StoredStates(vec![their.cloned()]));
        }
        self.entries.retain(|fingerprint, _| fingerprint.part(parts) != part);
        self.entries.extend(entries);
        self.asked.retain(|fingerprint, _| self.entries.contains_key(fingerprint));
        self.unsaved = others;
        self.unsaved.extend(unsaved);
        self.version += 1;
        unreadable
    }

    /// Marks all entries to be stored again where nothing newer is stored, because the stored state may be older than it was.
    pub fn mark_all_dirty(&mut self) {
        for fingerprint in self.entries.keys() {
            self.unsaved.entry(*fingerprint).or_insert_with(|| StoredStates(vec![None]));
        }
        self.version += 1;
    }

    /// Adds the entries that are not known yet, whichever part their lines come from.
    pub fn adopt(&mut self, stored: &str) {
        for (fingerprint, entry) in parse(stored).0 {
            if !self.entries.contains_key(&fingerprint) && !self.unsaved.contains_key(&fingerprint) {
                self.set(fingerprint, Some(entry));
            }
        }
    }
}
