//! The probe step: sends a read for each required permission and returns one result each. Speaks to UKG Pro.
//!
//! Probes run concurrently, and none hides the result of another. Reads whose answer was lost are repeated one after another, so
//! that a host that loses every second answer is not taken for dead. A host that loses them all costs two more reads.
//!
//! A REST read carries user name and password, so UKG Pro counts it as a login. REST reads are sent one at a time until one is
//! accepted. If one is refused as a login (401), no other is sent, since further refusals could lock the account. A REST read is
//! not repeated unless basic authentication was seen to work.

use futures::{StreamExt as _, stream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use ukg_pro::catalogue::{Api, Requirement};
use ukg_pro::login::Session;
use ukg_pro::outcome::Outcome;
use ukg_pro::transport::Unanswered;

use super::authenticate::WebServices;
use super::gate::RestHold;
use crate::login_guard::RestResult;

/// The result of probing one permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The catalogue row, and the interface that was used.
    pub requirement: Requirement,
    /// The outcome.
    pub outcome: Outcome,
}

/// What is known about basic authentication before the reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasicAuthState {
    /// It has worked in this process.
    Works,
    /// It has worked according to the connection's status.
    Recorded,
    /// It was not tried.
    Untried,
    /// It must not be tried.
    Held(RestHold),
}

impl BasicAuthState {
    /// Whether a REST read may still be refused, as far as this process knows.
    pub fn is_unsure(self) -> bool {
        matches!(self, Self::Recorded | Self::Untried)
    }
}

/// The share of the remaining time for the first tries; the rest is for repetitions.
const FIRST_SHARE: f64 = 2.0 / 3.0;
/// Repetitions of a read whose answer was lost.
const REPEATS: u32 = 2;
/// Concurrent reads of one interface that a check may always send, however many others are running.
pub const READS_PER_CHECK: usize = 2;
/// Additional concurrent reads of all checks together: each may have a connection of its own, which takes some 60 KiB.
pub const SHARED_READS_MAX: usize = 192;
static MORE_READS: Semaphore = Semaphore::const_new(SHARED_READS_MAX);

/// Probes all permissions; the results are in the order of the requirements.
pub async fn probe(
    services: &impl WebServices,
    requirements: &[Requirement],
    session: &Session,
    basic: BasicAuthState,
    deadline: Instant,
) -> Vec<Probed> {
    let left = deadline.saturating_duration_since(Instant::now());
    let probes = Probes { services, session, deadline, first: Instant::now() + left.mul_f64(FIRST_SHARE) };
    let (soap, rest): (Vec<_>, Vec<_>) =
        requirements.iter().enumerate().partition(|(_, requirement)| requirement.api == Api::Soap);
    let (soap, rest) = futures::join!(probes.concurrently(&soap), probes.one_then_rest(&rest, basic));
    let basic_works = match rest_result(rest.iter().map(|(_, found)| found)) {
        Some(RestResult::Works) => true,
        Some(RestResult::Refused) => false,
        Some(RestResult::Unanswered) | None => matches!(basic, BasicAuthState::Works | BasicAuthState::Recorded),
    };
    let mut probed: Vec<_> = soap.into_iter().chain(rest).collect();
    probes.repeat(&mut probed, basic_works).await;
    probed.sort_by_key(|(position, _)| *position);
    probed.into_iter().map(|(_, found)| found).collect()
}

/// Returns what the reads of a check show about basic authentication; `None` if they show nothing.
pub fn rest_result<'a>(probed: impl IntoIterator<Item = &'a Probed>) -> Option<RestResult> {
    let ends = probed.into_iter().filter(|found| found.requirement.api == Api::Rest).filter_map(|found| match found.outcome {
        Outcome::LoginRefused => Some(RestResult::Refused),
        Outcome::Granted | Outcome::GrantedUnfiltered | Outcome::Denied | Outcome::Undetermined => Some(RestResult::Works),
        Outcome::Error(Unanswered::AnswerTimeout | Unanswered::ConnectionLost) => Some(RestResult::Unanswered),
        Outcome::Held | Outcome::TokenRefused { .. } | Outcome::Error(_) => None,
    });
    // A refusal outweighs reads that were not sent because of it, and an answer outweighs lost answers.
    ends.min_by_key(|end| match end {
        RestResult::Refused => 0,
        RestResult::Works => 1,
        RestResult::Unanswered => 2,
    })
}

/// A value and its position in the order of the requirements.
type Indexed<T> = (usize, T);

struct Probes<'a, S> {
    services: &'a S,
    session: &'a Session,
    /// The deadline of the first tries.
    first: Instant,
    deadline: Instant,
}

impl<S: WebServices> Probes<'_, S> {
    async fn concurrently(&self, requirements: &[Indexed<&Requirement>]) -> Vec<Indexed<Probed>> {
        // A few reads always run concurrently, and more if permits are free: no check waits for another's reads.
        let more = requirements.len().saturating_sub(READS_PER_CHECK).min(MORE_READS.available_permits());
        let more = MORE_READS.try_acquire_many(u32::try_from(more).unwrap_or(0)).ok();
        let at_once = READS_PER_CHECK + more.as_ref().map_or(0, SemaphorePermit::num_permits);
        let reads: Vec<_> = requirements.iter().map(|requirement| self.one(*requirement)).collect();
        stream::iter(reads).buffer_unordered(at_once).collect().await
    }

    async fn one_then_rest(&self, requirements: &[Indexed<&Requirement>], basic: BasicAuthState) -> Vec<Indexed<Probed>> {
        let mut probed = Vec::with_capacity(requirements.len());
        let mut left = requirements;
        while let Some((ahead, others)) = left.split_first() {
            let ahead = match basic {
                BasicAuthState::Held(RestHold::Refused) => found(*ahead, Outcome::LoginRefused),
                BasicAuthState::Held(RestHold::Uncertain) => found(*ahead, Outcome::Held),
                BasicAuthState::Works | BasicAuthState::Recorded | BasicAuthState::Untried => self.one(*ahead).await,
            };
            let outcome = ahead.1.outcome;
            probed.push(ahead);
            left = others;
            let as_well = match outcome {
                Outcome::Granted | Outcome::GrantedUnfiltered | Outcome::Denied => {
                    probed.extend(self.concurrently(others).await);
                    break;
                }
                Outcome::LoginRefused => Outcome::Undetermined,
                Outcome::Held | Outcome::Error(Unanswered::RateLimited { .. }) => outcome,
                // The lost answer may have been a refusal.
                Outcome::Error(Unanswered::AnswerTimeout | Unanswered::ConnectionLost) if basic.is_unsure() => outcome,
                // No time is left for the others.
                Outcome::Error(_) if Instant::now() >= self.first => outcome,
                // The answer says nothing about the login, so the next read is also sent alone.
                Outcome::Undetermined | Outcome::TokenRefused { .. } | Outcome::Error(_) => continue,
            };
            probed.extend(others.iter().map(|other| found(*other, as_well)));
            break;
        }
        probed
    }

    async fn one(&self, requirement: Indexed<&Requirement>) -> Indexed<Probed> {
        found(requirement, self.services.read(self.session, requirement.1, self.first).await)
    }

    /// Repeats reads whose answer was lost, one after another, and stops after two losses in a row.
    async fn repeat(&self, probed: &mut [Indexed<Probed>], basic_works: bool) {
        let mut basic_works = basic_works;
        let is_lost = |found: &Probed, basic_works: bool| match found.outcome {
            // The host has said when to come again.
            Outcome::Error(Unanswered::RateLimited { .. }) => false,
            Outcome::Error(_) => found.requirement.api == Api::Soap || basic_works,
            _ => false,
        };
        let mut left =
            u32::try_from(probed.iter().filter(|(_, found)| is_lost(found, basic_works)).count()).unwrap_or(u32::MAX);
        let mut lost_in_a_row = 0;
        for (_, found) in probed {
            if !is_lost(found, basic_works) {
                continue;
            }
            for _ in 0..REPEATS {
                if lost_in_a_row >= REPEATS {
                    return;
                }
                let now = Instant::now();
                let share = self.deadline.saturating_duration_since(now) / (REPEATS * left.max(1));
                if share.is_zero() {
                    return;
                }
                let outcome = self.services.read(self.session, &found.requirement, now + share).await;
                match outcome {
                    Outcome::Error(Unanswered::RateLimited { .. }) => {
                        found.outcome = outcome;
                        return;
                    }
                    Outcome::Error(_) => lost_in_a_row += 1,
                    _ => {
                        (found.outcome, lost_in_a_row) = (outcome, 0);
                        basic_works &= outcome != Outcome::LoginRefused;
                        break;
                    }
                }
            }
            left = left.saturating_sub(1);
        }
    }
}

fn found((position, requirement): Indexed<&Requirement>, outcome: Outcome) -> Indexed<Probed> {
    (position, Probed { requirement: requirement.clone(), outcome })
}
