//! Linearizable reads: the leader confirms that it leads (ReadIndex), then this node waits until it has applied as much.

use std::time::{Duration, Instant};

use coracle_proto::status::{Code, Refusal};

use super::LEADER_WAIT;
use crate::clock;
use crate::context::Context;

const PAUSE: Duration = Duration::from_millis(50);
/// With the pause alone more than the longest wait; bounds attempts that fail at once.
const ATTEMPTS_MAX: u32 = 200;

/// Returns when the state of this node is no older than the call.
///
/// # Errors
/// `no-quorum` when no leader confirms before the deadline, or within the time of two elections.
pub(crate) async fn barrier(context: &Context, deadline: Instant) -> Result<(), Refusal> {
    let left = deadline.saturating_duration_since(clock::now()).min(LEADER_WAIT);
    let mut last = "there is no leader".to_owned();
    let reached = async {
        for _ in 0..ATTEMPTS_MAX {
            match context.raft.read_barrier().await {
                Ok(_) => return caught_up(context).await,
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(left, reached).await {
        Ok(()) => Ok(()),
        Err(_) => {
            Err(Refusal::new(Code::NoQuorum, format!("{last}; a stale read shows what this node knows")))
        }
    }
}

/// The hub is told just after the log's own state is published.
async fn caught_up(context: &Context) {
    let revision = context.raft.state().state().revision();
    let mut revisions = context.hub.subscribe();
    // The hub outlives every request: the wait ends with the revision.
    let _ = revisions.wait_for(|now| *now >= revision).await;
}
