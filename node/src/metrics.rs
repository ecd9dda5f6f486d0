//! What this node counts about calls, in OpenMetrics.
//!
//! Series are bounded: [`VERSIONS_MAX`] versions have labels of their own, more share `other`. Those that take no calls
//! any more are forgotten once half of the places are taken.

mod events;
mod label;
mod series;
#[cfg(test)]
mod tests;
mod usage;

pub use self::series::{Running, Series};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use coracle_proto::id::{FunctionId, VersionId};
use coracle_proto::status::Code;
use coracle_proto::trace::trace_id;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::Span;

use self::events::EventMetrics;
use self::label::{FunctionLabel, VersionLabel};
pub(crate) use self::usage::UsageMetrics;

/// Versions with series of their own. Each has about twenty lines: a scrape stays under two megabytes.
pub const VERSIONS_MAX: usize = 1000;

/// Outcomes that a function gives itself, by class of status; the others are codes.
pub const CLASSES: [&str; 3] = ["success", "client-error", "server-error"];

/// Seconds: from a warm call of a small guest to the longest time a function may take.
const DURATION_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];
/// Seconds: a call waits for a slot at most one second.
const QUEUE_BUCKETS: [f64; 7] = [0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    function: FunctionLabel,
    version: VersionLabel,
    outcome: &'static str,
    start: &'static str,
}

impl CallLabels {
    fn new(version: Option<&VersionId>, outcome: &'static str, cold: bool) -> Self {
        Self {
            function: FunctionLabel(version.map(|it| it.function.clone())),
            version: VersionLabel(version.map(|it| it.number)),
            outcome,
            start: if cold { "cold" } else { "warm" },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Function {
    function: FunctionLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TraceLabel {
    trace_id: String,
}

type Durations =
    Family<Function, HistogramWithExemplars<TraceLabel>, fn() -> HistogramWithExemplars<TraceLabel>>;

/// Versions that are not called any more, and functions that have no other one.
#[derive(Debug)]
struct Gone {
    versions: BTreeSet<VersionId>,
    functions: BTreeSet<FunctionId>,
}

/// The counters of gateway and worker.
#[derive(Debug)]
pub struct Metrics {
    versions: RwLock<BTreeMap<VersionId, Arc<Series>>>,
    other: OnceLock<Arc<Series>>,
    mapped: Mutex<BTreeSet<VersionId>>,
    calls: Family<CallLabels, CounterWithExemplar<TraceLabel>>,
    durations: Durations,
    in_flight: Family<Function, Gauge>,
    queue_wait: Histogram,
    refusals: Family<CodeLabel, Counter>,
    timeouts: Family<CodeLabel, Counter>,
    cold_starts: Family<Cause, Counter>,
    retries: Family<Cause, Counter>,
    usage: UsageMetrics,
    pub(crate) events: EventMetrics,
    /// Open connections of the gateway.
    pub connections: Gauge,
    /// Calls whose request's body is being read before they take a place.
    pub bodies: Gauge,
}

impl Metrics {
    /// Makes the families and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            versions: RwLock::default(),
            other: OnceLock::new(),
            mapped: Mutex::default(),
            calls: Family::default(),
            durations: Family::new_with_constructor(|| {
                HistogramWithExemplars::new(DURATION_BUCKETS.into_iter())
            }),
            in_flight: Family::default(),
            queue_wait: Histogram::new(QUEUE_BUCKETS),
            refusals: Family::default(),
            timeouts: Family::default(),
            cold_starts: Family::default(),
            retries: Family::default(),
            usage: UsageMetrics::register(registry),
            events: EventMetrics::register(registry),
            connections: Gauge::default(),
            bodies: Gauge::default(),
        };
        registry.register("coracle_calls", "Calls that the gateway answered", metrics.calls.clone());
        let durations = metrics.durations.clone();
        let help = "From the request's head to the end of the response";
        registry.register_with_unit("coracle_call_duration", help, Unit::Seconds, durations);
        registry.register("coracle_calls_in_flight", "Calls of the gateway", metrics.in_flight.clone());
        let help = "Waiting for a slot of this worker";
        registry.register_with_unit("coracle_queue_wait", help, Unit::Seconds, metrics.queue_wait.clone());
        registry.register(
            "coracle_refusals",
            "Calls refused by the gateway, or by this worker for any gateway",
            metrics.refusals.clone(),
        );
        registry.register("coracle_timeouts", "Calls that took too long", metrics.timeouts.clone());
        registry.register("coracle_cold_starts", "Calls that had to map code", metrics.cold_starts.clone());
        registry.register("coracle_retries", "Attempts after the first", metrics.retries.clone());
        registry.register("coracle_connections", "Open HTTP connections", metrics.connections.clone());
        let help = "Calls that wait for their request's body before they take a place";
        registry.register("coracle_bodies_awaited", help, metrics.bodies.clone());
        metrics
    }

    /// The series of a version, for all calls of it until it is forgotten.
    #[must_use]
    pub fn series(&self, version: &VersionId) -> Arc<Series> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = versions.get(version) {
            return Arc::clone(known);
        }
        let full = versions.len() >= VERSIONS_MAX;
        drop(versions);
        if full {
            return self.other();
        }
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        if versions.len() >= VERSIONS_MAX {
            drop(versions);
            return self.other();
        }
        let entry = versions.entry(version.clone());
        Arc::clone(entry.or_insert_with(|| self.make(Some(version.clone()))))
    }

    /// What all have together that have none of their own.
    fn other(&self) -> Arc<Series> {
        Arc::clone(self.other.get_or_init(|| self.make(None)))
    }

    fn make(&self, version: Option<VersionId>) -> Arc<Series> {
        let function = Function { function: FunctionLabel(version.as_ref().map(|it| it.function.clone())) };
        let in_flight = self.in_flight.get_or_create_owned(&function);
        Arc::new(Series::new(version, in_flight, self.durations.get_or_create_owned(&function)))
    }

    /// A call begins; its duration and in-flight count end with the answer's [`Running`].
    #[must_use]
    pub fn begin(&self, series: &Arc<Series>) -> Running {
        let series = self.living(series);
        series.in_flight.inc();
        Running::new(series)
    }

    /// The series, or where it was forgotten the one that takes its place: the next round forgets it again.
    fn living(&self, series: &Arc<Series>) -> Arc<Series> {
        match &series.version {
            Some(version) if series.is_forgotten() => self.series(version),
            Some(_) | None => Arc::clone(series),
        }
    }

    /// A call came to an answer, or to an error: `outcome` is a class of statuses or a code.
    pub fn answered(&self, running: &mut Running, outcome: &'static str, cold: bool, span: &Span) {
        running.trace = (!span.is_disabled()).then(|| trace_id(span)).flatten().map(|id| id.to_string());
        let series = self.living(&running.series);
        let (exemplar, at) = running.exemplar();
        let labels = || CallLabels::new(series.version.as_ref(), outcome, cold);
        match series.answer(outcome, cold) {
            Some(kept) => {
                let counter = kept.get_or_init(|| self.calls.get_or_create_owned(&labels()));
                counter.inc_by(1, exemplar, at);
            }
            None => {
                self.calls.get_or_create(&labels()).inc_by(1, exemplar, at);
            }
        }
    }

    /// This worker, or another one, refused a call; or it ended in an error of the platform.
    pub fn refused(&self, code: Code) {
        self.refusals.get_or_create(&CodeLabel { code: code.name() }).inc();
    }

    /// A call ended at one of its time limits.
    pub fn timed_out(&self, code: Code) {
        self.timeouts.get_or_create(&CodeLabel { code: code.name() }).inc();
    }

    /// A call was moved to another worker.
    pub fn retried(&self, cause: &'static str) {
        self.retries.get_or_create(&Cause { cause }).inc();
    }

    /// How many calls were moved for a cause.
    #[cfg(test)]
    pub(crate) fn retries(&self, cause: &'static str) -> u64 {
        self.retries.get_or_create(&Cause { cause }).get()
    }

    /// A call had its slot after so long.
    pub fn queued(&self, wait: Duration) {
        self.queue_wait.observe(wait.as_secs_f64());
    }

    /// This worker had to map code: for the first time in this process, or because it had been put out.
    pub fn cold_start(&self, version: &VersionId) {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = if mapped.contains(version) { "evicted" } else { "first-call" };
        if cause == "first-call" {
            if mapped.len() >= VERSIONS_MAX {
                // Where no gateway tells which are called: the cause of one cold start is wrong then.
                mapped.pop_first();
            }
            mapped.insert(version.clone());
        }
        drop(mapped);
        self.cold_starts.get_or_create(&Cause { cause }).inc();
    }

    /// Where is counted what calls came to on this worker.
    pub(crate) fn usage(&self) -> UsageMetrics {
        self.usage.clone()
    }

    /// Forgets versions that are not called any more, with their series, once room for new ones grows short.
    pub fn retain(&self, called: impl Fn(&VersionId) -> bool, is_known: impl Fn(&FunctionId) -> bool) {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).retain(&called);
        self.usage.retain(is_known);
        if let Some(gone) = self.take_uncalled(called) {
            self.forget_all(&gone);
        }
    }

    /// Calls wait for the lock, and each version has more than a hundred series: they go without it.
    fn forget_all(&self, gone: &Gone) {
        gone.versions.iter().for_each(|version| self.forget(version));
        for function in &gone.functions {
            let function = Function { function: FunctionLabel(Some(function.clone())) };
            self.durations.remove(&function);
            self.in_flight.remove(&function);
        }
        // Who was called meanwhile took up what is removed now: its next call begins anew.
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version, series| {
            let lost = gone.versions.contains(version) || gone.functions.contains(&version.function);
            if lost {
                series.forget();
            }
            !lost
        });
    }

    /// Versions that are not called any more, and the functions that have no other one.
    fn take_uncalled(&self, called: impl Fn(&VersionId) -> bool) -> Option<Gone> {
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        if versions.len() < VERSIONS_MAX / 2 {
            return None;
        }
        let gone: BTreeSet<VersionId> = versions.keys().filter(|version| !called(version)).cloned().collect();
        for version in &gone {
            if let Some(series) = versions.remove(version) {
                series.forget();
            }
        }
        let kept: BTreeSet<&FunctionId> = versions.keys().map(|version| &version.function).collect();
        let functions = gone.iter().map(|version| &version.function).filter(|it| !kept.contains(it));
        let functions = functions.cloned().collect();
        Some(Gone { versions: gone, functions })
    }

    /// Every series of a version that there can be.
    fn forget(&self, version: &VersionId) {
        for outcome in CLASSES.into_iter().chain(Code::ALL.iter().map(|code| code.name())) {
            for cold in [true, false] {
                self.calls.remove(&CallLabels::new(Some(version), outcome, cold));
            }
        }
    }
}

/// A registry as OpenMetrics text without its last line, `# EOF`: the supervisor joins several.
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode_registry(&mut text, registry);
    text
}
