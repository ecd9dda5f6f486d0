//! Goal: one trace from the caller through gateway and worker to the guest, here and between nodes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider as _};
use opentelemetry::{Context, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use tracing_subscriber::layer::SubscriberExt as _;

use super::world::{Plan, Wire, empty};
use crate::call::Call;
use crate::view::Phase;
use crate::worker::tests::{Guest, text, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Every span that ended.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {}
}

impl Ended {
    /// The spans of the caller's trace, with a test that each belongs there.
    fn take(&self) -> Vec<SpanData> {
        let mut spans = std::mem::take(&mut *self.0.lock().unwrap());
        spans.retain(|span| span.span_context.trace_id().to_string() == TRACE);
        spans
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}

fn one<'a>(spans: &'a [SpanData], name: &str, kind: SpanKind, parent: SpanId) -> &'a SpanData {
    let mut of_kind = spans
        .iter()
        .filter(|span| span.name == name && span.span_kind == kind && span.parent_span_id == parent);
    let found = of_kind.next().unwrap_or_else(|| panic!("no {name} {kind:?} below {parent} in {spans:#?}"));
    assert!(of_kind.next().is_none(), "two of {name} {kind:?}");
    found
}

/// The layer is this thread's only, and so the test's: its runtime has one thread. The calls before it make every
/// span known to `tracing`: one that another test makes known just while the layer comes in could stay off.
async fn record() -> (Ended, tracing::subscriber::DefaultGuard) {
    for plan in [Plan::local, |guest| Plan::remote(vec![guest])] {
        let world = plan(Guest::new(async |_| Ok(text("ok")))).start().await;
        assert_eq!(world.get("/f").await.status, 200);
    }
    let ended = Ended::default();
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().with_span_processor(ended.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("coracle"));
    let only_ours = tracing_subscriber::filter::filter_fn(|span| span.target().starts_with("coracle"));
    let subscriber =
        tracing_subscriber::registry().with(tracing_subscriber::Layer::with_filter(layer, only_ours));
    (ended, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_call_is_one_trace() {
    let (ended, _guard) = record().await;
    let guest = Guest::new(async |call: Call| {
        let seen = call.request.headers().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        Ok(text(seen.unwrap_or_default()))
    });
    for plan in [Plan::local(guest.clone()), Plan::remote(vec![guest])] {
        let world = plan.start().await;
        let request = world.request("GET", "/f/x").header("traceparent", CALLER).body(empty()).unwrap();
        let whole = world.whole(request).await;
        until("all three spans ended", || ended.count() >= 3).await;
        let spans = ended.take();
        let invoke = one(&spans, "invoke f", SpanKind::Server, SpanId::from_hex("b7ad6b7169203331").unwrap());
        let client = one(&spans, "execute f", SpanKind::Client, invoke.span_context.span_id());
        let server = one(&spans, "execute f", SpanKind::Server, client.span_context.span_id());
        assert_eq!(spans.len(), 3, "{spans:#?}");
        assert_eq!(whole.text, format!("00-{TRACE}-{}-01", server.span_context.span_id()));
        for (span, service) in
            [(invoke, "coracle-gateway"), (client, "coracle-gateway"), (server, "coracle-worker")]
        {
            assert_eq!(attribute(span, "coracle.service"), service, "{span:#?}");
        }
        for span in [invoke, server] {
            assert_eq!(attribute(span, "faas.invocation_id"), whole.header("coracle-invocation-id"));
            assert_eq!(
                (attribute(span, "faas.name"), attribute(span, "faas.coldstart")),
                ("f".into(), "false".into())
            );
            assert_eq!(attribute(span, "http.response.status_code"), "200");
        }
        assert_eq!(
            (attribute(invoke, "http.route"), attribute(invoke, "url.path")),
            ("/f".into(), "/f/x".into())
        );
    }
}

#[tokio::test]
async fn a_moved_call_shows_both_attempts_and_an_error_is_marked() {
    let (ended, _guard) = record().await;
    let guest = || Guest::new(async |_| Ok(text("ok")));
    let world = Plan::remote(vec![guest(), guest()]).start().await;
    world.says(1, Phase::Ready);
    world.workers[0].wire.send_replace(Wire::Cut);
    let request = || world.request("GET", "/f").header("traceparent", CALLER).body(empty()).unwrap();
    assert_eq!(world.whole(request()).await.header("coracle-attempt"), "2");
    until("the spans ended", || ended.count() >= 4).await;
    let spans = ended.take();
    let invoke = one(&spans, "invoke f", SpanKind::Server, SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert_eq!((attribute(invoke, "coracle.attempt"), &invoke.status), ("2".to_owned(), &Status::Unset));
    let attempts: Vec<_> = spans.iter().filter(|span| span.span_kind == SpanKind::Client).collect();
    let failed: Vec<_> = attempts.iter().filter(|span| matches!(span.status, Status::Error { .. })).collect();
    assert_eq!((attempts.len(), failed.len()), (2, 1), "{spans:#?}");
    assert_eq!(attribute(failed[0], "error.type"), "node-lost");

    world.workers[1].wire.send_replace(Wire::Cut);
    assert_eq!(world.whole(request()).await.status, 502);
    until("the spans ended", || ended.count() >= 2).await;
    let spans = ended.take();
    let invoke = one(&spans, "invoke f", SpanKind::Server, SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert!(matches!(invoke.status, Status::Error { .. }), "{invoke:#?}");
    assert_eq!(attribute(invoke, "error.type"), "node-lost");
}
