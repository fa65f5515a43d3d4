//! probe: a session and the requirement permissions → one result each. Speaks to UKG Pro.
//!
//! Probes run side by side and none hides another. A REST read carries user name and password, so it counts as a login with UKG
//! Pro: one goes ahead, and if that is refused as a login (401) the others are not sent, lest they lock the account.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::authenticate::client;
use super::resolve::Target;
use crate::ukg::catalogue::{Api, Requirement};
use crate::ukg::client::Client;
use crate::ukg::login::Session;
use crate::ukg::outcome::Outcome;

/// What was found of one permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The row, and the interface that was used.
    pub requirement: Requirement,
    /// The outcome.
    pub outcome: Outcome,
}

/// Probes every permission; the results are in the order of what the target wants.
///
/// Where REST has refused this login before, no REST read is sent and the results are as they were then.
pub async fn probe(target: &Target, session: &Session, rest_refused: bool, deadline: Instant) -> Vec<Probed> {
    let client = client(target, deadline);
    let (soap, rest): (Vec<_>, Vec<_>) =
        target.requirements.iter().enumerate().partition(|(_, requirement)| requirement.api == Api::Soap);
    let (soap, rest) =
        futures::join!(side_by_side(&client, session, &soap), first_alone(&client, session, &rest, rest_refused));
    let mut probed: Vec<_> = soap.into_iter().chain(rest).collect();
    probed.sort_by_key(|(position, _)| *position);
    probed.into_iter().map(|(_, found)| found).collect()
}

/// A permission and its place in the order required.
type Placed<T> = (usize, T);

async fn side_by_side(client: &Client<'_>, session: &Session, requirements: &[Placed<&Requirement>]) -> Vec<Placed<Probed>> {
    // Bounded by the number of permissions, which resolve bounds.
    let running: FuturesUnordered<_> = requirements.iter().map(|requirement| one(client, session, *requirement)).collect();
    running.collect().await
}

async fn first_alone(
    client: &Client<'_>,
    session: &Session,
    requirements: &[Placed<&Requirement>],
    refused: bool,
) -> Vec<Placed<Probed>> {
    let Some((first, others)) = requirements.split_first() else {
        return Vec::new();
    };
    let first = if refused { found(*first, Outcome::LoginRefused) } else { one(client, session, *first).await };
    let others = match first.1.outcome {
        Outcome::LoginRefused => others.iter().map(|other| found(*other, Outcome::Undetermined)).collect(),
        _ => side_by_side(client, session, others).await,
    };
    std::iter::once(first).chain(others).collect()
}

async fn one(client: &Client<'_>, session: &Session, requirement: Placed<&Requirement>) -> Placed<Probed> {
    found(requirement, client.probe(session, requirement.1).await)
}

fn found((position, requirement): Placed<&Requirement>, outcome: Outcome) -> Placed<Probed> {
    (position, Probed { requirement: requirement.clone(), outcome })
}
