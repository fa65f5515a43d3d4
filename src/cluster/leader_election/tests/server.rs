//! A simulated API server with one Lease, and networks to it that lose and delay requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ObjectMeta;
use tokio::sync::oneshot;

use crate::cluster::leader_election::lease::{Lease, NotWritten, Record, Store};

/// The API server.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn kept(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lease(&self) -> Option<Lease> {
        self.kept().lease.clone()
    }

    /// What the Lease says.
    pub(super) fn record(&self) -> Record {
        self.lease().expect("a Lease").record
    }

    pub(super) fn holder(&self) -> String {
        self.lease().map(|lease| lease.record.holder).unwrap_or_default()
    }

    pub(super) fn delete(&self) {
        self.kept().lease = None;
    }

    /// A person edits the Lease.
    pub(super) fn edit(&self, edit: impl FnOnce(&mut Lease)) {
        let mut kept = self.kept();
        let version = kept.next_version();
        let lease = kept.lease.as_mut().expect("a Lease");
        edit(lease);
        lease.metadata.resource_version = version;
    }

    /// Writes as the API server does: only onto the current version, and without a new version if nothing changes.
    fn write(&self, onto: Option<Box<ObjectMeta>>, record: Record) -> Result<Lease, NotWritten> {
        let mut kept = self.kept();
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        match (&kept.lease, onto) {
            (None, None) => {
                let version = kept.next_version();
                let metadata = ObjectMeta { uid: version.clone(), resource_version: version, ..ObjectMeta::default() };
                let metadata = Box::new(metadata);
                kept.lease = Some(Lease { metadata, record });
            }
            (Some(there), Some(metadata)) if version(there) == metadata.resource_version => {
                if there.record != record {
                    let resource_version = kept.next_version();
                    kept.lease = Some(Lease { metadata: Box::new(ObjectMeta { resource_version, ..*metadata }), record });
                }
            }
            _ => return Err(NotWritten::Refused),
        }
        Ok(kept.lease.clone().expect("written"))
    }
}

impl Stored {
    fn next_version(&mut self) -> Option<String> {
        self.version += 1;
        Some(self.version.to_string())
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) there: Duration,
    pub(super) back: Duration,
    pub(super) end: End,
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Answered,
    /// It is carried out, but no response comes.
    Unheard,
    /// It is carried out, but the response is an error.
    Failed,
    /// It is not carried out, and the response is an error.
    Refused,
    /// It never arrives.
    Lost,
}

impl Fate {
    pub(super) const GOOD: Self = Self { there: Duration::from_millis(2), back: Duration::from_millis(3), end: End::Answered };

    pub(super) const fn good_until(end: End) -> Self {
        Self { end, ..Self::GOOD }
    }
}

/// One candidate's network.
#[derive(Clone)]
pub(super) struct Link {
    server: Server,
    fates: Arc<Mutex<Fates>>,
}

struct Fates {
    next: VecDeque<Fate>,
    then: Fate,
    /// Whether a read has returned a Lease.
    seen: bool,
}

impl Link {
    /// A good network.
    pub(super) fn new(server: &Server) -> Self {
        let fates = Fates { next: VecDeque::new(), then: Fate::GOOD, seen: false };
        Self { server: server.clone(), fates: Arc::new(Mutex::new(fates)) }
    }

    fn fates(&self) -> MutexGuard<'_, Fates> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what happens to the next requests, in order.
    pub(super) fn expect(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates().next.extend(fates);
    }

    /// Sets what happens to all requests from now on.
    pub(super) fn become_of_all(&self, fate: Fate) {
        let mut fates = self.fates();
        fates.next.clear();
        fates.then = fate;
    }

    /// Whether a fate is left that no request has used.
    pub(super) fn expects_any(&self) -> bool {
        !self.fates().next.is_empty()
    }

    pub(super) fn has_seen_a_lease(&self) -> bool {
        self.fates().seen
    }

    async fn request<T: Send + 'static>(&self, carry_out: impl FnOnce(Server) -> T + Send + 'static) -> Option<T> {
        let fate = {
            let mut fates = self.fates();
            let then = fates.then;
            fates.next.pop_front().unwrap_or(then)
        };
        let (answer, answered) = oneshot::channel();
        let server = self.server.clone();
        // In its own task, because a sent request arrives even if nobody waits for it any more.
        tokio::spawn(async move {
            tokio::time::sleep(fate.there).await;
            let done = match fate.end {
                End::Lost => return std::future::pending().await,
                End::Refused => None,
                End::Answered | End::Unheard | End::Failed => Some(carry_out(server)),
            };
            tokio::time::sleep(fate.back).await;
            match fate.end {
                End::Unheard => std::future::pending().await,
                End::Answered => answer.send(done).ok(),
                _ => answer.send(None).ok(),
            };
        });
        answered.await.expect("an answer is sent or waited for")
    }
}

impl Store for Link {
    async fn read(&self) -> Result<Option<Lease>, String> {
        let found = self.request(|server| server.lease()).await.ok_or_else(|| "no".to_owned())?;
        self.fates().seen |= found.is_some();
        Ok(found)
    }

    async fn write(&self, onto: Option<Box<ObjectMeta>>, record: Record) -> Result<Lease, NotWritten> {
        let written = self.request(|server| server.write(onto, record)).await;
        written.unwrap_or_else(|| Err(NotWritten::Unanswered("no".to_owned())))
    }
}
