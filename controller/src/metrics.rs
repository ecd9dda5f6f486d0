//! What this process counts by itself. Numbers that others hold are read when they are asked for, where they are shown.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Counters that this process keeps. Labels are codes of `coracle_proto::status`, so their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    proposals: Family<Vec<(&'static str, &'static str)>, Counter>,
    forwarded: Counter,
    forward_batches: Counter,
    followers: AtomicI64,
    mismatches: AtomicI64,
}

/// Counts one follower of the watch while it lives.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicI64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A proposal ended with this code, or with `ok`.
    pub(crate) fn proposed(&self, code: &'static str) {
        self.proposals.get_or_create(&vec![("code", code)]).inc();
    }

    /// A proposal was passed on to the leader.
    pub(crate) fn forwarded(&self) {
        self.forwarded.inc();
    }

    /// Some of them went together.
    pub(crate) fn forwarded_together(&self) {
        self.forward_batches.inc();
    }

    /// So many nodes have another state at the same revision.
    pub(crate) fn mismatches(&self, nodes: usize) {
        self.mismatches.store(i64::try_from(nodes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// A follower came; it is counted until the answer is dropped.
    pub(crate) fn follower(&self) -> Counted<'_> {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Counted(&self.followers)
    }

    /// Puts every counter into what is shown.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("proposals", "Proposals by outcome", self.proposals.clone());
        registry.register("proposals_forwarded", "Proposals passed on to the leader", self.forwarded.clone());
        let help = "Messages in which proposals were passed on to the leader";
        registry.register("proposals_forward_batches", help, self.forward_batches.clone());
        let help = "Nodes that have another state than this one at the same revision: it must be 0";
        let mismatches = ConstGauge::new(self.mismatches.load(Ordering::Relaxed));
        registry.register("state_hash_mismatches", help, mismatches);
        let followers = ConstGauge::new(self.followers.load(Ordering::Relaxed));
        registry.register("watch_followers", "Open watch streams", followers);
    }
}
