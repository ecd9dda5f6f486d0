//! The counters of one version, for those who call it: counting looks nothing up. And a call that is counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use coracle_proto::id::VersionId;
use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};
use prometheus_client::metrics::gauge::Gauge;

use super::{CLASSES, TraceLabel};
use crate::clock;

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

/// A call that has not ended. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    pub(super) series: Arc<Series>,
    begun: Instant,
    pub(super) trace: Option<String>,
}

impl Running {
    pub(super) fn new(series: Arc<Series>) -> Self {
        Self { series, begun: clock::now(), trace: None }
    }

    /// The trace that a count is shown with, and when.
    pub(super) fn exemplar(&self) -> (Option<TraceLabel>, Option<SystemTime>) {
        let exemplar = self.trace.clone().map(|trace_id| TraceLabel { trace_id });
        let at = exemplar.as_ref().map(|_| SystemTime::UNIX_EPOCH + Duration::from_millis(clock::unix_ms()));
        (exemplar, at)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.series.in_flight.dec();
        let took = clock::now().saturating_duration_since(self.begun);
        let (exemplar, at) = self.exemplar();
        self.series.durations.observe(took.as_secs_f64(), exemplar, at);
    }
}
