//! The one subscriber of the test process: keeps the spans of the traces that tests ask for.
//!
//! `tracing` remembers for the whole process which spans anybody wants, so a subscriber that comes and goes with each
//! test may miss spans of others. This one never goes. It is on only for the threads that record: every other test has
//! spans that are off, as a node without a collector.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{TraceId, TracerProvider as _};
use opentelemetry::{Context, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::world::{Plan, empty};
use crate::worker::tests::{Guest, text};

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

type Spans = BTreeMap<[u8; 16], Vec<SpanData>>;

/// By trace.
static ENDED: Mutex<Spans> = Mutex::new(BTreeMap::new());

/// One trace that is recorded, on this thread: a test's runtime has one.
#[derive(Debug)]
pub(crate) struct Recorder(TraceId);

impl Recorder {
    /// Records a trace of its own. Every span is known to `tracing` as wanted before this ends.
    pub(crate) async fn start() -> Self {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(install);
        ON.set(true);
        for plan in [Plan::local, |guest| Plan::remote(vec![guest])] {
            let world = plan(Guest::new(async |_| Ok(text("ok")))).start().await;
            let begun = crate::clock::now();
            loop {
                let warm = Self::of(TraceId::from(rand::random::<u128>()));
                let request = world.request("GET", "/f").header("traceparent", warm.caller());
                assert_eq!(world.whole(request.body(empty()).unwrap()).await.status, 200);
                if warm.ended_within(Duration::from_millis(100), 3).await {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "never: all spans are wanted");
                // Another test met a span for the first time just while the subscriber came.
                tracing::callsite::rebuild_interest_cache();
            }
        }
        Self::of(TraceId::from(rand::random::<u128>()))
    }

    fn of(trace: TraceId) -> Self {
        lock().insert(trace.to_bytes(), Vec::new());
        Self(trace)
    }

    pub(super) fn trace(&self) -> TraceId {
        self.0
    }

    /// What a caller within the trace sends as `traceparent`; its span is [`super::spans::CALLER`].
    pub(crate) fn caller(&self) -> String {
        format!("00-{}-{}-01", self.0, super::spans::CALLER)
    }

    pub(crate) fn count(&self) -> usize {
        lock().get(&self.0.to_bytes()).map_or(0, Vec::len)
    }

    /// The spans that ended so far.
    pub(crate) fn take(&self) -> Vec<SpanData> {
        lock().get_mut(&self.0.to_bytes()).map(std::mem::take).unwrap_or_default()
    }

    async fn ended_within(&self, limit: Duration, count: usize) -> bool {
        let begun = crate::clock::now();
        while self.count() < count && begun.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(1)).await; // a bounded poll
        }
        self.count() >= count
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        lock().remove(&self.0.to_bytes());
    }
}

fn lock() -> MutexGuard<'static, Spans> {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install() {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().with_span_processor(Keeping).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("coracle"));
    let ours = dynamic_filter_fn(|span, _| ON.get() && span.target().starts_with("coracle"));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(ours));
    tracing::subscriber::set_global_default(subscriber).unwrap();
}

#[derive(Debug)]
struct Keeping;

impl SpanProcessor for Keeping {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if let Some(spans) = lock().get_mut(&span.span_context.trace_id().to_bytes()) {
            spans.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {}
}
