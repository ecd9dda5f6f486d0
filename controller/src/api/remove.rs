//! Removal of a node: it is marked as leaving, then the leader's drivers move its replicas and its vote; the
//! caller waits for the end.

use std::time::Instant;

use coracle_proto::id::NodeId;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_proto::pb::{ChangeReply, RemoveNodeRequest};
use coracle_proto::record::{NodeState, Role};
use coracle_proto::status::{CODE_METADATA, Code, Refusal};
use coracle_proto::trace;
use coracle_raft::Status;
use tracing::debug;

use super::ask::{answered, ask};
use crate::clock;
use crate::context::Context;
use crate::model::{ClusterState, Command};
use crate::propose::{Ask, barrier, propose};

/// Marks the node and waits until it is gone or the caller's time is up.
///
/// # Errors
/// `node-not-found`; `node-required` when it is the last one or seems dead and `force` is not given; `timed-out`.
pub(super) async fn remove(
    context: &Context,
    asked: RemoveNodeRequest,
    deadline: Instant,
) -> Result<ChangeReply, Refusal> {
    barrier(context, deadline).await?;
    let node = NodeId::new(asked.node);
    let state = context.hub.state();
    if node == context.node
        && let Some(done) = elsewhere(context, &state, &asked, deadline).await
    {
        return done;
    }
    let Some(record) = state.node(node) else {
        let missing = || Refusal::new(Code::NodeNotFound, format!("there is no node {node}"));
        let first = answered(context, asked.context.as_ref()).ok_or_else(missing)?;
        return Ok(ChangeReply { revision: first.revision.get() });
    };
    if record.state == NodeState::Dead && !asked.force {
        let sentence = format!("node {node} is dead: with --force it is removed without waiting for it");
        return Err(Refusal::new(Code::NodeRequired, sentence));
    }
    let mut revision = state.revision();
    if record.state != NodeState::Leaving {
        let command = Command::MarkNode { node, state: NodeState::Leaving };
        revision = propose(context, ask(context, asked.context, command)?, deadline).await?.revision;
    }
    if asked.force {
        // Its replicas end with its record; only its vote must be gone before, and what it keeps be kept by others.
        let member =
            |status: &Status| status.voters.contains_key(&node) || status.learners.contains_key(&node);
        let mut members = context.raft.watch();
        in_time(node, deadline, members.until(|now| !member(now))).await?;
        let keeps = || context.hub.state().groups().any(|group| group.members.contains(&node));
        let mut revisions = context.hub.subscribe();
        let _ = in_time(node, deadline, revisions.wait_for(|_| !keeps())).await?;
        match propose(context, Ask::own(context, Command::RemoveNode { node }), deadline).await {
            Ok(_) => {}
            // The leader's driver was faster: the node held nothing.
            Err(refusal) if refusal.code == Code::NodeRemoved => {}
            Err(refusal) => return Err(refusal),
        }
    }
    let mut revisions = context.hub.subscribe();
    let gone = revisions.wait_for(|_| context.hub.state().node(node).is_none());
    // The hub outlives every request: the wait ends with the node or with the time.
    let _ = in_time(node, deadline, gone).await?;
    Ok(ChangeReply { revision: revision.max(context.hub.state().revision()).get() })
}

/// Lets another controller see to this node's own removal: here the log ends before the record does. None where no
/// other one can be reached; what is left to say then is said here.
async fn elsewhere(
    context: &Context,
    state: &ClusterState,
    asked: &RemoveNodeRequest,
    deadline: Instant,
) -> Option<Result<ChangeReply, Refusal>> {
    let others = state.nodes().filter(|node| {
        node.id != context.node && node.is(Role::Controller) && node.state == NodeState::Alive
    });
    for other in others {
        let Ok(channel) = context.peers.channel(&other.addresses.grpc) else { continue };
        let mut request = trace::request(asked.clone());
        request.set_timeout(deadline.saturating_duration_since(clock::now()));
        match AdminClient::new(channel).remove_node(request).await {
            Ok(reply) => return Some(Ok(reply.into_inner())),
            Err(status) if status.metadata().contains_key(CODE_METADATA) => {
                return Some(Err(Refusal::from_status(&status)));
            }
            Err(status) => debug!(node = %other.id, reason = %status, "a controller does not see to it"),
        }
    }
    None
}

async fn in_time<T>(node: NodeId, deadline: Instant, wait: impl Future<Output = T>) -> Result<T, Refusal> {
    let left = deadline.saturating_duration_since(clock::now());
    tokio::time::timeout(left, wait).await.map_err(|_| {
        Refusal::new(Code::TimedOut, format!("node {node} is leaving; its replicas have not all moved yet"))
    })
}
