//! Takes the planned steps, one after the other, while this node leads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::record::Node;
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
    let holding: BTreeSet<NodeId> = state.replicas().map(|replica| replica.node).collect();
    next_step(&members(context), &nodes, &holding, wanted)
}

fn members(context: &Context) -> Members {
    let raft = context.raft.status();
    let last = raft.last_log;
    let mut caught_up: BTreeSet<NodeId> = raft
        .matched
        .iter()
        .filter(|(_, index)| last.saturating_sub(**index) <= LAG_MAX)
        .map(|(node, _)| *node)
        .collect();
    caught_up.insert(context.node);
    Members { leader: context.node, voters: raft.voters, learners: raft.learners, caught_up }
}

async fn take(context: &Context, step: &Step) -> Result<(), String> {
    let said = |error: coracle_raft::ProposeError| error.to_string();
    match step {
        Step::AddLearner(node) => {
            let address = context.grpc_of(*node).ok_or("it has no address")?;
            context.raft.add_learner(*node, &address).await.map_err(said)
        }
        Step::SetVoters(voters) => context.raft.set_voters(voters.clone()).await.map_err(said),
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
