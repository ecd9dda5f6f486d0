//! Linearizable reads: the leader confirms that it leads (ReadIndex), then this node waits until it has applied as much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::Revision;
use coracle_proto::status::{Code, Refusal};
use coracle_raft::Position;
use tokio::sync::oneshot;

use super::LEADER_WAIT;
use crate::clock;
use crate::context::Context;
use crate::queue::Ended;
use crate::watch::Hub;
use crate::ways::{Reads, WAITING_MAX};

/// Returns when the state of this node is no older than the call.
///
/// # Errors
/// `no-quorum` when no leader confirms before the deadline, or within the time of two elections.
pub(crate) async fn barrier(context: &Context, deadline: Instant) -> Result<(), Refusal> {
    let left = deadline.saturating_duration_since(clock::now()).min(LEADER_WAIT);
    let reached = async { committed(context, left).await?.reached(context).await };
    let Ok(reached) = tokio::time::timeout(left, reached).await else {
        let seconds = left.as_secs_f32();
        return Err(unconfirmed(&format!(
            "this node did not catch up with the leader within {seconds:.1} s"
        )));
    };
    reached.map(|_| ())
}

/// What a leader confirmed to be committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed(Position);

/// Asks a leader what is committed now.
///
/// # Errors
/// `no-quorum` when none confirms `within` that time that it leads.
pub(crate) async fn committed(context: &Context, within: Duration) -> Result<Committed, Refusal> {
    match tokio::time::timeout(within, index(&context.reads)).await {
        Ok(answer) => answer.map(Committed),
        Err(_) => {
            let seconds = within.as_secs_f32();
            Err(unconfirmed(&format!("no leader confirmed within {seconds:.1} s that it leads")))
        }
    }
}

impl Committed {
    /// Waits until this node has it, as long as that takes; answers with the revision that it has then.
    ///
    /// # Errors
    /// `no-quorum` when the log has ended here.
    pub(crate) async fn reached(self, context: &Context) -> Result<Revision, Refusal> {
        let applied = context.raft.applied(self.0).await;
        applied.map_err(|error| unconfirmed(&error.to_string()))?;
        let revision = context.raft.state().state().revision();
        caught_up(&context.hub, revision).await;
        Ok(revision)
    }
}

async fn index(reads: &Reads) -> Result<Position, Refusal> {
    let (asker, answer) = oneshot::channel();
    let answered = async {
        reads.put(asker).await?;
        answer.await.map_err(|_| Ended)
    };
    answered.await.unwrap_or_else(|Ended| Err(unconfirmed("this controller ends")))
}

/// Asks the leader for all that wait. Runs until it is dropped, and once.
pub(crate) async fn read(context: Arc<Context>) {
    let Some(mut waiting) = context.reads.take() else { return };
    let mut askers = Vec::new();
    while waiting.recv_many(&mut askers, WAITING_MAX).await > 0 {
        // Raft looks for a leader again and again by itself, and gives up for good only when it has stopped.
        let answer = context.raft.read_index().await.map_err(|error| unconfirmed(&error.to_string()));
        for asker in askers.drain(..) {
            // Whoever asked may have left.
            let _ = asker.send(answer.clone());
        }
    }
}

fn unconfirmed(reason: &str) -> Refusal {
    Refusal::new(Code::NoQuorum, format!("{reason}; a stale read shows what this node knows"))
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
