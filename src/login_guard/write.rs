//! When and what of the ledger is written: commits, merges with another's writes, retries, and divisions when it grows.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::entries::PARTS_MAX;
use super::storage::{Error, Store, Stored, Written};
use crate::login_guard::fingerprint::{KEY_LENGTH, Key, key_of, new_key};
use crate::login_guard::{
    FLUSH_DELAY, Ledger, READS_AT_ONCE, WRITE_FREE_KIB, WRITE_RETRY, WRITE_SPACING, WRITE_SPACING_KIB, WRITE_TRIES, lock,
};

#[derive(Default)]
pub(super) struct WriteState {
    /// The version of each Secret that the next write replaces.
    pub(super) resource_versions: HashMap<u8, String>,
    /// The version of the entry table that is stored.
    pub(super) stored: u64,
    /// The earliest time of the next write.
    pub(super) next: Option<Instant>,
}

impl WriteState {
    /// Waits until the next write may begin.
    pub(super) async fn wait(&self) {
        if let Some(next) = self.next {
            tokio::time::sleep_until(next).await;
        }
    }
}

/// When a written part becomes valid.
pub(super) enum Visibility<'a> {
    AtOnce,
    /// When part 0 counts this part. The snapshot is kept here until then.
    Later(&'a mut Vec<(u8, String)>),
}

/// The result of writing a part.
#[derive(PartialEq)]
enum Progress {
    Done,
    /// The stored state, or its division into parts, is not what this process assumed. The write must be repeated.
    Retry,
}

impl Ledger {
    /// Reads the ledger, or creates it, and retries until that succeeds.
    pub async fn open_with_retry(&self) {
        while let Err(error) = self.opened().await {
            tracing::warn!(%error, "the login ledger cannot be opened, and no login is sent without it");
            tokio::time::sleep(WRITE_RETRY).await;
        }
    }

    /// Stores changes that are not urgent, until the future is dropped.
    pub async fn flush_loop(&self) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(FLUSH_DELAY).await;
            while let Err(error) = self.commit().await {
                tracing::warn!(%error, "the login ledger could not be stored; trying again");
                tokio::time::sleep(WRITE_RETRY).await;
            }
        }
    }

    /// Forgets what only this process knows, and marks the rest to be read again before its next use: another process may have
    /// been active meanwhile.
    pub fn invalidate(&self) {
        let mut state = lock(&self.state);
        state.working.clear();
        state.passwords.clear();
        state.tried.clear();
        state.most = None;
        state.outdated = true;
    }

    /// Marks everything that this process knows to be stored again: the stored state may be older than it was, as after a backup
    /// was restored.
    pub fn mark_all_dirty(&self) {
        let mut state = lock(&self.state);
        state.table.mark_all_dirty();
        // Forces a read before the next use, which merges the two.
        state.outdated = true;
        drop(state);
        self.changed.notify_one();
    }

    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        let Some(store) = self.store.as_ref().filter(|_| lock(&self.state).outdated) else { return Ok(()) };
        let mut write_state = self.write_state.lock().await;
        if std::mem::take(&mut lock(&self.state).outdated) {
            let read = self.reread(store.as_ref(), &mut write_state).await;
            return read.inspect_err(|_| lock(&self.state).outdated = true);
        }
        Ok(())
    }

    /// Returns for how long writes have failed; `None` if the last write succeeded.
    pub fn failing_for(&self) -> Option<Duration> {
        lock(&self.state).failing_since.map(|since| since.elapsed())
    }

    /// Stores all changes that were made before the call.
    pub async fn commit(&self) -> Result<(), Error> {
        let stored = self.store_all().await;
        let mut state = lock(&self.state);
        state.failing_since = match &stored {
            Ok(()) => None,
            Err(_) => state.failing_since.or(Some(Instant::now())),
        };
        drop(state);
        stored
    }

    async fn store_all(&self) -> Result<(), Error> {
        let Some(store) = self.store.as_ref().filter(|_| lock(&self.state).table.has_unsaved()) else { return Ok(()) };
        let key = self.opened().await?.1.clone();
        let wanted = lock(&self.state).table.version();
        let mut write_state = self.write_state.lock().await;
        for _ in 0..WRITE_TRIES {
            // Another task's write may have included this change.
            if write_state.stored >= wanted || !lock(&self.state).table.has_unsaved() {
                return Ok(());
            }
            if self.write_once(store.as_ref(), &key, &mut write_state).await? == Progress::Done {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Writes each part that has changed, over the version that this process knows.
    async fn write_once(
        &self,
        store: &dyn Store,
        key: &Zeroizing<Vec<u8>>,
        write_state: &mut WriteState,
    ) -> Result<Progress, Error> {
        let (version, parts, most) = {
            let state = lock(&self.state);
            (state.table.version(), state.parts(), state.most())
        };
        let changed: Vec<_> = (0..parts).filter(|part| lock(&self.state).table.has_unsaved_of(*part, parts)).collect();
        for part in changed {
            // Waits before it measures the part, because entries may be added during the wait.
            write_state.wait().await;
            if parts < PARTS_MAX && lock(&self.state).table.bytes_of(part, parts) > most {
                return self.divide(store, key, most, write_state).await;
            }
            if self.write_part(store, key, part, parts, Visibility::AtOnce, write_state).await? == Progress::Retry {
                return Ok(Progress::Retry);
            }
        }
        write_state.stored = version;
        Ok(Progress::Done)
    }

    /// Doubles the number of parts until each part is small. The new parts are written first, and become valid when part 0 counts
    /// them. A reader in between finds all entries where they were, and until then the entries in the new parts do not count as
    /// stored. Then the old parts are written without the entries that were moved.
    async fn divide(
        &self,
        store: &dyn Store,
        key: &Zeroizing<Vec<u8>>,
        most: usize,
        write_state: &mut WriteState,
    ) -> Result<Progress, Error> {
        let before = lock(&self.state).parts();
        let is_small = |parts: u8| {
            let state = lock(&self.state);
            (0..parts).all(|part| state.table.bytes_of(part, parts) <= most)
        };
        let mut parts = 2 * before;
        while parts < PARTS_MAX && !is_small(parts) {
            parts *= 2;
        }
        let mut new = Vec::new();
        for part in (before..parts).chain(0..before) {
            // A process that was killed while dividing may have left this part behind.
            if !write_state.resource_versions.contains_key(&part)
                && let Some(version) = store.read(part).await?.and_then(|stored| stored.version)
            {
                write_state.resource_versions.insert(part, version);
            }
            // A division happens once and other tasks wait for it, so it uses the minimum time between two writes.
            write_state.next = write_state.next.map(|next| next.min(Instant::now() + WRITE_SPACING));
            write_state.wait().await;
            let visibility = if part < before { Visibility::AtOnce } else { Visibility::Later(&mut new) };
            if self.write_part(store, key, part, parts, visibility, write_state).await? == Progress::Retry {
                return Ok(Progress::Retry);
            }
            if part == 0 {
                let mut state = lock(&self.state);
                state.parts = parts;
                new.iter().for_each(|(part, snapshot)| state.table.saved(*part, parts, snapshot));
            }
        }
        tracing::info!(secrets = parts, "the login ledger has grown and is divided into more Secrets");
        Ok(Progress::Retry)
    }

    /// Writes a part. The caller has waited until the write may begin.
    async fn write_part(
        &self,
        store: &dyn Store,
        key: &Zeroizing<Vec<u8>>,
        part: u8,
        parts: u8,
        visibility: Visibility<'_>,
        write_state: &mut WriteState,
    ) -> Result<Progress, Error> {
        let snapshot = {
            let mut state = lock(&self.state);
            let most = state.most();
            if parts == PARTS_MAX {
                state.table.shrink(part, parts, most);
            }
            state.table.snapshot(part, parts).1
        };
        let stored = Stored {
            key: key.clone(),
            entries: snapshot.clone(),
            parts,
            version: write_state.resource_versions.get(&part).cloned(),
        };
        let kib = u32::try_from(snapshot.len() / 1024).unwrap_or(u32::MAX);
        write_state.next =
            Some(Instant::now() + WRITE_SPACING + WRITE_SPACING_KIB.saturating_mul(kib.saturating_sub(WRITE_FREE_KIB)));
        let written = store.write(part, stored).await;
        match written.inspect_err(|_| lock(&self.state).table.maybe_saved(part, parts, &snapshot))? {
            Written::Done(resource_version) => {
                match resource_version {
                    Some(resource_version) => write_state.resource_versions.insert(part, resource_version),
                    None => write_state.resource_versions.remove(&part),
                };
                let mut state = lock(&self.state);
                match visibility {
                    Visibility::AtOnce => state.table.saved(part, parts, &snapshot),
                    Visibility::Later(new) => {
                        state.table.maybe_saved(part, parts, &snapshot);
                        new.push((part, snapshot));
                    }
                }
                Ok(Progress::Done)
            }
            Written::Conflict => {
                // The version to replace is gone. The reread below does not remove it for a part that is not valid yet.
                write_state.resource_versions.remove(&part);
                self.reread(store, write_state).await?;
                Ok(Progress::Retry)
            }
            Written::TooLarge => {
                let mut state = lock(&self.state);
                let most = state.found_too_large(snapshot.len());
                tracing::error!(
                    bytes = snapshot.len(),
                    now_at_most = most,
                    "the login ledger is full: the API server does not accept its Secret at this size"
                );
                Ok(Progress::Retry)
            }
        }
    }

    async fn reread(&self, store: &dyn Store, write_state: &mut WriteState) -> Result<(), Error> {
        let first = store.read(0).await?;
        self.take_over(store, first, write_state).await
    }

    /// Takes over the stored state, given part 0.
    async fn take_over(&self, store: &dyn Store, first: Option<Stored>, write_state: &mut WriteState) -> Result<(), Error> {
        // An operator that does not know of parts drops their number, but the parts still exist.
        let is_told = first.as_ref().is_none_or(|stored| stored.parts > 0);
        let told = first.as_ref().map_or(1, |stored| stored.parts.clamp(1, PARTS_MAX).next_power_of_two());
        let known = lock(&self.state).parts().max(told);
        let wanted = if is_told { known } else { PARTS_MAX };
        let others = stream::iter(1..wanted).map(|part| async move { Ok::<_, Error>((part, store.read(part).await?)) });
        let others: Vec<_> = others.buffer_unordered(READS_AT_ONCE).try_collect().await?;
        let there = others.iter().filter(|(_, stored)| stored.is_some()).map(|(part, _)| part + 1).max();
        let parts = known.max(there.unwrap_or(1).next_power_of_two());
        lock(&self.state).parts = parts;
        let mut unreadable = 0;
        let all: Vec<_> = std::iter::once((0, first)).chain(others).filter(|(part, _)| *part < parts).collect();
        for (part, stored) in &all {
            match stored {
                Some(stored) => {
                    unreadable += lock(&self.state).table.rebase(*part, parts, &stored.entries);
                    match stored.version.clone() {
                        Some(version) => write_state.resource_versions.insert(*part, version),
                        None => write_state.resource_versions.remove(part),
                    };
                }
                // The part does not exist yet, or somebody has deleted it: the next write creates it.
                None => drop(write_state.resource_versions.remove(part)),
            }
        }
        if !is_told {
            // The division is unknown, so every line is valid, whichever part it is in.
            let mut state = lock(&self.state);
            all.iter().filter_map(|(_, stored)| stored.as_ref()).for_each(|stored| state.table.adopt(&stored.entries));
        }
        if unreadable > 0 {
            tracing::error!(unreadable, "lines of the login ledger cannot be read and are ignored; the other lines are used");
        }
        Ok(())
    }

    pub(super) async fn key(&self) -> Result<&hmac::Key, Error> {
        Ok(&self.opened().await?.0)
    }

    /// Returns the key, which is read from the store or, the first time, created in it.
    pub(super) async fn opened(&self) -> Result<&Key, Error> {
        self.key.get_or_try_init(|| self.open()).await
    }

    pub(super) async fn open(&self) -> Result<Key, Error> {
        let Some(store) = &self.store else { return new_key() };
        let mut write_state = self.write_state.lock().await;
        for _ in 0..WRITE_TRIES {
            let found = store.read(0).await?;
            let resource_version = found.as_ref().and_then(|stored| stored.version.clone());
            if let Some(stored) = found.filter(|stored| stored.key.len() == KEY_LENGTH) {
                let key = key_of(stored.key.clone());
                self.take_over(store.as_ref(), Some(stored), &mut write_state).await?;
                return Ok(key);
            }
            if resource_version.is_some() {
                tracing::error!("the login ledger's Secret holds no valid key; starting a new ledger");
            }
            let key = new_key()?;
            let entries = lock(&self.state).table.snapshot(0, 1).1;
            let stored = Stored { key: key.1.clone(), entries, parts: 1, version: resource_version };
            if let Written::Done(Some(version)) = store.write(0, stored).await? {
                write_state.resource_versions.insert(0, version);
                return Ok(key);
            }
        }
        Err(Error::Contended)
    }
}
