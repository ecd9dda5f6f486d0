//! Goal: what is published with 202 is kept as it came in each of the modes, what is not says why and nothing of it is kept.

mod names;

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{InvocationId, NodeId};
use coracle_proto::pb;
use coracle_proto::status::Code;
use http_body_util::{BodyExt as _, Full};
use opentelemetry::trace::SpanKind;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::recorder::Recorder;
use super::spans::{CALLER, attribute, one};
use super::world::{CLUSTER, Plan, SendBody, Whole, World, empty};
use crate::call::Call;
use crate::events::{self, Events};
use crate::stores::tests::fake::Store;
use crate::stores::{BODY_BYTES_MAX, PUBLISHED_BYTES_MAX, Stores};
use crate::worker::tests::{Guest, text, until};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// An event in the binary mode.
const EVENT: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "e-1"),
    ("ce-source", "/orders"),
    ("ce-type", "com.example.placed"),
];

/// A gateway whose store has the queue `jobs` in every namespace, and the topics `news` and `void`.
async fn world() -> (World, Store) {
    world_of(Guest::new(async |_| Ok(text("ran")))).await
}

async fn world_of(guest: Arc<Guest>) -> (World, Store) {
    let world = Plan::local(guest).start().await;
    let store = Store::start().await;
    world.change(Store::records(&[&store]));
    world.view.update(|view| {
        (view.routing.following, view.routing.told) = (true, true);
        true
    });
    store.state().queues.insert("jobs".to_owned());
    store.state().topics.extend([("news".to_owned(), 3), ("void".to_owned(), 0)]);
    (world, store)
}

async fn publish(world: &World, to: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Whole {
    let request = world.request("POST", &format!("/.coracle/publish/{to}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let body = SendBody::new(Full::from(body.into()).map_err(|never| match never {}));
    world.whole(request.body(body).unwrap()).await
}

fn problem(whole: &Whole) -> (u16, &str) {
    (whole.status, whole.header("coracle-error"))
}

fn sent(store: &Store, index: usize) -> pb::PublishRequest {
    store.state().publishes[index].clone()
}

/// The one message that was published last.
fn last(store: &Store) -> (pb::PublishMessage, pb::EventBody) {
    let message = store.state().publishes.last().unwrap().messages[0].clone();
    let body = message.body.clone().unwrap();
    (message, body)
}

#[tokio::test]
async fn any_body_becomes_an_event_of_the_platforms_own() {
    let (world, store) = world().await;
    let whole = publish(&world, "jobs", &[("content-type", "text/csv"), ("traceparent", TRACE)], "a,b").await;
    let id = whole.header("coracle-invocation-id").to_owned();
    assert_eq!((whole.status, id.len(), whole.header("content-type")), (202, 32, "application/json"));
    assert_eq!(whole.header("location"), format!("/.coracle/invocations/{id}"));
    let json = format!(
        "{{\"messages\":[{{\"id\":\"{id}\",\"invocation\":\"{id}\",\"repeated\":false,\"copies\":1}}]}}"
    );
    assert_eq!(whole.text, json);
    let request = sent(&store, 0);
    assert_eq!((request.place.unwrap().namespace.as_str(), request.to.as_str()), ("default", "jobs"));
    let (message, body) = last(&store);
    assert_eq!(InvocationId::try_from(&message.invocation[..]).unwrap().to_string(), id);
    assert_eq!((message.group.as_str(), message.delay_ms, body.http), ("", 0, None));
    assert_eq!(
        (body.kind.as_str(), body.source.as_str(), body.id.as_str()),
        ("", "//default/queue/jobs", "")
    );
    assert_eq!(&body.data[..], b"a,b");
    let names: Vec<_> = body.attributes.iter().filter(|(name, _)| *name != "time").collect();
    let expected =
        [("datacontenttype", "text/csv"), ("traceparent", TRACE), ("type", "dev.coracle.queue.message")];
    let mut names: Vec<_> = names.into_iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
    assert!(body.attributes["time"].ends_with('Z'), "{:?}", body.attributes);
}

#[tokio::test]
async fn the_platforms_headers_say_when_and_behind_whom() {
    let (world, store) = world().await;
    let headers = [("coracle-delay", "10s"), ("coracle-group", "order-81"), ("idempotency-key", "k")];
    let first = publish(&world, "shop/jobs", &headers, "").await;
    let again = publish(&world, "shop/jobs", &headers, "").await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.header("location"), again.header("location"));
    assert!(first.text.contains("\"id\":\"k\"") && first.text.contains("\"repeated\":false"), "{first:?}");
    assert!(again.text.contains("\"repeated\":true"), "{again:?}");
    let (message, body) = last(&store);
    assert_eq!((message.group.as_str(), message.delay_ms, body.id.as_str()), ("order-81", 10_000, "k"));
    assert_eq!(
        (body.source.as_str(), body.attributes["partitionkey"].as_str()),
        ("//shop/queue/jobs", "order-81")
    );
    for (name, value, why) in [
        ("coracle-delay", "soon", "'coracle-delay': 'soon'"),
        ("coracle-delay", "361h", "15 days"),
        ("coracle-group", "", "'coracle-group': is empty"),
        ("idempotency-key", "", "'idempotency-key': is empty"),
    ] {
        let whole = publish(&world, "jobs", &[(name, value)], "").await;
        assert_eq!(problem(&whole), (400, "bad-request"));
        assert!(whole.text.contains(why), "{whole:?}");
    }
    assert_eq!(store.state().publishes.len(), 2);
}

#[tokio::test]
async fn an_event_is_taken_in_each_mode() {
    let (world, store) = world().await;
    let json = "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"/orders\",\"type\":\"com.example.placed\",\
                \"subject\":\"Euro €\",\"partitionkey\":\"p\",\"data\":{\"b\":1.0,\"a\":2}}";
    let binary = [
        &EVENT[..],
        &[("ce-subject", "Euro%20%E2%82%AC"), ("ce-partitionkey", "p"), ("content-type", "application/json")],
    ]
    .concat();
    let structured = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let batch = [("content-type", "application/cloudevents-batch+json")];
    for (headers, body) in [
        (&binary[..], "{\"b\":1.0,\"a\":2}".to_owned()),
        (&structured[..], json.to_owned()),
        (&batch[..], format!("[{json}]")),
    ] {
        let whole = publish(&world, "jobs", headers, body).await;
        assert_eq!(whole.status, 202, "{whole:?}");
        assert!(whole.text.contains("\"id\":\"e-1\"") && whole.header("location").len() > 30, "{whole:?}");
        let (message, body) = last(&store);
        assert_eq!((message.group.as_str(), body.id.as_str(), body.source.as_str()), ("p", "e-1", "/orders"));
        assert_eq!(&body.data[..], b"{\"b\":1.0,\"a\":2}");
        let attribute = |name: &str| body.attributes.get(name).cloned().unwrap_or_default();
        assert_eq!(
            (attribute("type"), attribute("subject"), attribute("datacontenttype"), body.attributes.len()),
            ("com.example.placed".into(), "Euro €".into(), "application/json".into(), 4)
        );
    }
    assert_eq!(store.state().messages.len(), 1, "it is the same event each time");
}

#[tokio::test]
async fn a_batch_is_one_request_and_has_a_word_of_each_message() {
    let (world, store) = world().await;
    let one = |id: &str| {
        format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"t\",\"data\":1}}")
    };
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let whole = publish(&world, "jobs", &batch, format!("[{},{}]", one("1"), one("2"))).await;
    assert_eq!((whole.status, whole.header("location")), (202, ""), "{whole:?}");
    assert_eq!(whole.text.matches("\"invocation\":\"").count(), 2);
    let again = publish(&world, "jobs", &batch, format!("[{},{}]", one("2"), one("3"))).await;
    assert_eq!(again.text.matches("\"repeated\":true").count(), 1, "{again:?}");
    assert_eq!(store.published(), (3, 2));
    for to in ["jobs", "nothing"] {
        let none = publish(&world, to, &batch, "[]").await;
        assert_eq!(problem(&none), (400, "bad-request"));
        assert!(none.text.contains("there is no event in the batch"), "{none:?}");
    }

    let whole = publish(&world, "jobs", &batch, format!("[{},{}]", one("4"), one(""))).await;
    assert_eq!(problem(&whole), (400, "bad-request"));
    assert!(whole.text.contains("event 2 of the batch: attribute 'id' is empty"), "{whole:?}");
    let whole = publish(&world, "jobs", &batch, format!("[{}]", vec![one("5"); 257].join(","))).await;
    assert_eq!(problem(&whole), (413, "request-too-large"));
    assert!(whole.text.contains("257 events") && whole.text.contains("256"), "{whole:?}");
    assert_eq!(store.state().publishes.len(), 2, "all or none");
}

#[tokio::test]
async fn a_topic_has_as_many_copies_as_subscribers_and_no_record_of_its_own() {
    let (world, _store) = world().await;
    for (topic, copies) in [("news", 3), ("void", 0)] {
        let own = publish(&world, topic, &[], "").await;
        let json = serde_json::from_str::<serde_json::Value>(&own.text).unwrap();
        assert_eq!(json["messages"][0]["id"].as_str().map(str::len), Some(32), "{own:?}");
        let whole = publish(&world, topic, &EVENT, "").await;
        let json = format!(
            "{{\"messages\":[{{\"id\":\"e-1\",\"invocation\":null,\"repeated\":false,\"copies\":{copies}}}]}}"
        );
        assert_eq!((whole.status, &whole.text, whole.header("location")), (202, &json, ""), "{topic}");
        assert_eq!(whole.header("coracle-invocation-id"), "");
    }
}

#[tokio::test]
async fn what_is_no_event_is_refused_by_name() {
    let (world, store) = world().await;
    let structured = ("content-type", "application/cloudevents+json");
    for (headers, body, why) in [
        (&EVENT[1..], "", "attribute 'specversion' is missing"),
        (&EVENT[..3], "", "attribute 'type' is missing"),
        (&[("ce-id", "1")], "", "attribute 'specversion' is missing"),
        (&[structured], "{}", "attribute 'specversion' is missing"),
        (&[structured], "{", "the body is no JSON"),
        (&[structured], "[]", "an event is a JSON object"),
        (&[("content-type", "application/cloudevents+avro")], "", "'application/cloudevents+avro'"),
    ] {
        let whole = publish(&world, "jobs", headers, body).await;
        assert_eq!(problem(&whole), (400, "bad-request"), "{whole:?}");
        assert!(whole.text.contains(why), "{whole:?}");
    }
    let chain = vec!["coracle"; 17].join(", ");
    assert_eq!(problem(&publish(&world, "jobs", &[("cdn-loop", &chain)], "").await), (508, "loop-detected"));
    assert_eq!(store.state().publishes.len(), 0);
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_its_bound() {
    let (world, store) = world().await;
    let structured = [("content-type", "application/cloudevents+json")];
    let event = |bytes: usize| {
        let data = "x".repeat(bytes);
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"datacontenttype\":\"a/b\",\
             \"data\":\"{data}\"}}"
        )
    };
    assert_eq!(publish(&world, "jobs", &[], vec![b'x'; BODY_BYTES_MAX]).await.status, 202);
    assert_eq!(publish(&world, "jobs", &structured, event(BODY_BYTES_MAX)).await.status, 202);
    for (headers, body, bound) in [
        (&[][..], "x".repeat(BODY_BYTES_MAX + 1), "65536 bytes"),
        (&EVENT, "x".repeat(BODY_BYTES_MAX + 1), "65536 bytes"),
        (&structured, event(BODY_BYTES_MAX + 1), "at most 65536"),
        (&structured, event(PUBLISHED_BYTES_MAX), "458752 bytes"),
    ] {
        let whole = publish(&world, "jobs", headers, body).await;
        assert_eq!(problem(&whole), (413, "request-too-large"));
        assert!(whole.text.contains(bound), "{whole:?}");
    }
    assert_eq!(store.state().publishes.len(), 2);
    let inner = &world.front.inner;
    assert_eq!((inner.open.count(), inner.gathering.count(), inner.bodies.count()), (0, 0, 0));
}

#[tokio::test]
async fn large_requests_have_room_or_are_refused() {
    let (world, store) = world().await;
    let bodies = &world.front.inner.bodies;
    let held: Vec<_> = (1..=64)
        .flat_map(|host| {
            let some = move || bodies.take([10, 0, 0, host].into(), 1 << 20).ok();
            std::iter::from_fn(some)
        })
        .collect();
    assert!(bodies.max() - bodies.count() < PUBLISHED_BYTES_MAX, "{} are held", held.len());
    let large = vec![b' '; PUBLISHED_BYTES_MAX];
    let structured = [("content-type", "application/cloudevents+json")];
    assert_eq!(problem(&publish(&world, "jobs", &structured, large).await), (503, "overloaded"));
    assert_eq!(publish(&world, "jobs", &EVENT, "small").await.status, 202);
    assert_eq!(store.state().messages.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_name() {
    let (world, store) = world().await;
    for unknown in ["nothing", "shop/nothing", "Jobs", "shop/a_b"] {
        assert_eq!(problem(&publish(&world, unknown, &[], "").await), (404, "queue-not-found"), "{unknown}");
    }
    for inner in ["function/f/g", "", "/jobs", "jobs/"] {
        assert_eq!(problem(&publish(&world, inner, &[], "").await), (404, "reserved-path"), "{inner}");
    }
    assert_eq!(problem(&publish(&world, "function%2Ff", &[], "").await), (404, "queue-not-found"));
    store.state().refuses = Some(Code::QueueFull);
    let full = publish(&world, "jobs", &[], "").await;
    assert_eq!((problem(&full), full.header("retry-after")), ((429, "queue-full"), "1"));

    let world = Plan::local(Guest::new(async |_| Ok(text("ran")))).start().await;
    assert_eq!(problem(&publish(&world, "jobs", &[], "").await), (503, "no-store"));
    world.view.update(|view| {
        view.routing.following = true;
        true
    });
    assert_eq!(problem(&publish(&world, "jobs", &[], "").await), (503, "no-view"), "stores may be told of");
}

#[tokio::test]
async fn other_methods_say_how_it_is_done() {
    let (world, store) = world().await;
    let send = async |method: &str| {
        world.whole(world.request(method, "/.coracle/publish/shop/jobs").body(empty()).unwrap()).await
    };
    let usage = send("GET").await;
    assert_eq!(usage.status, 200);
    assert!(usage.text.contains("POST publishes to 'shop/jobs'"), "{usage:?}");
    let head = send("HEAD").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let whole = send(method).await;
        assert_eq!((problem(&whole), whole.header("allow")), ((405, "bad-request"), "GET, HEAD, POST"));
    }
    assert_eq!(store.state().publishes.len(), 0);
}

#[tokio::test]
async fn what_is_published_is_part_of_the_callers_trace() {
    let ended = Recorder::start().await;
    let (world, store) = world().await;
    let caller = ended.caller();
    assert_eq!(publish(&world, "jobs", &[("traceparent", &caller)], "").await.status, 202);
    until("the span ended", || ended.count() >= 1).await;
    let spans = ended.take();
    let send = one(&spans, "send jobs", SpanKind::Producer, CALLER);
    for (key, value) in [
        ("messaging.system", "coracle"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "jobs"),
        ("coracle.namespace", "default"),
    ] {
        assert_eq!(attribute(send, key), value);
    }
    let traceparent = format!("00-{}-{}-01", ended.trace(), send.span_context.span_id());
    assert_eq!(last(&store).1.attributes["traceparent"], traceparent);
}

#[tokio::test]
async fn a_message_comes_to_its_function_as_an_event() {
    let guest = Guest::new(async |call: Call| {
        let headers = call.request.headers().clone();
        let header = |name: &str| headers.get(name).map_or("", |it| it.to_str().unwrap()).to_owned();
        let names = ["ce-type", "ce-id", "ce-source", "ce-subject", "ce-sequence", "ce-hops", "content-type"];
        let seen = names.map(header).join(" ");
        let seen = format!("{} {} {seen}", call.request.method(), call.request.uri());
        let receipt = call.receipt.clone();
        let body = call.request.into_body().collect().await.unwrap().to_bytes();
        receipt.over(None);
        Ok(text(format!("{seen} {}", String::from_utf8_lossy(&body))))
    });
    let (world, store) = world_of(guest).await;
    let options = events::Options {
        news_timeout: Duration::ZERO,
        ..events::Options::new(NodeId::new(1), 8, Duration::from_secs(10))
    };
    let stores = Stores::new(world.view.clone(), CLUSTER);
    let (view, metrics) = (world.view.clone(), Arc::clone(&world.metrics));
    let events = Events::new(options, view, stores, world.dispatcher.clone(), metrics, Handle::current());
    let stop = CancellationToken::new();
    let running = tokio::spawn(events.run(stop.clone()));
    let headers =
        [&EVENT[..], &[("ce-subject", "a%20b"), ("content-type", "text/plain"), ("cdn-loop", "coracle")]]
            .concat();
    let accepted = publish(&world, "jobs", &headers, "body").await;
    let whole = world.get(&format!("{}/result?wait=20", accepted.header("location"))).await;
    let seen = "POST http://localhost/ com.example.placed e-1 /orders a%20b 1 1 text/plain body";
    assert_eq!((whole.status, whole.text.as_str()), (200, seen));
    assert_eq!(store.state().messages.len(), 1);
    stop.cancel();
    running.await.unwrap();
}
