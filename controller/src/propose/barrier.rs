//! Linearizable reads: the leader confirms that it leads, then this node waits until it has applied as much.

use std::time::{Duration, Instant};

use coracle_proto::id::Revision;
use coracle_proto::pb::{self, control_client::ControlClient};
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace;

use super::LEADER_WAIT;
use crate::clock;
use crate::context::Context;

const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPTS_MAX: u32 = 200;
/// One question to the leader; the next one asks whoever leads by then.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns when the state of this node is no older than the call.
///
/// # Errors
/// `no-quorum` when no leader confirms within the deadline.
pub(crate) async fn barrier(context: &Context, deadline: Instant) -> Result<(), Refusal> {
    let begun = clock::now();
    let deadline = deadline.min(begun + LEADER_WAIT);
    let mut last = Refusal::new(Code::NoQuorum, "there is no leader; --stale reads what this node knows");
    for _ in 0..ATTEMPTS_MAX {
        match revision_of_leader(context).await {
            Ok(revision) => return wait_for(context, revision, deadline).await,
            Err(refusal) => last = refusal,
        }
        if clock::now() + PAUSE >= deadline {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Refusal::new(Code::NoQuorum, last.message))
}

/// The leader's side: its revision, after a majority confirmed that it leads.
///
/// # Errors
/// `no-quorum` when it does not lead or is not confirmed in time.
pub(crate) async fn lead_barrier(context: &Context) -> Result<Revision, Refusal> {
    match tokio::time::timeout(ASK_TIMEOUT, context.raft.read_barrier()).await {
        Ok(Ok(())) => Ok(context.hub.state().revision()),
        Ok(Err(error)) => Err(Refusal::new(Code::NoQuorum, error.to_string())),
        Err(_) => Err(Refusal::new(Code::NoQuorum, "no majority confirmed the leader in time")),
    }
}

async fn revision_of_leader(context: &Context) -> Result<Revision, Refusal> {
    let Some(leader) = context.raft.status().leader.filter(|leader| *leader != context.node) else {
        return lead_barrier(context).await;
    };
    let unknown =
        || Refusal::new(Code::NoQuorum, format!("the address of the leader, node {leader}, is unknown"));
    let channel = context.peers.channel(&context.grpc_of(leader).ok_or_else(unknown)?)?;
    let mut request = trace::request(pb::BarrierRequest { cluster_id: context.cluster.to_wire() });
    request.set_timeout(ASK_TIMEOUT);
    let reply = ControlClient::new(channel).barrier(request).await;
    let reply = reply.map_err(|status| Refusal::from_status(&status))?;
    Ok(Revision::new(reply.into_inner().revision))
}

async fn wait_for(context: &Context, revision: Revision, deadline: Instant) -> Result<(), Refusal> {
    let mut revisions = context.hub.subscribe();
    let left = deadline.saturating_duration_since(clock::now());
    match tokio::time::timeout(left, revisions.wait_for(|now| *now >= revision)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            let sentence = format!("this node is behind: it has not seen revision {revision} yet");
            Err(Refusal::new(Code::NoQuorum, sentence))
        }
    }
}
