//! Goal: each operation is a span below the guest's run, and a message goes on with its trace.

use coracle_proto::trace::{join_from_headers, join_from_text};
use http::HeaderMap;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use tracing::{Instrument as _, info_span};

use super::script::Script;
use super::{World, grants};
use crate::front::tests::recorder::Recorder;
use crate::front::tests::spans::{attribute, one};
use crate::worker::tests::until;

#[tokio::test]
async fn each_operation_is_a_span_below_the_guests_run() {
    let ended = Recorder::start().await;
    let world = World::new();
    let script =
        Script::begun().get("a").publish("q", "x", None).publish("elsewhere", "x", None).open("other");
    let function = world.deploy(script, grants()).await;
    let caller = info_span!("caller");
    join_from_text(&caller, &ended.caller());
    world.fixture.get(&function, "/").instrument(caller).await.unwrap();
    until("all of them ended", || ended.count() >= 8).await;
    let spans = ended.take();
    let run = spans.iter().find(|span| span.name == "wasm.run").unwrap().span_context.span_id();
    let get = one(&spans, "keyvalue.get", SpanKind::Client, run);
    for (key, value) in [("db.system.name", "coracle"), ("db.namespace", "b"), ("db.operation.name", "get")] {
        assert_eq!(attribute(get, key), value, "{get:#?}");
    }
    let send = one(&spans, "send q", SpanKind::Producer, run);
    assert_eq!(attribute(send, "messaging.destination.name"), "q");
    let said = world.memory.said().remove(0);
    assert!(said.attributes["traceparent"].contains(&send.span_context.span_id().to_string()), "{said:?}");
    for name in ["keyvalue.open", "send"] {
        let refused = |span: &&SpanData| span.name == name && matches!(span.status, Status::Error { .. });
        let denied = spans.iter().find(refused).unwrap();
        let names = ["db.namespace", "messaging.destination.name"].map(|key| attribute(denied, key));
        assert_eq!(names, ["", ""], "what a guest may not name is told nobody: {denied:#?}");
    }
}

/// The store would refuse them, and with them all that the call did.
#[tokio::test]
async fn a_trace_that_is_too_long_goes_on_without_what_its_vendors_say() {
    for (vendors, stays) in [(1, true), (30, false)] {
        let ended = Recorder::start().await;
        let world = World::new();
        let function = world.deploy(Script::begun().publish("q", "x", None), grants()).await;
        let caller = info_span!("caller");
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", ended.caller().parse().unwrap());
        let state: Vec<_> = (0..vendors).map(|vendor| format!("v{vendor}={}", "x".repeat(200))).collect();
        headers.insert("tracestate", state.join(",").parse().unwrap());
        join_from_headers(&caller, &headers);
        world.fixture.get(&function, "/").instrument(caller).await.unwrap();
        let said = world.memory.said().remove(0).attributes;
        assert!(said.contains_key("traceparent") && said.contains_key("tracestate") == stays, "{said:?}");
    }
}
