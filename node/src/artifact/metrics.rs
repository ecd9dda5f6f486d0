//! Counts of what the artifact store does.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Store;

/// Shared by all that store, fetch and compile.
#[derive(Debug, Clone)]
pub struct ArtifactMetrics {
    count: Gauge,
    bytes: Gauge,
    pub(crate) uploads: Family<Outcome, Counter>,
    pub(crate) fetches: Family<Outcome, Counter>,
    pub(crate) fetched_bytes: Counter,
    pub(crate) compile: Histogram,
}

/// How something ended: two values, so two series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    outcome: &'static str,
}

impl Outcome {
    pub(crate) const fn of<T, E>(result: &Result<T, E>) -> Self {
        Self { outcome: if result.is_ok() { "ok" } else { "failed" } }
    }
}

impl Default for ArtifactMetrics {
    fn default() -> Self {
        Self {
            count: Gauge::default(),
            bytes: Gauge::default(),
            uploads: Family::default(),
            fetches: Family::default(),
            fetched_bytes: Counter::default(),
            // From 10 ms to 160 s, just under the limit of a compilation.
            compile: Histogram::new(exponential_buckets(0.01, 2.0, 15)),
        }
    }
}

impl ArtifactMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("coracle_artifacts", "Artifacts stored on this node", self.count.clone());
        registry.register_with_unit(
            "coracle_artifacts",
            "Bytes of the artifacts stored on this node",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register("coracle_uploads", "Uploads taken from users, by outcome", self.uploads.clone());
        registry.register(
            "coracle_artifact_fetches",
            "Artifacts fetched from peers, by outcome",
            self.fetches.clone(),
        );
        registry.register_with_unit(
            "coracle_artifact_fetched",
            "Bytes fetched from peers",
            Unit::Bytes,
            self.fetched_bytes.clone(),
        );
        registry.register_with_unit(
            "coracle_compile",
            "Time to compile an artifact",
            Unit::Seconds,
            self.compile.clone(),
        );
    }

    /// Takes over what the store holds, before the metrics are read.
    pub fn observe(&self, store: &Store) {
        let held = store.held();
        let bytes: u64 = held.values().map(|held| held.size).sum();
        self.count.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
