//! probe: a session and the wanted permissions → one result each. Speaks to UKG Pro.
//!
//! Probes run side by side and none hides another. A REST read carries user name and password, so it counts as a login with UKG
//! Pro: one goes ahead, and if that is refused as a login (401) the others are not sent, lest they lock the account.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::authenticate::client;
use super::resolve::Target;
use crate::ukg::catalogue::{Api, Probe, Row};
use crate::ukg::client::Client;
use crate::ukg::login::Session;
use crate::ukg::outcome::Outcome;

/// What was found of one permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// The row.
    pub row: &'static Row,
    /// The interface that was used.
    pub api: Api,
    /// The outcome.
    pub outcome: Outcome,
}

/// Probes every permission; the results are in the order of the target's rows.
pub async fn probe(target: &Target, session: &Session, deadline: Instant) -> Vec<Probed> {
    let client = client(target, deadline);
    let (soap, rest): (Vec<_>, Vec<_>) = target.rows.iter().copied().partition(|row| row.probe().api() == Api::Soap);
    let (soap, rest) = futures::join!(side_by_side(&client, session, &soap), first_alone(&client, session, &rest));
    let mut probed: Vec<_> = soap.into_iter().chain(rest).collect();
    probed.sort_by_key(|found| target.rows.iter().position(|row| row.name == found.row.name));
    probed
}

async fn side_by_side(client: &Client<'_>, session: &Session, rows: &[&'static Row]) -> Vec<Probed> {
    // At most 64 rows, by the CRD; one host's connections are bounded by HTTP/2 or by the rows.
    let running: FuturesUnordered<_> = rows.iter().map(|row| one(client, session, row, row.probe())).collect();
    running.collect().await
}

async fn first_alone(client: &Client<'_>, session: &Session, rows: &[&'static Row]) -> Vec<Probed> {
    let Some((first, others)) = rows.split_first() else {
        return Vec::new();
    };
    let first = one(client, session, first, first.probe()).await;
    let others = match first.outcome {
        Outcome::LoginRefused => {
            others.iter().map(|row| Probed { row, api: Api::Rest, outcome: Outcome::Undetermined }).collect()
        }
        _ => side_by_side(client, session, others).await,
    };
    std::iter::once(first).chain(others).collect()
}

async fn one(client: &Client<'_>, session: &Session, row: &'static Row, probe: Probe) -> Probed {
    Probed { row, api: probe.api(), outcome: client.probe(session, &probe).await }
}
