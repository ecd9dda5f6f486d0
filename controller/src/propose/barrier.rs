//! Linearizable reads: the leader confirms that it leads (ReadIndex), then this node waits until it has applied as much.

use std::time::Instant;

use coracle_proto::id::Revision;
use coracle_proto::status::{Code, Refusal};
use coracle_raft::ProposeError;

use super::LEADER_WAIT;
use crate::clock;
use crate::context::Context;
use crate::watch::Hub;

/// Returns when the state of this node is no older than the call.
///
/// # Errors
/// `no-quorum` when no leader confirms before the deadline, or within the time of two elections.
pub(crate) async fn barrier(context: &Context, deadline: Instant) -> Result<(), Refusal> {
    let left = deadline.saturating_duration_since(clock::now()).min(LEADER_WAIT);
    // Raft looks for a leader again and again by itself, and gives up for good only when it has stopped.
    let reached = async {
        context.raft.read_barrier().await?;
        caught_up(&context.hub, context.raft.state().state().revision()).await;
        Ok::<(), ProposeError>(())
    };
    let reason = match tokio::time::timeout(left, reached).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no leader confirmed within {:.1} s that it leads", left.as_secs_f32()),
    };
    Err(Refusal::new(Code::NoQuorum, format!("{reason}; a stale read shows what this node knows")))
}

/// The hub is told just after the log's own state is published.
async fn caught_up(hub: &Hub, revision: Revision) {
    let mut revisions = hub.subscribe();
    // The hub outlives every request: the wait ends with the revision.
    let _ = revisions.wait_for(|now| *now >= revision).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples::Asked;

    /// Else a leader might order a worker to delete what a version names that was committed a moment ago.
    #[tokio::test]
    async fn what_is_read_behind_a_barrier_is_in_the_hub() {
        let mut asked = Asked::cluster(1);
        let hub = Hub::new(asked.state.clone());
        asked.deploy("hello", 1);
        let revision = asked.state.revision();
        let waits = caught_up(&hub, revision);
        tokio::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending(), "the log is ahead of the hub");
        hub.replaced(asked.state);
        waits.await;
        assert_eq!(hub.state().revision(), revision);
    }
}
