//! Parts of the book as text: what is stored, and what others have stored meanwhile.

use std::collections::HashMap;

use jiff::Timestamp;

use super::lines::line;
use crate::login_guard::entries::lines::parse;
use crate::login_guard::entries::{Book, Entry, Fingerprint, HEADER, Owner, Premise};

impl Book {
    /// How many bytes a part is when it is stored.
    pub fn bytes_of(&self, part: u8, parts: u8) -> usize {
        HEADER.len() + 1 + self.of(part, parts).map(|(fingerprint, entry)| line(*fingerprint, entry).len()).sum::<usize>()
    }

    /// Drops of a part what is too much: of the namespace that has most of it, the longest unused.
    pub fn shrink(&mut self, part: u8, parts: u8, most: usize) {
        // The bytes of each, and when its entries were used, with their lengths.
        type Share = (usize, Vec<(Timestamp, Fingerprint, usize)>);
        let mut owners: HashMap<Owner, Share> = HashMap::new();
        let mut bytes = HEADER.len() + 1;
        for (fingerprint, entry) in self.of(part, parts) {
            let length = line(*fingerprint, entry).len();
            let used = match entry.has_worked() {
                // Statuses tell of it too, and in an outage there may be one of each account.
                true => Timestamp::MIN,
                false => self.asked.get(fingerprint).map_or(entry.used, |asked| entry.used.max(*asked)),
            };
            let (has, entries) = owners.entry(entry.owner).or_default();
            *has += length;
            entries.push((used, *fingerprint, length));
            bytes += length;
        }
        owners.values_mut().for_each(|(_, entries)| entries.sort_unstable_by(|one, other| other.cmp(one)));
        while bytes > most {
            let Some((has, entries)) = owners.values_mut().max_by_key(|(has, _)| *has) else { return };
            let Some((_, fingerprint, length)) = entries.pop() else { return };
            *has -= length;
            bytes -= length;
            self.set(fingerprint, None);
        }
    }

    pub(super) fn of(&self, part: u8, parts: u8) -> impl Iterator<Item = (&Fingerprint, &Entry)> {
        self.entries.iter().filter(move |(fingerprint, _)| fingerprint.part(parts) == part)
    }

    /// All entries of a part as they are stored, and the version that this is.
    pub fn snapshot(&self, part: u8, parts: u8) -> (u64, String) {
        let mut lines: Vec<_> = self.of(part, parts).map(|(fingerprint, entry)| line(*fingerprint, entry)).collect();
        lines.sort_unstable();
        let mut text = String::from(HEADER);
        text.push('\n');
        lines.iter().for_each(|line| text.push_str(line));
        (self.version, text)
    }

    /// The entries of this snapshot of a part are stored.
    pub fn saved(&mut self, part: u8, parts: u8, snapshot: &str) {
        let stored = parse(snapshot).0;
        self.unsaved.retain(|fingerprint, premise| {
            if fingerprint.part(parts) != part {
                return true;
            }
            let stored = stored.get(fingerprint);
            *premise = Premise(vec![stored.cloned()]);
            stored != self.entries.get(fingerprint)
        });
    }

    /// The entries of this snapshot of a part may be stored, or what was stored before.
    pub fn maybe_saved(&mut self, part: u8, parts: u8, snapshot: &str) {
        let stored = parse(snapshot).0;
        let of_part = self.unsaved.iter_mut().filter(|(fingerprint, _)| fingerprint.part(parts) == part);
        of_part.for_each(|(fingerprint, premise)| premise.or(stored.get(fingerprint)));
    }

    /// Takes over what is stored of a part, which may be another's; what is not stored yet is kept where it still holds. Gives how many
    /// lines cannot be read.
    pub fn rebase(&mut self, part: u8, parts: u8, stored: &str) -> usize {
        let (mut theirs, unreadable) = parse(stored);
        // Of entries that were moved to another part since, a copy may have stayed.
        theirs.retain(|fingerprint, _| fingerprint.part(parts) == part);
        let mut entries = theirs.clone();
        let mut unsaved = HashMap::new();
        let (of_part, others) = std::mem::take(&mut self.unsaved).into_iter().partition(|(key, _)| key.part(parts) == part);
        let of_part: HashMap<Fingerprint, Premise> = of_part;
        for (fingerprint, premise) in of_part {
            let (mine, their) = (self.entries.get(&fingerprint), theirs.get(&fingerprint));
            let kept = match mine {
                mine if premise.holds(their) => mine.cloned(),
                Some(mine) => premise.merged(mine, their),
                None => their.cloned(),
            };
            if kept.as_ref() == their {
                continue;
            }
            match kept {
                Some(kept) => entries.insert(fingerprint, kept),
                None => entries.remove(&fingerprint),
            };
            unsaved.insert(fingerprint, Premise(vec![their.cloned()]));
        }
        self.entries.retain(|fingerprint, _| fingerprint.part(parts) != part);
        self.entries.extend(entries);
        self.asked.retain(|fingerprint, _| self.entries.contains_key(fingerprint));
        self.unsaved = others;
        self.unsaved.extend(unsaved);
        self.version += 1;
        unreadable
    }

    /// What is stored may be older than it was: everything that is known is to be stored again, where nothing newer stands.
    pub fn reassert(&mut self) {
        for fingerprint in self.entries.keys() {
            self.unsaved.entry(*fingerprint).or_insert_with(|| Premise(vec![None]));
        }
        self.version += 1;
    }

    /// Takes in lines of which nothing is known yet, wherever they stood.
    pub fn adopt(&mut self, stored: &str) {
        for (fingerprint, entry) in parse(stored).0 {
            if !self.entries.contains_key(&fingerprint) && !self.unsaved.contains_key(&fingerprint) {
                self.set(fingerprint, Some(entry));
            }
        }
    }
}
