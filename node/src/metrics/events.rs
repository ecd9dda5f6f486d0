//! What became of messages on this node.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::stores::Fate;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FateLabel {
    fate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabel {
    why: &'static str,
}

/// The counters of all queues.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventMetrics {
    /// Messages that were given to this node.
    pub(crate) taken: Counter,
    /// Attempts that nobody wanted any more.
    pub(crate) lost: Counter,
    /// Messages that run, or are being settled.
    pub(crate) running: Gauge,
    /// Messages that a store acknowledged without having done what their calls did.
    pub(crate) undone: Counter,
    settled: Family<FateLabel, Counter>,
    again: Family<WhyLabel, Counter>,
}

impl EventMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let EventMetrics { taken, lost, running, undone, settled, again } = metrics.clone();
        registry.register("coracle_messages_taken", "Messages that this node was given", taken);
        let help = "Attempts of messages, by what became of the message";
        registry.register("coracle_messages_settled", help, settled);
        let help = "Attempts of messages that were not wanted any more: cancelled, or their claim had lapsed";
        registry.register("coracle_messages_lost", help, lost);
        let help = "Calls for messages that are made again, uncounted, for what others did meanwhile";
        registry.register("coracle_messages_again", help, again);
        let help = "Messages that are done of whose effects not all were: a store of an earlier release";
        registry.register("coracle_messages_undone", help, undone);
        registry.register("coracle_messages_running", "Messages that run, or are being settled", running);
        metrics
    }

    /// An attempt was settled.
    pub(crate) fn settled(&self, fate: Fate) {
        self.settled.get_or_create(&FateLabel { fate: fate.name() }).inc();
    }

    /// A call is made again.
    pub(crate) fn again(&self, why: &'static str) {
        self.again.get_or_create(&WhyLabel { why }).inc();
    }

    /// How many calls are made again for that.
    #[cfg(test)]
    pub(crate) fn count_again(&self, why: &'static str) -> u64 {
        self.again.get_or_create(&WhyLabel { why }).get()
    }

    /// How many attempts came to that.
    #[cfg(test)]
    pub(crate) fn count(&self, fate: Fate) -> u64 {
        self.settled.get_or_create(&FateLabel { fate: fate.name() }).get()
    }
}
