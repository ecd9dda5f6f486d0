//! The clocks of a group's members, asked by each replica for as long as it runs: also before it leads, so that what a leader that dies
//! has shown is known then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::ClusterId;

use super::middle::Clocks;
use super::remote::Remote;
use super::{now, unix_ms};
use crate::model;
use crate::replicas::Replica;

/// They are asked this often.
const CLOCKS_EVERY: Duration = Duration::from_secs(1);
/// The same where the group has no schedule.
const IDLE_EVERY: Duration = Duration::from_secs(10);

/// What the clocks of one group's members show. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    cluster: ClusterId,
    clocks: Arc<Mutex<Clocks>>,
    remote: Remote,
    begun: Instant,
}

impl Members {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        Self { cluster, clocks: Arc::default(), remote: Remote::default(), begun: now() }
    }

    /// The middle one of those that were heard lately and of the own one: Unix milliseconds.
    pub(crate) fn middle_ms(&self) -> u64 {
        self.clocks().middle(self.steady(), unix_ms())
    }

    /// By this process's steady clock.
    pub(crate) fn steady(&self) -> Duration {
        now().saturating_duration_since(self.begun)
    }

    /// Never ends.
    pub(crate) async fn keep_asking(&self, replica: &Replica) {
        loop {
            self.ask(replica).await;
            let idle = model::schedules_count(&replica.state()).is_ok_and(|count| count == 0);
            tokio::time::sleep(if idle { IDLE_EVERY } else { CLOCKS_EVERY }).await;
        }
    }

    /// Whoever does not answer shows what it has shown.
    pub(crate) async fn ask(&self, replica: &Replica) {
        let status = replica.status();
        self.clocks().keep(|node| status.voters.contains_key(&node));
        let others = status.voters.into_iter().filter(|(node, _)| *node != status.node);
        let others = others.map(|(node, seat)| (node, seat.address));
        for (node, took, unix_ms) in self.remote.read_clocks(self.cluster, others.collect()).await {
            // In the middle of the way there and back it was so late.
            let at = self.steady().saturating_sub(took / 2);
            self.clocks().heard(node, at, unix_ms);
        }
    }

    /// As if a member had said so.
    #[cfg(test)]
    pub(crate) fn hear(&self, node: coracle_proto::id::NodeId, unix_ms: u64) {
        self.clocks().heard(node, self.steady(), unix_ms);
    }

    fn clocks(&self) -> MutexGuard<'_, Clocks> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
