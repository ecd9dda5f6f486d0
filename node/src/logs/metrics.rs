//! Counts of what the guests' logs do.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Shared by the queue and the writer.
#[derive(Debug, Clone, Default)]
pub struct LogMetrics {
    pub(super) written: Counter,
    pub(super) dropped: Family<Reason, Counter>,
    pub(super) bytes: Gauge,
}

/// Why lines were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
}

impl LogMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("coracle_log_records", "Lines of guests written", self.written.clone());
        registry.register("coracle_log_dropped", "Lines of guests dropped, by reason", self.dropped.clone());
        registry.register_with_unit(
            "coracle_log_ring",
            "Bytes of the log ring",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }
}
