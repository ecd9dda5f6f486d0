//! What the leader of a group has it do by itself: its clock goes on while nobody asks for anything, and what has become due is done.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_raft::{Role, Stop, View};
use tracing::info;

use crate::clock;
use crate::model::{self, Asked, Due, OP_STEPS_MAX, Op, Outcome, TIME_STEP_MAX_MS};
use crate::propose::Proposer;
use crate::replicas::{Replica, Served};

/// How often it is looked at most, and how late something may be done that came up meanwhile.
const LOOK_EVERY_MS: u64 = 100;
const LOOK_EVERY: Duration = Duration::from_millis(LOOK_EVERY_MS);
/// What is known to become due sooner than that is waited for, but not for less than this.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Half of what an entry may bring the clock on: the next entry is stamped right.
const LAG_MAX_MS: u64 = TIME_STEP_MAX_MS / 2;
/// Entries of one look: others of the group have their turn between them, and what is left is done at the next one.
const ENTRIES_MAX: u32 = 64;
/// A new leader lets no claim lapse before nodes had so long to tell it what they run: they ask again within two seconds of
/// finding it.
pub(crate) const CLAIMS_GRACE: Duration = Duration::from_secs(10);

/// Runs until it is dropped. No claim lapses before this has led for as long as `grace`.
pub(crate) async fn tend(group: GroupId, served: Served, grace: Duration) {
    let mut status = served.replica.watch();
    while let Some(leads) = status.until(|now| now.role == Role::Leader).await {
        let (since, mut looked) = (clock::now(), Looked::new());
        while still_leads(&served.replica, leads.term) {
            let claims = clock::now().saturating_duration_since(since) >= grace;
            let next = round(group, &served, claims, &mut looked).await;
            tokio::time::sleep(next.clamp(PAUSE_MIN, LOOK_EVERY)).await;
        }
    }
}

fn still_leads(replica: &Replica, term: u64) -> bool {
    let status = replica.status();
    status.role == Role::Leader && status.term == term
}

/// Does what is due, as far as one look may; how long until the next of it is.
async fn round(group: GroupId, served: &Served, claims: bool, looked: &mut Looked) -> Duration {
    for _ in 0..ENTRIES_MAX {
        let kinds = match due(&served.replica.state(), served.clock.now_ms(), claims, looked) {
            Ok(Next::Now(kinds)) => kinds,
            Ok(Next::In(time)) => return time,
            Err(stop) => {
                info!(%group, %stop, "what is due cannot be read");
                return LOOK_EVERY;
            }
        };
        for due in kinds {
            let from_ms = looked.get(&due).copied().unwrap_or_default();
            if !sweep(group, &served.proposer, due, from_ms).await {
                return LOOK_EVERY;
            }
        }
    }
    Duration::ZERO
}

async fn sweep(group: GroupId, proposer: &Proposer, due: Due, from_ms: u64) -> bool {
    let steps = u32::try_from(OP_STEPS_MAX).unwrap_or(u32::MAX);
    match proposer.propose(Asked { request: None, op: Op::Sweep { due, steps, from_ms } }).await {
        Ok(Outcome::Refused(why)) => info!(%group, %why, "what is due is not done yet"),
        Ok(_) => return true,
        Err(refusal) => info!(%group, %refusal, "what is due is not done yet"),
    }
    false
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// These kinds, at least one.
    Now(Vec<Due>),
    /// Something, in so long.
    In(Duration),
}

/// Up to when nothing of a kind is due, which stays so: what was taken away before is not gone through again.
type Looked = BTreeMap<Due, u64>;

/// What has become due. A group in which there never was an entry has nothing that could be late.
fn due(view: &View, now_ms: u64, claims: bool, looked: &mut Looked) -> Result<Next, Stop> {
    let until_ms = now_ms.saturating_add(LOOK_EVERY_MS);
    let Some(group) = model::group(view)? else { return Ok(Next::In(LOOK_EVERY)) };
    let (mut kinds, mut next_ms) = (Vec::new(), u64::MAX);
    for kind in Due::ALL.into_iter().filter(|kind| claims || *kind != Due::Claims) {
        let from_ms = looked.get(&kind).copied().unwrap_or_default();
        let first = model::due(view, kind, from_ms, until_ms)?;
        // What comes is set for no earlier time than the group's.
        looked.insert(kind, first.unwrap_or(until_ms).min(group.time_ms));
        match first {
            Some(at_ms) if at_ms <= now_ms => kinds.push(kind),
            Some(at_ms) => next_ms = next_ms.min(at_ms),
            None => {}
        }
    }
    // An entry of its own, so that the clock does not fall behind.
    if kinds.is_empty() && group.time_ms.saturating_add(LAG_MAX_MS) < now_ms {
        kinds.push(Due::Values);
    }
    Ok(if kinds.is_empty() {
        Next::In(Duration::from_millis(next_ms.saturating_sub(now_ms)))
    } else {
        Next::Now(kinds)
    })
}

#[cfg(test)]
mod tests;
