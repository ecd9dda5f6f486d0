//! Goal: each operation is a span below the guest's run, and a message goes on with its trace.

use coracle_proto::trace::join_from_text;
use opentelemetry::trace::{SpanKind, Status};
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
    let script = Script::begun().get("a").publish("q", "x", None).open("other");
    let function = world.deploy(script, grants()).await;
    let caller = info_span!("caller");
    join_from_text(&caller, &ended.caller());
    world.fixture.get(&function, "/").instrument(caller).await.unwrap();
    until("all of them ended", || ended.count() >= 7).await;
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
    let denied = spans.iter().find(|span| attribute(span, "db.namespace") == "other").unwrap();
    assert!(denied.name == "keyvalue.open" && matches!(denied.status, Status::Error { .. }), "{denied:#?}");
}
