//! Goal: an attempt is part of the trace of whoever sent the message.

use coracle_proto::pb;
use coracle_proto::pb::InvocationState::{Dead, Succeeded};
use opentelemetry::trace::{SpanKind, Status};

use super::running::Node;
use crate::call::Call;
use crate::front::tests::recorder::Recorder;
use crate::front::tests::spans::{CALLER, attribute, one};
use crate::front::tests::world::Plan;
use crate::worker::tests::{Guest, text, until};

#[tokio::test]
async fn an_attempt_is_part_of_its_senders_trace() {
    let ended = Recorder::start().await;
    for (status, kind) in [(200, "done"), (400, "dead")] {
        let guest = Guest::new(move |call: Call| {
            call.receipt.over(None);
            async move {
                let mut answer = text("");
                *answer.response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                Ok(answer)
            }
        });
        let node = Node::start(Plan::local(guest)).await;
        let http = pb::EventHttp { method: "POST".into(), uri: "http://a/f".into(), ..Default::default() };
        let attributes = [("traceparent".to_owned(), ended.caller())].into();
        node.store.put_body("f", 5, pb::EventBody { http: Some(http), attributes, ..Default::default() });
        node.comes_to(0, if status == 200 { Succeeded } else { Dead }).await;
        until("all spans ended", || ended.count() >= 5).await;
        let spans = ended.take();
        let process = one(&spans, "process f", SpanKind::Consumer, CALLER);
        let own = process.span_context.span_id();
        let invoke = one(&spans, "invoke f", SpanKind::Server, own);
        let settle = one(&spans, "settle", SpanKind::Client, own);
        one(&spans, "execute f", SpanKind::Client, invoke.span_context.span_id());
        assert_eq!(spans.len(), 5, "{spans:#?}");
        for (span, operation) in [(process, "process"), (settle, "settle")] {
            assert_eq!(attribute(span, "messaging.system"), "coracle");
            assert_eq!(attribute(span, "messaging.operation.type"), operation);
            assert_eq!(attribute(span, "messaging.destination.name"), "function/f");
        }
        assert_eq!(attribute(process, "messaging.message.id"), "00000000000000000000000000000005");
        assert_eq!(attribute(process, "coracle.attempt"), "1");
        assert_eq!(attribute(invoke, "faas.trigger"), "pubsub");
        assert_eq!(attribute(settle, "coracle.fate"), kind);
        assert_eq!(matches!(process.status, Status::Error { .. }), status == 400);
        node.end().await;
    }
}
