//! Counters of what clients have requested, for tests to read. Every map and list has a bound. Of the credentials, only user
//! names are kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Bound on operations, and separately on user names that no account has. Further names are counted together as `other`.
const MOST_NAMES: usize = 1_000;
/// Further distinct notes would add nothing new.
const MOST_NOTES: usize = 1_000;
/// More than this machine can serve.
const MOST_LOGINS_IN_A_SECOND: usize = 100_000;
const LOGIN: &str = "LoginService/Authenticate";
/// The name that counts everything over the bound.
const OTHER: &str = "other";
/// Longest name kept, in characters.
const LONGEST_NAME: usize = 200;

/// Everything counted since the start or the last reset.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counters {
    logins: BTreeMap<String, Logins>,
    requests: BTreeMap<String, u64>,
    login_times: LoginTimes,
    connections: u64,
    person_records: u64,
    strictness: Vec<String>,
    /// Number of keys of `logins` that are not an account's.
    #[serde(skip)]
    strangers: usize,
}

/// Times of the logins of all user names.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoginTimes {
    /// Seconds from the first login to the last.
    span: f64,
    /// Most logins within any one second.
    busiest_second: usize,
    #[serde(skip)]
    first: Option<Instant>,
    #[serde(skip)]
    latest: VecDeque<Instant>,
}

impl LoginTimes {
    fn came(&mut self, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.span = now.duration_since(first).as_secs_f64();
        while self.latest.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1)) {
            self.latest.pop_front();
        }
        if self.latest.len() < MOST_LOGINS_IN_A_SECOND {
            self.latest.push_back(now);
        }
        self.busiest_second = self.busiest_second.max(self.latest.len());
    }
}

/// The logins under one user name.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Logins {
    attempts: u64,
    accepted: u64,
    refused: u64,
    rest: u64,
}

/// The outcome of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The credentials were right.
    Accepted,
    /// The credentials were wrong, or the account is not active.
    Refused,
}

impl Counters {
    /// Counts a request to an operation.
    pub(crate) fn request(&mut self, operation: &str) {
        let mut name = shortened(operation);
        if self.requests.len() >= MOST_NAMES && !self.requests.contains_key(&name) {
            name = OTHER.to_owned();
        }
        *self.requests.entry(name).or_default() += 1;
        if operation == LOGIN {
            self.login_times.came(Instant::now());
        }
    }

    /// Counts a password presented under this user name, by REST or SOAP. An account's name always has its own entry.
    pub(crate) fn attempt(&mut self, username: &str, known: bool, rest: bool) {
        let name = shortened(username);
        if !known && !self.logins.contains_key(&name) && self.strangers < MOST_NAMES {
            self.strangers += 1;
            self.logins.insert(name.clone(), Logins::default());
        }
        let logins = if known { self.logins.entry(name).or_default() } else { self.seen(&name) };
        logins.attempts += 1;
        logins.rest += u64::from(rest);
    }

    /// Counts the outcome of a login.
    pub(crate) fn outcome(&mut self, username: &str, outcome: Outcome) {
        let logins = self.seen(&shortened(username));
        match outcome {
            Outcome::Accepted => logins.accepted += 1,
            Outcome::Refused => logins.refused += 1,
        }
    }

    fn seen(&mut self, name: &str) -> &mut Logins {
        let name = if self.logins.contains_key(name) { name } else { OTHER };
        self.logins.entry(name.to_owned()).or_default()
    }

    /// Counts an accepted TLS connection.
    pub(crate) fn connection(&mut self) {
        self.connections += 1;
    }

    /// Counts persons' records sent.
    pub(crate) fn person_records(&mut self, records: usize) {
        self.person_records += records as u64;
    }

    /// Notes that a client broke the protocol. Each distinct note is kept once.
    pub(crate) fn note(&mut self, note: String) {
        if self.strictness.len() < MOST_NOTES && !self.strictness.contains(&note) {
            self.strictness.push(note);
        }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_counted_by_user_name() {
        let mut counters = Counters::default();
        counters.attempt("a", true, false);
        counters.outcome("a", Outcome::Accepted);
        counters.attempt("a", true, true);
        counters.outcome("a", Outcome::Refused);
        counters.attempt("b", false, false);
        let shown = serde_json::to_value(&counters).expect("plain data");
        assert_eq!(shown["logins"]["a"], serde_json::json!({"attempts": 2, "accepted": 1, "refused": 1, "rest": 1}));
        assert_eq!(shown["logins"]["b"], serde_json::json!({"attempts": 1, "accepted": 0, "refused": 0, "rest": 0}));
    }

    #[test]
    fn the_busiest_second_may_begin_at_any_moment() {
        let mut times = LoginTimes::default();
        let began = Instant::now();
        for milliseconds in [0, 900, 1000, 1100, 1899, 5000] {
            times.came(began + Duration::from_millis(milliseconds));
        }
        assert_eq!((times.span, times.busiest_second), (5.0, 4));
    }

    #[test]
    fn names_and_notes_have_a_bound_and_known_names_still_count() {
        let mut counters = Counters::default();
        for index in 0..2_000 {
            counters.attempt(&format!("user{index}"), false, false);
            counters.outcome(&format!("user{index}"), Outcome::Refused);
            counters.request(&format!("GET /{index}"));
            counters.note(index.to_string());
            counters.note("again".to_owned());
        }
        counters.attempt("user0", false, false);
        counters.attempt("svc-acme", true, false);
        assert_eq!(counters.logins["svc-acme"].attempts, 1, "an account is never another");
        assert_eq!(counters.logins["user0"].attempts, 2);
        assert_eq!(counters.logins["other"].attempts, 1_000);
        assert_eq!(counters.logins["other"].refused, 1_000);
        assert_eq!(counters.requests["other"], 1_000);
        assert_eq!(counters.strictness.len(), MOST_NOTES);
        assert_eq!(counters.strictness.iter().filter(|note| *note == "again").count(), 1);
    }
}
