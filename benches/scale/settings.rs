//! The settings of a measurement, from the environment.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ukg_pro::catalogue::{Api, Catalogue, Requirement};

/// Rows of the built-in catalogue, each with its own SOAP service.
pub const PERMISSIONS: [&str; 5] =
    ["EmployeePersonDetails", "EmployeeJobDetails", "EmployeeContacts", "EmployeeEmploymentInformation", "EmployeeAddress"];
/// Above this, a fleet's checks at one per minute fill two cores, so it gets a longer interval.
const MANY: usize = 2_000;

/// What to measure.
pub struct Settings {
    /// Numbers of connections, one round for each.
    pub connections: Vec<usize>,
    /// Concurrent checks, of the operator and of the floor.
    pub concurrency: usize,
    /// How long to observe after a restart.
    pub rest: Duration,
    /// Number of Secrets changed, one after another.
    pub edits: usize,
    /// Another build's operator to compare with this one, alternating, in cold starts only.
    pub before: Option<String>,
    /// Number of such pairs of starts.
    pub pairs: usize,
    interval: Option<String>,
}

impl Settings {
    pub fn of_environment() -> Self {
        let connections = std::env::var("BENCH_CONNECTIONS").unwrap_or_else(|_| "100,1000".to_owned());
        let connections = connections.split(',').map(|number| number.trim().parse().expect("BENCH_CONNECTIONS=100,1000"));
        Self {
            connections: connections.collect(),
            concurrency: variable("BENCH_CONCURRENCY", 64),
            rest: Duration::from_secs(variable("BENCH_REST_SECONDS", 60)),
            edits: variable("BENCH_EDITS", 50),
            before: std::env::var("BENCH_BEFORE").ok(),
            pairs: variable("BENCH_PAIRS", 7),
            interval: std::env::var("BENCH_INTERVAL").ok(),
        }
    }

    /// Returns `spec.interval` for this number of connections.
    pub fn interval(&self, connections: usize) -> &str {
        self.interval.as_deref().unwrap_or(if connections > MANY { "4m" } else { "1m" })
    }

    pub fn permissions(&self) -> Vec<Requirement> {
        let catalogue = Catalogue::built_in();
        PERMISSIONS.map(|name| catalogue.require(name, Some(Api::Soap)).expect("a row of the catalogue")).into()
    }
}

fn variable<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, concurrency, rest, edits, .. } = self;
        let (cores, rest) = (std::thread::available_parallelism().map_or(0, usize::from), rest.as_secs());
        write!(
            f,
            "{connections:?} connections, {concurrency} checks at once, {rest} s after a restart, {edits} edits, {cores} cores"
        )
    }
}
