//! The counters of one version, for those who call it: counting looks nothing up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_proto::id::VersionId;
use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};
use prometheus_client::metrics::gauge::Gauge;

use super::{CLASSES, TraceLabel};

/// What is counted of one version; of all that have no series of their own, under `other`.
#[derive(Debug)]
pub struct Series {
    /// None for `other`.
    pub(super) version: Option<VersionId>,
    pub(super) in_flight: Gauge,
    pub(super) durations: HistogramWithExemplars<TraceLabel>,
    /// Of answers by class, warm and cold: each from its first one on.
    pub(super) answers: [[OnceLock<CounterWithExemplar<TraceLabel>>; 2]; CLASSES.len()],
    /// It was not called for long, and shows nothing any more.
    forgotten: AtomicBool,
}

impl Series {
    pub(super) fn new(
        version: Option<VersionId>,
        in_flight: Gauge,
        durations: HistogramWithExemplars<TraceLabel>,
    ) -> Self {
        Self { version, in_flight, durations, answers: Default::default(), forgotten: AtomicBool::new(false) }
    }

    pub(super) fn forget(&self) {
        self.forgotten.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// The counter of an outcome, where it is kept: errors are looked up.
    pub(super) fn answer(
        &self,
        outcome: &str,
        cold: bool,
    ) -> Option<&OnceLock<CounterWithExemplar<TraceLabel>>> {
        let class = CLASSES.iter().position(|class| *class == outcome)?;
        self.answers.get(class)?.get(usize::from(cold))
    }
}
