//! Goal: one trace from the caller through gateway and worker to the guest, here and between nodes.

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;

use super::recorder::Recorder;
use super::world::{Plan, Wire, World, empty, nobody};
use crate::call::Call;
use crate::view::Phase;
use crate::worker::tests::{Guest, text, until};

/// The span of whoever calls.
pub(crate) const CALLER: SpanId = SpanId::from_bytes([0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);

pub(crate) fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}

pub(crate) fn one<'a>(spans: &'a [SpanData], name: &str, kind: SpanKind, parent: SpanId) -> &'a SpanData {
    let mut of_kind = spans
        .iter()
        .filter(|span| span.name == name && span.span_kind == kind && span.parent_span_id == parent);
    let found = of_kind.next().unwrap_or_else(|| panic!("no {name} {kind:?} below {parent} in {spans:#?}"));
    assert!(of_kind.next().is_none(), "two of {name} {kind:?}");
    found
}

#[tokio::test]
async fn a_call_is_one_trace() {
    let ended = Recorder::start().await;
    let guest = Guest::new(async |call: Call| {
        let seen = call.request.headers().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        Ok(text(seen.unwrap_or_default()))
    });
    for plan in [Plan::local(guest.clone()), Plan::remote(vec![guest])] {
        let world = plan.start().await;
        let request =
            world.request("GET", "/f/x").header("traceparent", ended.caller()).body(empty()).unwrap();
        let whole = world.whole(request).await;
        until("all three spans ended", || ended.count() >= 3).await;
        let spans = ended.take();
        let invoke = one(&spans, "invoke f", SpanKind::Server, CALLER);
        let client = one(&spans, "execute f", SpanKind::Client, invoke.span_context.span_id());
        let server = one(&spans, "execute f", SpanKind::Server, client.span_context.span_id());
        assert_eq!(spans.len(), 3, "{spans:#?}");
        assert_eq!(whole.text, format!("00-{}-{}-01", ended.trace(), server.span_context.span_id()));
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
    let ended = Recorder::start().await;
    let guest = || Guest::new(async |_| Ok(text("ok")));
    let world = Plan::remote(vec![guest(), guest()]).start().await;
    world.says(1, Phase::Ready);
    let (_socket, nowhere) = nobody();
    world.moves(1, nowhere);
    let request = |world: &World| {
        world.request("GET", "/f").header("traceparent", ended.caller()).body(empty()).unwrap()
    };
    assert_eq!(world.whole(request(&world)).await.header("coracle-attempt"), "2");
    until("the spans ended", || ended.count() >= 4).await;
    let spans = ended.take();
    let invoke = one(&spans, "invoke f", SpanKind::Server, CALLER);
    assert_eq!((attribute(invoke, "coracle.attempt"), &invoke.status), ("2".to_owned(), &Status::Unset));
    let attempts: Vec<_> = spans.iter().filter(|span| span.span_kind == SpanKind::Client).collect();
    let failed: Vec<_> = attempts.iter().filter(|span| matches!(span.status, Status::Error { .. })).collect();
    assert_eq!((attempts.len(), failed.len()), (2, 1), "{spans:#?}");
    assert_eq!(attribute(failed[0], "error.type"), "no-replica");

    let stuck = Guest::new(async |_| futures::future::pending().await);
    let world = Plan::remote(vec![stuck.clone()]).start().await;
    let cutting = async {
        until("the call runs", || stuck.calls() == 1).await;
        world.workers[0].wire.send_replace(Wire::Cut);
    };
    let (whole, ()) = tokio::join!(world.whole(request(&world)), cutting);
    assert_eq!(whole.status, 502);
    until("the spans ended", || ended.count() >= 2).await;
    let spans = ended.take();
    let invoke = one(&spans, "invoke f", SpanKind::Server, CALLER);
    assert!(matches!(invoke.status, Status::Error { .. }), "{invoke:#?}");
    assert_eq!(attribute(invoke, "error.type"), "node-lost");
}

#[tokio::test]
async fn a_call_that_waits_for_a_slot_shows_how_long() {
    let ended = Recorder::start().await;
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let wait = std::sync::Arc::clone(&go);
    let guest = Guest::new(move |_| {
        let wait = std::sync::Arc::clone(&wait);
        async move {
            wait.notified().await;
            Ok(text("ok"))
        }
    });
    let world = Plan { running_max: 1, ..Plan::local(guest.clone()) }.start().await;
    let first = world.get("/f");
    let second = async {
        until("the first one runs", || guest.calls() == 1).await;
        let request = world.request("GET", "/f").header("traceparent", ended.caller());
        world.whole(request.body(empty()).unwrap()).await
    };
    let going = async {
        until("the second one waits", || world.workers[0].executor.load().in_flight == 2).await;
        go.notify_one();
        until("it runs", || guest.calls() == 2).await;
        go.notify_one();
    };
    let (first, second, ()) = tokio::join!(first, second, going);
    assert_eq!((first.status, second.status), (200, 200));
    until("all four spans ended", || ended.count() >= 4).await;
    let spans = ended.take();
    let invoke = one(&spans, "invoke f", SpanKind::Server, CALLER);
    let client = one(&spans, "execute f", SpanKind::Client, invoke.span_context.span_id());
    let server = one(&spans, "execute f", SpanKind::Server, client.span_context.span_id());
    let queue = one(&spans, "queue.wait", SpanKind::Internal, server.span_context.span_id());
    assert_eq!(attribute(queue, "coracle.service"), "coracle-worker");
}
