//! Admits a call on this node, or refuses it, and runs it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use coracle_ports::network;
use coracle_proto::attr;
use coracle_proto::id::{FunctionId, NodeId, VersionId};
use coracle_proto::record::Version;
use coracle_proto::status::Code;
use coracle_proto::trace::{join_from_headers, write_headers};
use http::{HeaderName, HeaderValue};
use http_body::Body as _;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use super::admission::{Admission, Counted, Holding, QUEUE_WAIT_MAX, Slot};
use super::awaited::{Awaited, Awaiting, Wait};
use super::{Assigned, Assignments, Invoke};
use crate::call::{Answer, Call, CallError, Lease};
use crate::clock;
use crate::load::Load;
use crate::metrics::Metrics;

/// Calls at once for each core: guests wait for others most of their time, and one that computes is
/// time-sliced. Sixty-four waiting guests of 128 MiB at most are what a small node can hold.
pub const CALLS_PER_SLOT: u32 = 64;
/// Calls that wait for a slot, for each core: at a millisecond a call they are gone in a quarter of a second.
pub const QUEUE_PER_SLOT: u32 = 256;

/// Bounds of a node.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Who this is.
    pub node: NodeId,
    /// Cores.
    pub slots: u32,
    /// Calls that run at once.
    pub running_max: u32,
    /// Calls that wait for one of them to end.
    pub queue_max: u32,
}

impl Options {
    /// The defaults for a number of cores.
    #[must_use]
    pub const fn new(node: NodeId, slots: u32) -> Self {
        let running_max = slots.saturating_mul(CALLS_PER_SLOT);
        Self { node, slots, running_max, queue_max: slots.saturating_mul(QUEUE_PER_SLOT) }
    }

    /// With no more calls at once than the runtime has room for.
    #[must_use]
    pub fn within(self, running_max: u32) -> Self {
        Self { running_max: self.running_max.min(running_max), ..self }
    }
}

/// Runs calls on this node. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    invoke: Arc<dyn Invoke>,
    assignments: Arc<dyn Assignments>,
    admission: Arc<Admission>,
    /// Calls whose guests wait for their callers: where there is no place, they make room.
    awaiting: Awaiting,
    draining: AtomicBool,
    measured: Measured,
    metrics: Arc<Metrics>,
}

/// The parts of the load that others measure.
#[derive(Debug, Default)]
struct Measured {
    resident_functions: AtomicU64,
    memory_bytes: AtomicU64,
    cpu_permille: AtomicU32,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Executor {
    /// An executor with nothing in flight.
    #[must_use]
    pub fn new(
        options: Options,
        invoke: Arc<dyn Invoke>,
        assignments: Arc<dyn Assignments>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let admission = Admission::new(options.running_max, options.queue_max);
        let (awaiting, draining, measured) =
            (Awaiting::default(), AtomicBool::new(false), Measured::default());
        let inner = Inner { options, invoke, assignments, admission, awaiting, draining, measured, metrics };
        Self { inner: Arc::new(inner) }
    }

    /// Who this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.options.node
    }

    /// A version that this node was assigned.
    pub(super) fn version(&self, id: &VersionId) -> Result<Arc<Version>, CallError> {
        Ok(self.assignment(id)?.version)
    }

    /// How busy the node is.
    #[must_use]
    pub fn load(&self) -> Load {
        let measured = &self.inner.measured;
        Load {
            in_flight: self.inner.admission.in_flight(),
            slots: self.inner.options.slots,
            resident_functions: measured.resident_functions.load(Ordering::Relaxed),
            memory_bytes: measured.memory_bytes.load(Ordering::Relaxed),
            cpu_permille: measured.cpu_permille.load(Ordering::Relaxed),
        }
    }

    /// Takes over what others measured: it goes out with the load.
    pub fn observe(&self, resident_functions: u64, memory_bytes: u64, cpu_permille: u32) {
        let measured = &self.inner.measured;
        measured.resident_functions.store(resident_functions, Ordering::Relaxed);
        measured.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        measured.cpu_permille.store(cpu_permille, Ordering::Relaxed);
    }

    /// Refuses every new call from now on; running ones end by themselves ([`Load::in_flight`] tells when).
    pub fn drain(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
    }

    /// Runs a call up to its response's head. It is counted until its guest ended; dropping this future or the
    /// body gives its slot back, when the guest is in the middle of a turn as soon as that is over.
    ///
    /// # Errors
    /// A refusal ([`CallError::not_started`]): nothing was run and another node may be tried. Or what the call
    /// came to.
    pub async fn execute(&self, mut call: Call) -> Result<Answer, CallError> {
        let span = span(&call, self.node());
        // The request's header is the truth, for calls of this process and from others alike.
        if !span.is_disabled() {
            join_from_headers(&span, call.request.headers());
        }
        set_headers(&mut call, &span);
        let result = self.run(call).instrument(span.clone()).await;
        match &result {
            Ok(answer) => record_answer(&span, answer),
            Err(error) => {
                if error.not_started() {
                    self.inner.metrics.refused(error.code());
                }
                record_error(&span, error);
            }
        }
        result
    }

    async fn run(&self, mut call: Call) -> Result<Answer, CallError> {
        call.version = self.assigned(&call)?;
        let limit = call.version.spec.limits().concurrency;
        let counted = match self.inner.admission.enter(&call.version.id.function, limit) {
            Ok(counted) => counted,
            Err(refusal) => {
                let (function, caller) = (call.version.id.function.clone(), caller(&call));
                Box::pin(self.enter_when_gone(function, caller, limit, refusal)).await?
            }
        };
        let (mut slot, queue_wait) = match counted.try_slot() {
            Ok(slot) => (slot, Duration::ZERO),
            Err(counted) => {
                let begun = clock::now();
                // Whoever goes gives its slot to whoever has waited longest for one.
                let _gone = self.inner.awaiting.make_room(counted.taken(), caller(&call));
                let waiting = info_span!(attr::SPAN_QUEUE, { attr::SERVICE } = attr::SERVICE_WORKER);
                let slot: Slot = counted.slot(call.head_timeout).instrument(waiting).await?;
                (slot, clock::now().saturating_duration_since(begun))
            }
        };
        // Whatever the gateway's view was: the function's own bound holds.
        let timeout = call.version.spec.limits().timeout;
        call.head_timeout = call.head_timeout.min(timeout).saturating_sub(queue_wait);
        self.inner.metrics.queued(queue_wait);
        let wait = if call.request.body().is_end_stream() {
            None
        } else {
            Some(self.await_caller(&mut call, &mut slot))
        };
        let slot = Arc::new(slot);
        call.lease = Lease::of(Arc::<Slot>::clone(&slot));
        let version = Arc::clone(&call.version);
        let result = self.inner.invoke.invoke(call).await;
        if result.as_ref().map_or_else(|error| error.cold, |answer| answer.cold) {
            self.inner.metrics.cold_start(&version.id);
        }
        let mut answer = result?;
        if let Some(wait) = wait {
            wait.answered();
        }
        answer.queue_wait = queue_wait;
        // A body of known length is all here: its guest has ended, and whoever reads it slowly keeps nobody waiting.
        let kept = match answer.response.body().size_hint().exact() {
            Some(bytes) => slot.keep(bytes),
            None => Err(slot),
        };
        answer.response = answer.response.map(|body| match kept {
            Ok(None) => body,
            Ok(Some(kept)) => Holding::body(body, kept),
            Err(slot) => Holding::body(body, slot),
        });
        Ok(answer)
    }

    /// Counts a call that was refused, in the place of one whose caller keeps it waiting, if there is one.
    async fn enter_when_gone(
        &self,
        function: FunctionId,
        caller: IpAddr,
        limit: u32,
        mut refusal: CallError,
    ) -> Result<Counted, CallError> {
        let Inner { admission, awaiting, .. } = &*self.inner;
        let begun = clock::now();
        loop {
            let left = QUEUE_WAIT_MAX.saturating_sub(clock::now().saturating_duration_since(begun));
            if left.is_zero() {
                return Err(refusal);
            }
            let taken = admission.taken(&function, limit);
            let Some(gone) = awaiting.make_room(taken, caller) else { return Err(refusal) };
            if tokio::time::timeout(left, gone.cancelled()).await.is_err() {
                return Err(refusal);
            }
            // Somebody else may have been faster.
            match admission.enter(&function, limit) {
                Ok(counted) => return Ok(counted),
                Err(again) => refusal = again,
            }
        }
    }

    /// Watches how the caller sends the body of its call.
    fn await_caller(&self, call: &mut Call, slot: &mut Slot) -> Arc<Wait> {
        let wait = Wait::new(call.version.id.function.clone(), caller(call));
        slot.when_gone(wait.gone());
        let body = std::mem::take(call.request.body_mut());
        *call.request.body_mut() = Awaited::body(body, Arc::clone(&wait), self.inner.awaiting.clone());
        wait
    }

    /// The assignment that the call is for, with the version's whole spec.
    fn assigned(&self, call: &Call) -> Result<Arc<Version>, CallError> {
        let (id, node) = (&call.version.id, self.node());
        if self.inner.draining.load(Ordering::Relaxed) {
            return Err(CallError::new(Code::Draining, format!("node {node} is going away")));
        }
        let Assigned { epoch, ready, version } = self.assignment(id)?;
        // A higher epoch than ours is only newer news of the same assignment: the version is what counts.
        if call.epoch < epoch {
            let said = format!("epoch {} of '{id}' on node {node} is over: it is {epoch}", call.epoch);
            return Err(CallError::new(Code::StaleReplica, said));
        }
        if !ready {
            return Err(CallError::new(
                Code::NotReady,
                format!("node {node} does not have '{id}' ready yet"),
            ));
        }
        Ok(version)
    }

    fn assignment(&self, id: &VersionId) -> Result<Assigned, CallError> {
        self.inner.assignments.get(id).ok_or_else(|| {
            CallError::new(Code::StaleReplica, format!("'{id}' is not assigned to node {}", self.node()))
        })
    }
}

/// Who called, as far as it is known.
fn caller(call: &Call) -> IpAddr {
    call.trigger.remote().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |remote| network(remote.ip()))
}

fn span(call: &Call, node: NodeId) -> Span {
    let id = &call.version.id;
    let span = info_span!(
        "execute",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_WORKER,
        { attr::NODE } = node.get(),
        { attr::ATTEMPT } = call.attempt,
        { attr::EPOCH } = call.epoch.get(),
        { attr::NAMESPACE } = Empty,
        { attr::FUNCTION } = Empty,
        { attr::FUNCTION_VERSION } = id.number.get(),
        { attr::TRIGGER } = call.trigger.name(),
        { attr::INVOCATION_ID } = Empty,
        { attr::COLD_START } = Empty,
        { attr::HTTP_STATUS } = Empty,
        { attr::ERROR_TYPE } = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("execute {}", id.function));
        span.record(attr::NAMESPACE, id.function.namespace.as_str());
        span.record(attr::FUNCTION, id.function.name.as_str());
        span.record(attr::INVOCATION_ID, call.invocation.to_string());
    }
    span
}

/// What the guest is told beside the caller's own headers.
fn set_headers(call: &mut Call, span: &Span) {
    let headers = call.request.headers_mut();
    if !span.is_disabled() {
        write_headers(span, headers);
    }
    if let Ok(route) = HeaderValue::try_from(call.trigger.route()) {
        headers.insert(HeaderName::from_static(attr::HEADER_ROUTE), route);
    }
    if let Ok(invocation) = HeaderValue::try_from(call.invocation.to_string()) {
        headers.insert(HeaderName::from_static(attr::HEADER_INVOCATION), invocation);
    }
}

fn record_answer(span: &Span, answer: &Answer) {
    span.record(attr::COLD_START, answer.cold);
    span.record(attr::HTTP_STATUS, answer.response.status().as_u16());
    if answer.response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

fn record_error(span: &Span, error: &CallError) {
    span.record(attr::COLD_START, error.cold);
    span.record(attr::ERROR_TYPE, error.code().name());
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", error.refusal.message.as_str());
}
