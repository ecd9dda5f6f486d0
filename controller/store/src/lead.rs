//! Leads a group towards the members that it is to have, while this replica leads it.

mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{ClusterId, GroupId, NodeId};
use coracle_raft::{Follower, ProposeError, Role, Status};
use tokio::sync::Notify;
use tracing::info;

use crate::book::Book;
use crate::chunks::GroupChunks;
use crate::members::{Members, Step, next_step};
use crate::replicas::Replica;
use whole::Whole;

/// Progress of learners is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Entries that a learner may be behind and still become a voter: they are sent within one heartbeat.
const LAG_MAX: u64 = 100;
/// A member that was silent for longer is not given a vote: several heartbeats.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// Handing over leadership takes one round trip; who cannot within this time is simply left.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(crate) async fn lead(
    cluster: ClusterId,
    group: GroupId,
    (replica, chunks): (Replica, GroupChunks),
    (book, arranged): (Book, Arc<Notify>),
) {
    let mut status = replica.watch();
    let mut whole = Whole::new(cluster, group);
    loop {
        if replica.status().role != Role::Leader {
            whole.rest();
        }
        if status.until(|now| now.role == Role::Leader).await.is_none() {
            return;
        }
        let mut asks = false;
        while let Some(step) = wanted(group, &replica, &book) {
            asks = matches!(step, Step::SetVoters(_));
            if let Step::SetVoters(voters) = &step
                && !whole.may_vote((&replica, &chunks), voters).await
            {
                break;
            }
            info!(%group, ?step, "members");
            if let Err(error) = act(&replica, step).await {
                info!(%group, %error, "not done yet");
                break;
            }
        }
        if !asks {
            whole.rest();
        }
        // Whether it was the pause or news that ended the wait makes no difference.
        let _ = tokio::time::timeout(LOOK_EVERY, arranged.notified()).await;
    }
}

fn wanted(group: GroupId, replica: &Replica, book: &Book) -> Option<Step> {
    let status = replica.status();
    // The next change waits for this one.
    if status.role != Role::Leader || status.changing {
        return None;
    }
    let arrangement = book.of(group)?;
    next_step(&members(status), &arrangement.members)
}

async fn act(replica: &Replica, step: Step) -> Result<(), ProposeError> {
    match step {
        Step::AddLearner(node, seat) => replica.add_learner(node, seat).await,
        Step::SetSeat(node, seat) => replica.set_seat(node, seat).await,
        Step::SetVoters(voters) => replica.set_voters(&voters).await,
        Step::TransferTo(node) => replica.transfer_leader(node).await,
        Step::RemoveLearner(node) => replica.remove(node).await,
    }
}

fn members(status: Status) -> Members {
    let caught_up = follows(&status.followers).into_iter().chain([status.node]).collect();
    let recorded = status.voters.iter().chain(&status.learners);
    Members {
        leader: status.node,
        seats: recorded.map(|(node, seat)| (*node, seat.clone())).collect(),
        voters: status.voters.into_keys().collect(),
        learners: status.learners.into_keys().collect(),
        caught_up,
    }
}

/// Those that have nearly all, in the order in which they should take over.
fn follows(followers: &BTreeMap<NodeId, Follower>) -> Vec<NodeId> {
    let is_near = |follower: &Follower| {
        follower.lag <= LAG_MAX && follower.heard.is_some_and(|heard| heard <= HEARD_WITHIN)
    };
    let mut near: Vec<_> = followers.iter().filter(|(_, follower)| is_near(follower)).collect();
    near.sort_by_key(|(node, follower)| (follower.lag, follower.heard, **node));
    near.into_iter().map(|(node, _)| *node).collect()
}

/// A leader that goes on purpose lets another voter lead at once.
pub(crate) async fn hand_over(replica: &Replica) {
    let status = replica.status();
    if status.role != Role::Leader {
        return;
    }
    let Some(heir) = follows(&status.followers).into_iter().find(|node| status.voters.contains_key(node))
    else {
        return;
    };
    let transfer = tokio::time::timeout(HAND_OVER_TIMEOUT, replica.transfer_leader(heir)).await;
    if !matches!(transfer, Ok(Ok(()))) {
        info!(%heir, "leadership was not handed over");
    }
}
