//! The clocks of the other members, asked by each replica for as long as it runs.

use std::time::Duration;

use super::Schedules;
use crate::model;
use crate::replicas::Replica;

/// They are asked this often.
const CLOCKS_EVERY: Duration = Duration::from_secs(1);
/// The same where the group has no schedule.
const IDLE_EVERY: Duration = Duration::from_secs(10);

impl Schedules {
    /// Never ends.
    pub(super) async fn keep_asking(&self, replica: &Replica) {
        loop {
            self.ask_clocks(replica).await;
            let idle = model::schedules_count(&replica.state()).is_ok_and(|count| count == 0);
            tokio::time::sleep(if idle { IDLE_EVERY } else { CLOCKS_EVERY }).await;
        }
    }

    /// Whoever does not answer shows what it has shown.
    pub(super) async fn ask_clocks(&self, replica: &Replica) {
        let status = replica.status();
        self.time().clocks.keep(|node| status.voters.contains_key(&node));
        let others = status.voters.into_iter().filter(|(node, _)| *node != status.node);
        let others = others.map(|(node, seat)| (node, seat.address));
        for (node, took, unix_ms) in self.remote.read_clocks(self.cluster, others.collect()).await {
            // In the middle of the way there and back it was so late.
            let at = self.steady().saturating_sub(took / 2);
            self.time().clocks.heard(node, at, unix_ms);
        }
    }
}
