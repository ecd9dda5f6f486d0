//! One call: find the code, make a store, run the guest until its response's head.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use coracle_proto::record::Version;
use coracle_proto::status::{Again, Code};
use coracle_proto::{attr, trace};
use http::{HeaderMap, HeaderValue};
use tokio::time::{Sleep, sleep};
use tracing::{Instrument as _, Span, info_span};
use wasmtime::Store;
use wasmtime_wasi::WasiCtxBuilder;

use super::body::Told;
use super::budget::{Share, Typical};
use super::cgi::Caller;
use super::guest::{Guest, Signals, new_store};
use super::lane::Habit;
use super::log::{Author, LineLog};
use super::programs::Program;
use super::run::{Left, Run, Terms, Turns, Watch};
use super::way_out::WayOut;
use super::{Shared, command, http as component};
use crate::call::{Answer, Call, CallError, Lease};
use crate::logs::Stream;
use crate::outbound::Meter;
use crate::{clock, hops};

/// Runs a call up to its response's head.
pub(super) async fn invoke(shared: &Shared, call: Call) -> Result<Answer, CallError> {
    // A call may end without having waited once: whoever does nothing but call gives way to others all the same.
    tokio::task::coop::consume_budget().await;
    let mut deadline = Deadline::new(call.head_timeout, call.version.spec.limits().timeout);
    let loading = shared.programs.get(&call.version.digest, call.version.kind);
    let (program, cold) = deadline.guard(loading).await?;
    let Call { version, invocation, route, remote, mut request, lease, .. } = call;
    let span = info_span!(attr::SPAN_RUN, { attr::SERVICE } = attr::SERVICE_WORKER);
    if !span.is_disabled() {
        trace::write_headers(&span, request.headers_mut());
    }
    let trace = trace_id(request.headers());
    let author = Arc::new(Author { version: version.id.clone(), invocation, trace });
    let line_log = |stream| LineLog::new(Arc::clone(&shared.logs), Arc::clone(&author), stream);
    let log = line_log(Stream::Stderr);
    let stage = Stage {
        shared,
        version: &version,
        habit: &program.habit,
        typical: &program.typical,
        caller: Caller { route: &route, remote },
        stdout: line_log(Stream::Stdout),
        stderr: log.clone(),
        trace: trace_headers(request.headers()),
        hops: hops::onward(request.headers()),
        watch: Watch::new(version.spec.limits().idle_timeout),
        signals: Arc::default(),
        span,
        lease,
    };
    let response = match &program.program {
        Program::Http(pre) => component::call(pre, stage, request, deadline).await,
        Program::Command(command) => command::call(command, stage, request, deadline).await,
    };
    match response {
        Ok(response) => {
            let response = response.map(|body| Told::body(body, log));
            Ok(Answer { response, cold, queue_wait: Duration::ZERO })
        }
        Err(error) => {
            // What did not begin, or could not, is no affair of the function's.
            if error.code().retry() == Again::Unknown {
                log.say(&format!("the call failed: {error} ({})", error.code()));
            }
            Err(CallError { cold, ..error })
        }
    }
}

fn trace_headers(headers: &HeaderMap) -> HeaderMap {
    let names = [trace::TRACEPARENT, trace::TRACESTATE];
    let found = names
        .into_iter()
        .filter_map(|name| Some((http::HeaderName::from_static(name), headers.get(name)?.clone())));
    found.collect()
}

/// The trace in a `traceparent` of version 00 (W3C).
fn trace_id(headers: &HeaderMap) -> Option<[u8; 16]> {
    let hex =
        headers.get(trace::TRACEPARENT)?.to_str().ok()?.split('-').nth(1).filter(|hex| hex.len() == 32)?;
    u128::from_str_radix(hex, 16).ok().map(u128::to_be_bytes)
}

/// The time by which a response's head must have come.
pub(super) struct Deadline {
    at: Instant,
    /// What the spec says: told in the error, for some of it may have passed before.
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(super) fn new(left: Duration, timeout: Duration) -> Self {
        Self { at: clock::now() + left, timeout, sleep: None }
    }

    /// Ready with the error when the time is over. Only a call that waits has a timer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CallError> {
        let at = self.at;
        let sleep =
            self.sleep.get_or_insert_with(|| Box::pin(sleep(at.saturating_duration_since(clock::now()))));
        sleep.as_mut().poll(cx).map(|()| {
            let message =
                format!("no response head within {} ms, the function's 'timeout'", self.timeout.as_millis());
            CallError::new(Code::ResponseTimeout, message)
        })
    }

    /// The future's result, or the error when the time is over.
    async fn guard<T>(&mut self, future: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }
}

/// What the kinds of calls have in common.
pub(super) struct Stage<'a> {
    shared: &'a Shared,
    version: &'a Arc<Version>,
    habit: &'a Arc<Habit>,
    typical: &'a Arc<Typical>,
    caller: Caller<'a>,
    stdout: LineLog,
    stderr: LineLog,
    trace: HeaderMap,
    hops: HeaderValue,
    watch: Arc<Watch>,
    signals: Arc<Signals>,
    span: Span,
    lease: Lease,
}

impl<'a> Stage<'a> {
    /// A context with arguments, with output going to the log, and with nothing else.
    pub(super) fn wasi(&self) -> WasiCtxBuilder {
        let mut wasi = WasiCtxBuilder::new();
        wasi.arg(self.version.id.function.name.as_str())
            .args(self.version.spec.args())
            .stdout(self.stdout.clone())
            .stderr(self.stderr.clone())
            .max_random_size(super::guest::RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        wasi
    }

    /// The store of this call, with its share of the node's memory, and what one call of a host function may copy out
    /// of it.
    pub(super) fn store(
        &self,
        wasi: &mut WasiCtxBuilder,
        call_bytes_max: usize,
    ) -> Result<Store<Guest>, CallError> {
        let (outbound, version) = (Arc::clone(&self.shared.outbound), Arc::clone(self.version));
        let way_out =
            WayOut::new(outbound, version, self.stderr.clone(), (self.trace.clone(), self.hops.clone()));
        let memory_max = self.version.spec.limits().memory_bytes;
        let share = self.shared.budget.begin(self.typical, memory_max)?;
        let memory = (usize::try_from(memory_max).unwrap_or(usize::MAX), share);
        let signals = Arc::clone(&self.signals);
        let guest = Guest::new(wasi.build_p1(), way_out, memory, signals, self.shared.ticker.tick());
        Ok(new_store(&self.shared.engine, guest, call_bytes_max))
    }

    /// The function's own environment.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        self.version.spec.env().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(super) fn caller(&self) -> Caller<'a> {
        self.caller
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        self.version.spec.limits().idle_timeout
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    pub(super) fn spans(&self) -> Spans {
        Spans { run: self.span.clone() }
    }

    /// Puts the guest under the call's limits.
    pub(super) fn run(
        self,
        (share, meter): (Share, Meter),
        guest: impl Future<Output = Left> + Send + 'static,
    ) -> Run {
        let terms = Terms {
            limits: self.version.spec.limits(),
            watch: self.watch,
            signals: self.signals,
            stderr: self.stderr,
            habit: Arc::clone(self.habit),
            meter,
            share,
            lease: self.lease,
        };
        Run::new(Turns::new(guest.instrument(self.span), terms), self.shared.slow.handle().clone())
    }
}

/// The spans inside a run.
pub(super) struct Spans {
    run: Span,
}

impl Spans {
    /// Runs an instantiation in its span.
    pub(super) fn instantiate<F: Future>(
        &self,
        instantiation: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let span =
            info_span!(parent: &self.run, attr::SPAN_INSTANTIATE, { attr::SERVICE } = attr::SERVICE_WORKER);
        instantiation.instrument(span)
    }
}
