//! What the calls of each function came to on this worker: processor time, memory over time, bytes.
//!
//! [`FUNCTIONS_MAX`] functions have series of their own, more share `other`.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use coracle_proto::id::FunctionId;
use coracle_proto::status::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::label::FunctionLabel;
use super::{CLASSES, Function};
use crate::runtime::{Came, Operation, Outcome, Usage, UsageSink};

/// Functions with series of their own. Each has seven, one for each outcome that it ever had, and one for what came of
/// each operation on what it keeps: about ten lines, some dozens where it keeps something.
const FUNCTIONS_MAX: usize = 1000;
/// The outcome of a call whose caller left.
const ABANDONED: &str = "abandoned";

/// A counter of what is no whole number.
type Amount = Counter<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    function: FunctionLabel,
    outcome: &'static str,
}

/// What a function did with what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kept {
    function: FunctionLabel,
    operation: &'static str,
    outcome: &'static str,
}

/// The counters of all functions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsageMetrics {
    families: Families,
    functions: Arc<RwLock<HashMap<FunctionId, Arc<Counters>>>>,
    other: Arc<OnceLock<Arc<Counters>>>,
}

#[derive(Debug, Clone, Default)]
struct Families {
    calls: Family<Ended, Counter>,
    cpu: Family<Function, Amount>,
    memory: Family<Function, Amount>,
    received: Family<Function, Counter>,
    sent: Family<Function, Counter>,
    requests: Family<Function, Counter>,
    read: Family<Function, Counter>,
    written: Family<Function, Counter>,
    operations: Family<Kept, Counter>,
}

/// Those of one function, at hand: a call looks for them once.
#[derive(Debug)]
struct Counters {
    label: FunctionLabel,
    success: Counter,
    cpu: Amount,
    memory: Amount,
    received: Counter,
    sent: Counter,
    requests: Counter,
    read: Counter,
    written: Counter,
}

impl UsageMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Families { calls, cpu, memory, received, sent, requests, read, written, operations } =
            metrics.families.clone();
        registry.register("coracle_usage_calls", "Calls that this worker admitted, by how they ended", calls);
        let help = "Processor time of calls, with what was done for their requests";
        registry.register_with_unit("coracle_usage_cpu", help, Unit::Seconds, cpu);
        let help = "The most memory that a call had, times how long it took";
        registry.register("coracle_usage_memory_byte_seconds", help, memory);
        let help = "Of requests' bodies that guests were given";
        registry.register_with_unit("coracle_usage_received", help, Unit::Bytes, received);
        let help = "Of answers' bodies that guests made and callers took";
        registry.register_with_unit("coracle_usage_sent", help, Unit::Bytes, sent);
        registry.register("coracle_usage_requests", "Requests of guests' own that went out", requests);
        let help = "Of blobs that were read for guests";
        registry.register_with_unit("coracle_usage_blobs_read", help, Unit::Bytes, read);
        let help = "Of blobs that were written for guests, also of those that came to nothing";
        registry.register_with_unit("coracle_usage_blobs_written", help, Unit::Bytes, written);
        let help = "What guests did with values that are kept, and messages that they published";
        registry.register("coracle_state_operations", help, operations);
        metrics
    }

    /// Forgets functions that there are no more, with their series, once room grows short.
    pub(super) fn retain(&self, is_known: impl Fn(&FunctionId) -> bool) {
        let gone = self.take_unknown(is_known);
        self.forget_all(&gone);
    }

    fn take_unknown(&self, is_known: impl Fn(&FunctionId) -> bool) -> Vec<FunctionId> {
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        if functions.len() < FUNCTIONS_MAX / 2 {
            return Vec::new();
        }
        let gone: Vec<_> = functions.keys().filter(|function| !is_known(function)).cloned().collect();
        for function in &gone {
            functions.remove(function);
        }
        gone
    }

    /// Calls wait for the lock, and each function has many series: they go without it.
    fn forget_all(&self, gone: &[FunctionId]) {
        gone.iter().for_each(|function| self.families.forget(FunctionLabel(Some(function.clone()))));
        // Whose call ended meanwhile took up what is removed now: its next one begins anew.
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        for function in gone {
            functions.remove(function);
        }
    }

    fn counters(&self, function: &FunctionId) -> Arc<Counters> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = functions.get(function) {
            return Arc::clone(counters);
        }
        let full = functions.len() >= FUNCTIONS_MAX;
        drop(functions);
        if full {
            return self.other();
        }
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        if functions.len() >= FUNCTIONS_MAX && !functions.contains_key(function) {
            drop(functions);
            return self.other();
        }
        let new = || Arc::new(self.families.counters(FunctionLabel(Some(function.clone()))));
        Arc::clone(functions.entry(function.clone()).or_insert_with(new))
    }

    /// What all have together that have none of their own.
    fn other(&self) -> Arc<Counters> {
        Arc::clone(self.other.get_or_init(|| Arc::new(self.families.counters(FunctionLabel(None)))))
    }
}

impl UsageSink for UsageMetrics {
    fn used(&self, usage: Usage) {
        let counters = self.counters(&usage.version.id.function);
        let outcome = name(usage.outcome);
        if outcome == CLASSES[0] {
            counters.success.inc();
        } else {
            let ended = Ended { function: counters.label.clone(), outcome };
            self.families.calls.get_or_create(&ended).inc();
        }
        counters.cpu.inc_by(usage.cpu.as_secs_f64());
        counters.memory.inc_by(usage.memory_byte_seconds());
        counters.received.inc_by(usage.bytes_in);
        counters.sent.inc_by(usage.bytes_out);
        counters.requests.inc_by(usage.requests);
        counters.read.inc_by(usage.blob_bytes_in);
        counters.written.inc_by(usage.blob_bytes_out);
        for ((operation, came), count) in usage.operations {
            let kept = Kept::of(&counters.label, operation, came);
            self.families.operations.get_or_create(&kept).inc_by(count);
        }
    }
}

impl Families {
    fn counters(&self, label: FunctionLabel) -> Counters {
        let function = Function { function: label.clone() };
        let ended = Ended { function: label.clone(), outcome: CLASSES[0] };
        Counters {
            label,
            success: self.calls.get_or_create_owned(&ended),
            cpu: self.cpu.get_or_create_owned(&function),
            memory: self.memory.get_or_create_owned(&function),
            received: self.received.get_or_create_owned(&function),
            sent: self.sent.get_or_create_owned(&function),
            requests: self.requests.get_or_create_owned(&function),
            read: self.read.get_or_create_owned(&function),
            written: self.written.get_or_create_owned(&function),
        }
    }

    /// Every series of a function that there can be.
    fn forget(&self, label: FunctionLabel) {
        let function = Function { function: label.clone() };
        self.cpu.remove(&function);
        self.memory.remove(&function);
        self.received.remove(&function);
        self.sent.remove(&function);
        self.requests.remove(&function);
        self.read.remove(&function);
        self.written.remove(&function);
        let outcomes = CLASSES.into_iter().chain([ABANDONED]).chain(Code::ALL.iter().map(|code| code.name()));
        for outcome in outcomes {
            self.calls.remove(&Ended { function: label.clone(), outcome });
        }
        for operation in Operation::ALL {
            for came in Came::ALL {
                self.operations.remove(&Kept::of(&label, operation, came));
            }
        }
    }
}

impl Kept {
    fn of(label: &FunctionLabel, operation: Operation, came: Came) -> Self {
        Self { function: label.clone(), operation: operation.name(), outcome: came.name() }
    }
}

fn name(outcome: Outcome) -> &'static str {
    let [success, client_error, server_error] = CLASSES;
    match outcome {
        Outcome::Answered(status) if status.is_server_error() => server_error,
        Outcome::Answered(status) if status.is_client_error() => client_error,
        Outcome::Answered(_) => success,
        Outcome::Failed(code) => code.name(),
        Outcome::Abandoned => ABANDONED,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coracle_proto::id::{Digest, InvocationId, VersionId, VersionNumber};
    use coracle_proto::record::{Kind, Version};
    use coracle_proto::spec::{Draft, FunctionSpec};
    use http::StatusCode;

    use super::super::text;
    use super::*;

    fn usage(function: &str, outcome: Outcome) -> Usage {
        let function = FunctionId::parse("shop", function).unwrap();
        let version = Version {
            id: VersionId { function, number: VersionNumber::new(1) },
            digest: Digest::new([0; 32]),
            size: 0,
            kind: Kind::HttpComponent,
            spec: FunctionSpec::new(Draft::default()).unwrap(),
            created_ms: 0,
            trace: String::new(),
        };
        Usage {
            version: Arc::new(version),
            invocation: InvocationId::new(1),
            trigger: "http",
            outcome,
            cold: false,
            wall: Duration::from_millis(500),
            cpu: Duration::from_millis(250),
            memory_peak_bytes: 1 << 20,
            bytes_in: 3,
            bytes_out: 5,
            requests: 1,
            blob_bytes_in: 7,
            blob_bytes_out: 11,
            operations: [((Operation::Get, Came::Ok), 2), ((Operation::Publish, Came::Denied), 1)].into(),
        }
    }

    #[test]
    fn calls_are_added_up_by_function() {
        let mut registry = Registry::default();
        let metrics = UsageMetrics::register(&mut registry);
        for outcome in [
            Outcome::Answered(StatusCode::OK),
            Outcome::Answered(StatusCode::NOT_FOUND),
            Outcome::Failed(Code::FunctionTrapped),
            Outcome::Abandoned,
        ] {
            metrics.used(usage("cart", outcome));
        }
        let text = text(&registry);
        for line in [
            "coracle_usage_cpu_seconds_total{function=\"shop/cart\"} 1.0",
            "coracle_usage_memory_byte_seconds_total{function=\"shop/cart\"} 2097152.0",
            "coracle_usage_received_bytes_total{function=\"shop/cart\"} 12",
            "coracle_usage_sent_bytes_total{function=\"shop/cart\"} 20",
            "coracle_usage_requests_total{function=\"shop/cart\"} 4",
            "coracle_usage_blobs_read_bytes_total{function=\"shop/cart\"} 28",
            "coracle_usage_blobs_written_bytes_total{function=\"shop/cart\"} 44",
            "coracle_state_operations_total{function=\"shop/cart\",operation=\"get\",outcome=\"ok\"} 8",
            "coracle_state_operations_total{function=\"shop/cart\",operation=\"publish\",outcome=\"denied\"} 4",
            "coracle_usage_calls_total{function=\"shop/cart\",outcome=\"success\"} 1",
            "coracle_usage_calls_total{function=\"shop/cart\",outcome=\"client-error\"} 1",
            "coracle_usage_calls_total{function=\"shop/cart\",outcome=\"function-trapped\"} 1",
            "coracle_usage_calls_total{function=\"shop/cart\",outcome=\"abandoned\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn series_are_bounded_and_those_that_are_not_called_make_room() {
        let mut registry = Registry::default();
        let metrics = UsageMetrics::register(&mut registry);
        let ok = Outcome::Answered(StatusCode::OK);
        for number in 0..FUNCTIONS_MAX + 10 {
            metrics.used(usage(&format!("f{number}"), ok));
        }
        let lines = |text: &str| text.lines().filter(|line| line.starts_with("coracle_usage_cpu_s")).count();
        let full = text(&registry);
        assert_eq!(lines(&full), FUNCTIONS_MAX + 1);
        assert!(full.contains("coracle_usage_sent_bytes_total{function=\"other\"} 50"), "{full}");
        metrics.retain(|function| function.name.as_str() == "f7");
        metrics.used(usage("new", ok));
        let after = text(&registry);
        assert_eq!(lines(&after), 3, "f7, new and other:\n{after}");
        assert!(after.contains("function=\"shop/new\"") && !after.contains("shop/f8"), "{after}");
    }

    /// A function is deleted and made anew while it is called.
    #[test]
    fn what_is_called_while_it_is_forgotten_is_counted_from_its_next_call_on() {
        let mut registry = Registry::default();
        let metrics = UsageMetrics::register(&mut registry);
        let ok = Outcome::Answered(StatusCode::OK);
        for number in 0..FUNCTIONS_MAX {
            metrics.used(usage(&format!("f{number}"), ok));
        }
        let gone = metrics.take_unknown(|_| false);
        metrics.used(usage("f0", ok));
        metrics.forget_all(&gone);
        metrics.used(usage("f0", ok));
        let text = text(&registry);
        let line = "coracle_usage_calls_total{function=\"shop/f0\",outcome=\"success\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
