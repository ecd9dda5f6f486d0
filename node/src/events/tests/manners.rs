//! Goal: a function gets its messages as it wants them: at a path, in the body, many at once; and its answer is published.

mod refused;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_proto::pb::InvocationState::{Dead, Running, Succeeded, Waiting};
use coracle_proto::pb::settle_request::Verdict;
use coracle_proto::pb::{self, DeliveryMode, DeliverySpec, event_effect};
use coracle_proto::status::Code;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::running::Node;
use crate::call::{Call, Effect, Spent};
use crate::front::tests::world::Plan;
use crate::worker::tests::{Guest, text, until};

const SPENT: Spent = Spent { cpu: Duration::from_micros(3000), memory_byte_ms: 9, bytes_in: 6, bytes_out: 3 };

/// What a guest was sent.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The ids of the events of a batch.
    fn ids(&self) -> Vec<String> {
        let json = self.json();
        json.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    }
}

type All = Arc<Mutex<Vec<Seen>>>;

/// Answers so, and notes what it was sent. Where there is a `gate` it waits for it.
fn guest(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    gate: Option<Arc<Notify>>,
) -> (All, Arc<Guest>) {
    let seen = All::default();
    let note = Arc::clone(&seen);
    let guest = Guest::new(move |call: Call| {
        let (note, gate) = (Arc::clone(&note), gate.clone());
        async move {
            let (path, headers_seen) = (call.request.uri().path().to_owned(), call.request.headers().clone());
            let receipt = call.receipt.clone();
            let sent = call.request.into_body().collect().await.unwrap().to_bytes();
            note.lock().unwrap().push(Seen { path, headers: headers_seen, body: sent });
            if let Some(gate) = gate {
                gate.notified().await;
            }
            receipt.over_with(Some(SPENT), vec![read()]);
            let mut answer = text(body);
            *answer.response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                answer.response.headers_mut().insert(*name, value.parse().unwrap());
            }
            Ok(answer)
        }
    });
    (seen, guest)
}

fn read() -> Effect {
    Effect::Check { bucket: "b".to_owned(), key: "k".into(), version: 7 }
}

fn batch(most: u32, wait_ms: u64) -> DeliverySpec {
    DeliverySpec { batch_max: most, batch_wait_ms: wait_ms, ..DeliverySpec::default() }
}

/// An event for queue `q`, whose function wants it so.
fn put(node: &Node, id: u128, how: &DeliverySpec) {
    let attributes =
        [("type", "t"), ("datacontenttype", "application/json")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let body = pb::EventBody {
        kind: "queue".to_owned(),
        source: "/s".to_owned(),
        id: format!("e{id}"),
        attributes: attributes.into(),
        data: format!("{{\"n\":{id}}}").into(),
        ..Default::default()
    };
    node.store.put_for("q", "f", id, body, Some(how.clone()));
}

/// Of the published effects of a settlement: to what, and the message.
fn published(settle: &pb::SettleRequest) -> Vec<(String, pb::PublishMessage)> {
    let Some(Verdict::Done(done)) = &settle.verdict else { panic!("{settle:?}") };
    let published = done.effects.iter().filter_map(|it| match it.kind.clone() {
        Some(event_effect::Kind::Publish(it)) => Some((it.to, it.message.unwrap())),
        _ => None,
    });
    published.collect()
}

#[tokio::test]
async fn an_event_comes_at_its_path_in_headers_or_in_the_body() {
    for structured in [false, true] {
        let (seen, guest) = guest(200, &[], "", None);
        let node = Node::start(Plan::local(guest)).await;
        let mode = if structured { DeliveryMode::Structured } else { DeliveryMode::Unspecified };
        let how = DeliverySpec { path: "/in/here".to_owned(), mode: mode.into(), ..DeliverySpec::default() };
        put(&node, 1, &how);
        node.comes_to(0, Succeeded).await;
        let seen = seen.lock().unwrap()[0].clone();
        assert_eq!(seen.path, "/in/here");
        assert_eq!(seen.headers["coracle-attempt"], "1");
        if structured {
            assert_eq!(seen.headers["content-type"], "application/cloudevents+json");
            let expected = json!({
                "specversion": "1.0", "id": "e1", "source": "/s", "type": "t", "sequence": "1",
                "datacontenttype": "application/json", "data": {"n": 1}
            });
            assert_eq!(seen.json(), expected);
        } else {
            assert_eq!(seen.headers["ce-id"], "e1");
            assert_eq!(&seen.body[..], b"{\"n\":1}");
        }
        node.end().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_an_event_is_published_with_its_end() {
    const BINARY: &[(&str, &str)] = &[
        ("ce-specversion", "1.0"),
        ("ce-id", "r1"),
        ("ce-source", "/f"),
        ("ce-type", "done"),
        ("ce-partitionkey", "k"),
        ("content-type", "text/plain"),
    ];
    const STRUCTURED: &[(&str, &str)] = &[("content-type", "application/cloudevents+json")];
    let json = "{\"specversion\":\"1.0\",\"id\":\"r1\",\"source\":\"/f\",\"type\":\"done\",\"partitionkey\":\"k\",\
                \"datacontenttype\":\"text/plain\",\"data\":\"body\"}";
    for (headers, body) in [(BINARY, "body"), (STRUCTURED, json)] {
        let (_, guest) = guest(200, headers, body, None);
        let node = Node::start(Plan::local(guest)).await;
        put(&node, 1, &DeliverySpec { reply: "out".to_owned(), ..DeliverySpec::default() });
        node.comes_to(0, Succeeded).await;
        let settle = node.store.state().settles[0].clone();
        let [(to, message)] = &published(&settle)[..] else { panic!("{settle:?}") };
        let event = message.body.clone().unwrap();
        assert_eq!((to.as_str(), event.id.as_str(), event.source.as_str()), ("out", "r1", "/f"));
        assert_eq!((message.group.as_str(), &event.data[..]), ("k", &b"body"[..]));
        assert_eq!((&event.attributes["type"][..], event.kind.as_str()), ("done", ""));
        let Some(Verdict::Done(done)) = settle.verdict else { panic!() };
        assert_eq!(done.effects.len(), 2, "with what else it did");
        until("it is counted", || node.world.metrics.events.count(crate::stores::Fate::Done) == 1).await;
        assert_eq!(node.world.metrics.events.undone.get(), 0);
        node.end().await;
    }
    // No event, another status, or nobody asked: it is an answer as any.
    for (status, headers, reply) in [(200, &[][..], "out"), (201, BINARY, "out"), (200, BINARY, "")] {
        let (_, guest) = guest(status, headers, "body", None);
        let node = Node::start(Plan::local(guest)).await;
        put(&node, 1, &DeliverySpec { reply: reply.to_owned(), ..DeliverySpec::default() });
        node.comes_to(0, Succeeded).await;
        assert_eq!(published(&node.store.state().settles[0]), vec![]);
        node.end().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_a_broken_event_is_a_failed_attempt() {
    let large: &'static str = "x".repeat(70_000).leak();
    for (headers, body, why) in [
        (&[("ce-id", "1")][..], "", "attribute 'specversion' is missing"),
        (&[("content-type", "application/cloudevents+json")], "{", "the event that it answered is none"),
        (&[("content-type", "application/cloudevents+avro")], "", "are not understood"),
        (&[("content-type", "application/cloudevents-batch+json")], "[]", "one event, and no batch"),
        (
            &[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/f"), ("ce-type", "t")],
            large,
            "70000 bytes",
        ),
    ] {
        let (_, guest) = guest(200, headers, body, None);
        let node = Node::start(Plan::local(guest)).await;
        node.store.keep("b", "k", 7);
        put(&node, 1, &DeliverySpec { reply: "out".to_owned(), ..DeliverySpec::default() });
        node.comes_to(0, Dead).await;
        let message = node.store.message(0);
        assert_eq!((message.reports.len(), message.reports[0].outcome.as_str()), (3, "invalid-response"));
        assert!(message.last_error.contains(why), "{}", message.last_error);
        node.end().await;
    }
}

#[tokio::test]
async fn as_many_as_are_there_come_in_one_call_and_each_is_settled() {
    for plan in [Plan::local, |guest| Plan::remote(vec![guest])] {
        let (seen, guest) = guest(200, &[], "", None);
        let node = Node::start(plan(Arc::clone(&guest))).await;
        let how = DeliverySpec { path: "/all".to_owned(), ..batch(3, 60_000) };
        for id in 1..=3 {
            put(&node, id, &how);
        }
        until("all are done", || node.store.all_done()).await;
        assert_eq!(guest.calls(), 1);
        let seen = seen.lock().unwrap()[0].clone();
        assert_eq!(seen.headers["content-type"], "application/cloudevents-batch+json");
        assert_eq!(seen.path, "/all");
        assert!(
            !seen.headers.contains_key("coracle-attempt") && !seen.headers.contains_key("idempotency-key")
        );
        assert_eq!(seen.ids(), ["e1", "e2", "e3"]);
        let event = seen.json()[1].clone();
        assert_eq!((&event["data"], &event["coracleattempt"]), (&json!({"n": 2}), &json!("1")));
        let reports: Vec<_> = (0..3).map(|index| node.store.message(index).reports[0].clone()).collect();
        let memory: Vec<_> = reports.iter().map(|it| it.memory_byte_ms).collect();
        assert_eq!((memory, reports[0].cpu_us, reports[1].bytes_in), (vec![3, 3, 3], 1000, 2));
        let settles = node.store.state().settles.clone();
        let words = settles.iter().map(|it| match &it.verdict {
            Some(Verdict::Done(done)) => (done.effects.len(), done.others.len(), done.answer.is_some()),
            other => panic!("{other:?}"),
        });
        assert_eq!(words.collect::<Vec<_>>(), [(1, 2, true)], "all are done in one operation");
        until("each is counted", || node.world.metrics.events.count(crate::stores::Fate::Done) == 3).await;
        until("their places are free", || node.world.metrics.events.running.get() == 0).await;
        node.end().await;
    }
}

#[tokio::test]
async fn a_batch_that_is_not_full_goes_when_its_oldest_has_waited() {
    let (seen, guest) = guest(200, &[], "", None);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    for id in 1..=2 {
        put(&node, id, &batch(100, 300));
    }
    node.comes_to(0, Running).await;
    node.comes_to(1, Running).await;
    until("it is told of while it waits", || {
        node.store.state().takes.last().unwrap().running.len() == 2 || guest.calls() > 0
    })
    .await;
    until("all are done", || node.store.all_done()).await;
    assert_eq!((guest.calls(), seen.lock().unwrap()[0].ids().len()), (1, 2));
    node.end().await;
}

#[tokio::test]
async fn those_that_it_names_are_tried_again_and_the_others_done() {
    let (seen, guest) = guest(
        200,
        &[],
        "{\"batchItemFailures\":[{\"itemIdentifier\":\"e1\"},{\"itemIdentifier\":\"e3\"}]}",
        None,
    );
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.keep("b", "k", 7);
    for id in 1..=3 {
        put(&node, id, &batch(3, 100));
    }
    node.comes_to(1, Succeeded).await;
    // The second call has no 'e2', and names what it has: both fail until they have no attempts left.
    node.comes_to(0, Dead).await;
    node.comes_to(2, Dead).await;
    assert_eq!(seen.lock().unwrap()[0].ids(), ["e1", "e2", "e3"]);
    let message = node.store.message(0);
    assert!(message.last_error.contains("named it among those of its batch"), "{}", message.last_error);
    assert_eq!((message.reports.len(), message.reports[0].outcome.as_str()), (3, "200"));
    assert_eq!(node.store.message(1).reports.len(), 1);
    let settles = node.store.state().settles.clone();
    let carries = |it: &&pb::SettleRequest| matches!(&it.verdict, Some(Verdict::Done(done)) if !done.effects.is_empty());
    let carriers: Vec<_> =
        settles.iter().filter(carries).map(|it| it.ticket.clone().unwrap().message).collect();
    assert_eq!(carriers, [2], "what it did goes with one that is done");
    node.end().await;
}

#[tokio::test]
async fn a_call_that_fails_or_cannot_be_understood_fails_for_all() {
    for (status, body, outcome) in [
        (500, "", "500"),
        (200, "{\"batchItemFailures\":[{\"itemIdentifier\":\"other\"}]}", "invalid-response"),
    ] {
        let (_, guest) = guest(status, &[], body, None);
        let node = Node::start(Plan::local(guest)).await;
        node.store.keep("b", "k", 7);
        for id in 1..=2 {
            put(&node, id, &batch(2, 100));
        }
        for index in 0..2 {
            node.comes_to(index, Dead).await;
            let message = node.store.message(index);
            assert_eq!((message.reports.len(), message.reports[0].outcome.as_str()), (3, outcome));
        }
        node.end().await;
    }
}

#[tokio::test]
async fn what_waits_for_others_when_the_node_goes_is_given_back_uncounted() {
    let (_, guest) = guest(200, &[], "", None);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    put(&node, 1, &batch(2, 60_000));
    node.comes_to(0, Running).await;
    until("it is told of", || node.store.state().takes.last().unwrap().running.len() == 1).await;
    node.stop.cancel();
    node.comes_to(0, Waiting).await;
    let message = node.store.message(0);
    assert_eq!((message.delivery.attempt, message.reports.len(), guest.calls()), (0, 0, 0));
    assert!(message.last_error.contains("while it waited for others"), "{}", message.last_error);
    node.end().await;
}

#[tokio::test]
async fn one_that_is_cancelled_does_not_stop_the_others_and_all_of_them_do() {
    let gate = Arc::new(Notify::new());
    let (_, guest) = guest(200, &[], "", Some(Arc::clone(&gate)));
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    for id in 1..=2 {
        put(&node, id, &batch(2, 60_000));
    }
    until("it runs", || guest.calls() == 1).await;
    node.store.cancel(0);
    until("it is not told of any more", || node.store.state().takes.last().unwrap().running.len() == 1).await;
    assert_eq!(guest.open(), 1);
    gate.notify_one();
    node.comes_to(1, Succeeded).await;
    let settles = node.store.state().settles.clone();
    let [settle] = &settles[..] else { panic!("nobody wants to hear of the other one: {settles:?}") };
    let Some(Verdict::Done(done)) = &settle.verdict else { panic!("{settle:?}") };
    assert_eq!(done.effects.len(), 1, "what the call did is done all the same");
    assert_eq!(settle.report.as_ref().unwrap().memory_byte_ms, 9, "and all of it is told");

    for id in 3..=4 {
        put(&node, id, &batch(2, 60_000));
    }
    until("it runs", || guest.calls() == 2).await;
    node.store.cancel(2);
    node.store.cancel(3);
    until("its call is gone", || node.world.workers[0].executor.load().in_flight == 0).await;
    until("its place is free", || node.world.metrics.events.running.get() == 0).await;
    node.end().await;
}

#[tokio::test]
async fn what_waits_for_others_leaves_room_for_other_queues() {
    let (seen, guest) = guest(200, &[], "", None);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    // The node runs four at once: six that wait take one place.
    for id in 1..=6 {
        put(&node, id, &batch(100, 60_000));
    }
    until("all of them wait there", || node.store.state().messages.iter().all(|it| it.state == Running))
        .await;
    node.store.put("f", 7, "text");
    node.comes_to(6, Succeeded).await;
    assert_eq!((guest.calls(), &seen.lock().unwrap()[0].body[..]), (1, &b"text"[..]));
    node.end().await;
}
