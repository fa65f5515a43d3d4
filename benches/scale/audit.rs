//! The requests of one user, from the API server's audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::Value;

const LEDGER: &str = "ukgpro-operator-ledger";

/// A log that is read as it grows. The API server starts another file when one is full.
pub struct Audit {
    path: PathBuf,
    file: File,
    user: String,
    rest: Vec<u8>,
}

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// `get` of a connection's Secret.
    Secret,
    /// `patch` of a connection's status.
    Status,
    /// A read or a write of the login ledger.
    Ledger,
    /// A read or a write of the Lease.
    Lease,
    /// An event.
    Event,
    /// A list or a watch.
    Watch,
    /// Any other.
    Other,
}

/// Number of requests by purpose, reads and writes separately.
#[derive(Debug, Default)]
pub struct Requests {
    reads: BTreeMap<Purpose, usize>,
    writes: BTreeMap<Purpose, usize>,
    /// Requests that failed.
    pub refused: Vec<String>,
}

impl Audit {
    /// Opens the log. Requests made before are ignored.
    pub fn new(path: PathBuf, user: String) -> Self {
        let mut audit = Self { file: File::open(&path).expect("the audit log"), path, user, rest: Vec::new() };
        audit.read_on();
        audit.rest.clear();
        audit
    }

    /// Returns the requests in this namespace since the last call.
    pub fn since(&mut self, namespace: &str) -> Requests {
        self.read_on();
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        let mut requests = Requests::default();
        for line in String::from_utf8_lossy(&lines).lines().filter(|line| line.contains(&self.user)) {
            let entry: Value = serde_json::from_str(line).expect("a line of JSON");
            if entry["objectRef"]["namespace"] == namespace {
                requests.enter(&entry);
            }
        }
        requests
    }

    fn read_on(&mut self) {
        loop {
            self.file.read_to_end(&mut self.rest).expect("the audit log");
            let next = File::open(&self.path).expect("the audit log");
            let inode = |file: &File| file.metadata().expect("metadata").ino();
            if inode(&next) == inode(&self.file) {
                return;
            }
            self.file = next;
        }
    }
}

impl Requests {
    fn enter(&mut self, entry: &Value) {
        let (verb, stage) = (entry["verb"].as_str().unwrap_or_default(), entry["stage"].as_str().unwrap_or_default());
        // A watch has two lines, one of them at its end.
        if (verb == "watch") == (stage == "ResponseComplete") {
            return;
        }
        let object = &entry["objectRef"];
        let purpose = match (verb, object["resource"].as_str().unwrap_or_default()) {
            ("list" | "watch", _) => Purpose::Watch,
            (_, "secrets") if object["name"] == LEDGER || verb != "get" => Purpose::Ledger,
            ("get", "secrets") => Purpose::Secret,
            ("patch", "ukgproconnections") if object["subresource"] == "status" => Purpose::Status,
            (_, "leases") => Purpose::Lease,
            (_, "events") => Purpose::Event,
            _ => Purpose::Other,
        };
        let is_write = !matches!(verb, "get" | "list" | "watch");
        *if is_write { &mut self.writes } else { &mut self.reads }.entry(purpose).or_default() += 1;
        let code = entry["responseStatus"]["code"].as_u64().unwrap_or_default();
        // The ledger and the Lease are looked up before they are created, and updated with the version read, so 404 and 409 are
        // normal.
        let is_usual = matches!((purpose, code), (Purpose::Ledger | Purpose::Lease, 404 | 409));
        if code >= 400 && !is_usual {
            self.refused.push(format!("{verb} {}: {code}", entry["requestURI"].as_str().unwrap_or_default()));
        }
    }

    pub fn reads(&self, purpose: Purpose) -> usize {
        self.reads.get(&purpose).copied().unwrap_or_default()
    }

    pub fn writes(&self, purpose: Purpose) -> usize {
        self.writes.get(&purpose).copied().unwrap_or_default()
    }

    /// Returns the number of writes, except those of the Lease.
    pub fn writes_but_the_lease(&self) -> usize {
        self.writes.iter().filter(|(purpose, _)| **purpose != Purpose::Lease).map(|(_, count)| count).sum()
    }

    /// Returns the number of requests that each connection causes: all except the ledger, the Lease, and lists and watches.
    pub fn of_connections(&self) -> usize {
        let shared = [Purpose::Ledger, Purpose::Lease, Purpose::Watch];
        let all = self.reads.iter().chain(&self.writes);
        all.filter(|(purpose, _)| !shared.contains(purpose)).map(|(_, count)| count).sum()
    }
}
