//! Removal of a node: it is marked as leaving here, the leader's membership driver does the rest; a caller waits for the end.

use std::time::Instant;

use coracle_proto::id::NodeId;
use coracle_proto::pb::{ChangeReply, RemoveNodeRequest};
use coracle_proto::record::NodeState;
use coracle_proto::status::{Code, Refusal};

use crate::clock;
use crate::context::Context;
use crate::model::Command;
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
    let record = state
        .node(node)
        .ok_or_else(|| Refusal::new(Code::NodeNotFound, format!("there is no node {node}")))?;
    if record.state == NodeState::Dead && !asked.force {
        let sentence = format!("node {node} is dead: with --force it is removed without waiting for it");
        return Err(Refusal::new(Code::NodeRequired, sentence));
    }
    let mut revision = state.revision();
    if record.state != NodeState::Leaving {
        let command = Command::MarkNode { node, state: NodeState::Leaving };
        revision =
            propose(context, Ask::from_client(context, asked.context, command)?, deadline).await?.revision;
    }
    wait_until_gone(context, node, deadline).await?;
    Ok(ChangeReply { revision: revision.max(context.hub.state().revision()).get() })
}

async fn wait_until_gone(context: &Context, node: NodeId, deadline: Instant) -> Result<(), Refusal> {
    let mut revisions = context.hub.subscribe();
    let left = deadline.saturating_duration_since(clock::now());
    let gone = revisions.wait_for(|_| context.hub.state().node(node).is_none());
    match tokio::time::timeout(left, gone).await {
        Ok(_) => Ok(()),
        Err(_) => {
            let sentence = format!("node {node} is leaving; its replicas have not all moved yet");
            Err(Refusal::new(Code::TimedOut, sentence))
        }
    }
}
