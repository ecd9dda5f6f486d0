//! Takes the planned steps, one after the other, while this node leads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::record::Node;
use coracle_raft::Follower;
use tracing::{debug, info};

use super::plan::{Members, Step, next_step};
use crate::clock;
use crate::context::{Context, REQUEST_TIMEOUT};
use crate::model::Command;
use crate::propose::{Ask, propose};

/// Progress of learners is looked at this often; changes of the state wake the driver at once.
const PAUSE: Duration = Duration::from_millis(500);
/// Entries that a learner may be behind and still become a voter: they are sent within one heartbeat.
const LAG_MAX: u64 = 100;
/// A member that was silent for longer is not given a vote: several heartbeats.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Runs until it is dropped.
pub(crate) async fn drive(context: &Context) {
    let mut revisions = context.hub.subscribe();
    loop {
        revisions.mark_unchanged();
        if let Some(step) = plan(context) {
            info!(?step, "members");
            match take(context, &step).await {
                Ok(()) => continue,
                Err(reason) => info!(?step, reason, "not done yet"),
            }
        }
        // Whether it was the pause or a change that ended the wait makes no difference.
        let _ = tokio::time::timeout(PAUSE, revisions.changed()).await;
    }
}

fn plan(context: &Context) -> Option<Step> {
    let state = context.hub.state();
    let wanted = usize::try_from(state.cluster()?.voters_wanted).unwrap_or(usize::MAX);
    let nodes: BTreeMap<NodeId, Node> = state.nodes().map(|node| (node.id, node.clone())).collect();
    // By the index: this is asked at every revision, and replicas are many.
    let holds = |node: &NodeId| state.replicas_on(*node).next().is_some();
    let holding: BTreeSet<NodeId> = nodes.keys().copied().filter(holds).collect();
    next_step(&members(context)?, &nodes, &holding, wanted)
}

fn members(context: &Context) -> Option<Members> {
    let raft = context.raft.status();
    // The next change waits for this one.
    if raft.changing {
        return None;
    }
    let follows = |follower: &Follower| {
        follower.lag <= LAG_MAX && follower.heard.is_some_and(|heard| heard <= HEARD_WITHIN)
    };
    let caught_up = raft.followers.iter().filter(|(_, follower)| follows(follower)).map(|(node, _)| *node);
    let caught_up = caught_up.chain([context.node]).collect();
    let recorded = raft.voters.iter().chain(&raft.learners);
    Some(Members {
        leader: context.node,
        addresses: recorded.map(|(node, address)| (*node, address.clone())).collect(),
        voters: raft.voters.into_keys().collect(),
        learners: raft.learners.into_keys().collect(),
        caught_up,
    })
}

async fn take(context: &Context, step: &Step) -> Result<(), String> {
    let said = |error: coracle_raft::ProposeError| error.to_string();
    match step {
        Step::AddLearner(node, address) => context.raft.add_learner(*node, address).await.map_err(said),
        Step::SetAddress(node, address) => context.raft.set_address(*node, address).await.map_err(said),
        Step::SetVoters(voters) => context.raft.set_voters(voters).await.map_err(said),
        Step::TransferTo(node) => context.raft.transfer_leader(*node).await.map_err(said),
        Step::RemoveLearner(node) => context.raft.remove(*node).await.map_err(said),
        Step::RemoveRecord(node) => {
            let ask = Ask::own(context, Command::RemoveNode { node: *node });
            let decided = propose(context, ask, clock::now() + REQUEST_TIMEOUT).await;
            decided
                .map(|decided| debug!(revision = %decided.revision, "record removed"))
                .map_err(|refusal| refusal.message)
        }
    }
}
