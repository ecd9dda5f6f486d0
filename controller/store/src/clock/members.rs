//! The clocks of a group's members, asked by each replica for as long as it runs: also before it leads, so that what a leader that dies
//! has shown is known then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::ClusterId;
use tokio::sync::watch;

use super::middle::Clocks;
use super::remote::Remote;
use super::{now, unix_ms};
use crate::model;
use crate::replicas::Replica;

/// They are asked this often.
const CLOCKS_EVERY: Duration = Duration::from_secs(1);
/// The same where the group has no schedule, and each of them was heard.
const IDLE_EVERY: Duration = Duration::from_secs(10);
/// Whoever waits for the first answers of a term waits for so long: several times as long as one may take.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// What the clocks of one group's members show. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    cluster: ClusterId,
    clocks: Arc<Mutex<Clocks>>,
    remote: Remote,
    begun: Instant,
    /// In which term they were asked last, so that most of the clocks are known.
    asked: Arc<watch::Sender<u64>>,
}

impl Members {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        let asked = Arc::new(watch::Sender::new(0));
        Self { cluster, clocks: Arc::default(), remote: Remote::default(), begun: now(), asked }
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
            let whole = self.ask(replica).await;
            let idle = model::schedules_count(&replica.state()).is_ok_and(|count| count == 0);
            tokio::time::sleep(if idle && whole { IDLE_EVERY } else { CLOCKS_EVERY }).await;
        }
    }

    /// Whether they were asked in this term, or in a later one: before that the own clock alone says nothing.
    pub(crate) fn asked_in(&self, term: u64) -> bool {
        *self.asked.borrow() >= term
    }

    /// Waits for that, but not for ever.
    pub(crate) async fn until_asked_in(&self, term: u64) {
        let mut asked = self.asked.subscribe();
        if tokio::time::timeout(ASKED_WITHIN, asked.wait_for(|asked| *asked >= term)).await.is_err() {
            // Whoever cannot be asked is done without, and is not waited for at each entry.
            self.asked_in_term(term);
        }
    }

    fn asked_in_term(&self, term: u64) {
        self.asked.send_if_modified(|asked| std::mem::replace(asked, term.max(*asked)) < term);
    }

    /// Whoever does not answer shows what it has shown. Whether all of them have shown something.
    pub(crate) async fn ask(&self, replica: &Replica) -> bool {
        let status = replica.status();
        let (term, voters) = (status.term, status.voters.len());
        self.clocks().keep(|node| status.voters.contains_key(&node));
        let others = status.voters.into_iter().filter(|(node, _)| *node != status.node);
        let others = others.map(|(node, seat)| (node, seat.address));
        for (node, took, unix_ms) in self.remote.read_clocks(self.cluster, others.collect()).await {
            // In the middle of the way there and back it was so late.
            let at = self.steady().saturating_sub(took / 2);
            self.clocks().heard(node, at, unix_ms);
        }
        let known = self.clocks().known(self.steady());
        if are_most(known, voters) {
            self.asked_in_term(term);
        }
        known >= voters
    }

    /// As if they had been asked in this term last.
    #[cfg(test)]
    pub(crate) fn set_asked(&self, term: u64) {
        self.asked.send_replace(term);
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

/// Whether so many clocks are those of a majority.
const fn are_most(known: usize, voters: usize) -> bool {
    known > voters / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_clocks_are_more_than_half() {
        for (known, voters, most) in [(1, 1, true), (1, 2, false), (1, 3, false), (2, 3, true), (2, 5, false)]
        {
            assert_eq!(are_most(known, voters), most, "{known} of {voters}");
        }
    }
}
