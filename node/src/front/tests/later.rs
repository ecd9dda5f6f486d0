//! Goal: what is accepted with 202 is kept as it came, what is not says why, and whoever asks is told what became of it.

mod chains;

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{InvocationId, NodeId};
use coracle_proto::key::Key;
use coracle_proto::pb::{self, InvocationState};
use coracle_proto::record::Change;
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;
use http_body_util::{BodyExt as _, Full};
use opentelemetry::trace::SpanKind;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::recorder::Recorder;
use super::spans::{CALLER, attribute, one};
use super::world::{CLUSTER, Plan, SendBody, Whole, World, empty, full};
use crate::call::Call;
use crate::events::{self, Events};
use crate::stores::tests::fake::Store;
use crate::stores::{BODY_BYTES_MAX, Stores};
use crate::worker::tests::{Guest, text, until};

async fn world() -> (World, Store) {
    let guest = Guest::new(async |call: Call| {
        call.receipt.over(None);
        Ok(text("ran"))
    });
    let world = Plan::local(guest).start().await;
    let store = Store::start().await;
    world.change(Store::records(&[&store]));
    hears(&world, true, true);
    (world, store)
}

/// Makes the view say how it is followed.
fn hears(world: &World, following: bool, told: bool) {
    world.view.update(|view| {
        (view.routing.following, view.routing.told) = (following, told);
        true
    });
}

fn bytes(count: usize) -> SendBody {
    SendBody::new(Full::from(vec![b'x'; count]).map_err(|never| match never {}))
}

/// Its length is not told before.
fn chunked(count: usize) -> SendBody {
    let pieces = (0..count).step_by(1000).map(move |at| vec![b'x'; (count - at).min(1000)].into());
    let frames = futures::stream::iter(pieces.map(|piece| Ok(http_body::Frame::data(piece))));
    SendBody::new(http_body_util::StreamBody::new(frames))
}

async fn later(world: &World, headers: &[(&str, &str)], body: SendBody) -> Whole {
    let request = world.request("POST", "/f/x?y=1").header("prefer", "respond-async");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    world.whole(request.body(body).unwrap()).await
}

fn problem(whole: &Whole) -> (u16, &str) {
    (whole.status, whole.header("coracle-error"))
}

#[tokio::test]
async fn what_is_accepted_is_kept_as_it_came() {
    let (world, store) = world().await;
    let headers = [
        ("prefer", "return=minimal"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("x-own", "2"),
        ("coracle-attempt", "9"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let whole = later(&world, &headers, full("body")).await;
    let id = whole.header("coracle-invocation-id").to_owned();
    let location = format!("/.coracle/invocations/{id}");
    assert_eq!((whole.status, id.len()), (202, 32), "{whole:?}");
    assert_eq!(
        (whole.header("location"), whole.header("preference-applied")),
        (location.as_str(), "respond-async")
    );
    assert_eq!((whole.header("retry-after"), whole.header("cache-control")), ("1", "no-store"));
    let json =
        format!("{{\"id\":\"{id}\",\"state\":\"waiting\",\"function\":\"f\",\"location\":\"{location}\"}}");
    assert_eq!(whole.text, json);
    let submit = store.state().submits[0].clone();
    assert_eq!(
        (submit.function.as_str(), submit.idempotency_key.as_str(), submit.fingerprint.len()),
        ("f", "", 32)
    );
    assert_eq!(InvocationId::try_from(&submit.invocation[..]).unwrap().to_string(), id);
    let body = submit.body.unwrap();
    assert_eq!((body.kind.as_str(), &body.data[..]), ("async", &b"body"[..]));
    assert_eq!(body.attributes["traceparent"], headers[5].1);
    assert!(!body.attributes.contains_key("hops"), "it is the first of its chain");
    let http = body.http.unwrap();
    let uri = format!("http://{}/f/x?y=1", world.address);
    assert_eq!((http.method.as_str(), http.uri, http.route.as_str()), ("POST", uri, "/f"));
    let header = |name: &str| http.headers.iter().find(|it| it.name == name).map(|it| it.value.clone());
    assert_eq!(header("x-own"), Some("2".into()));
    assert_eq!(header("prefer"), Some("return=minimal".into()), "it is the function's");
    for gone in ["connection", "x-private", "coracle-attempt"] {
        assert_eq!(header(gone), None, "{gone}");
    }
    assert_eq!(world.workers[0].guest.calls(), 0);
    let now =
        world.whole(world.request("POST", "/f").header("prefer", "wait=5").body(empty()).unwrap()).await;
    assert_eq!((now.status, now.text.as_str()), (200, "ran"), "other preferences are the function's");
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_its_bound() {
    let (world, store) = world().await;
    for body in [bytes(BODY_BYTES_MAX), chunked(BODY_BYTES_MAX)] {
        assert_eq!(later(&world, &[], body).await.status, 202);
    }
    for body in [bytes(BODY_BYTES_MAX + 1), chunked(BODY_BYTES_MAX + 1), chunked(1 << 20)] {
        let whole = later(&world, &[], body).await;
        assert_eq!(problem(&whole), (413, "request-too-large"));
        assert!(whole.text.contains("65536 bytes"), "{whole:?}");
    }
    let long = "v".repeat(33 << 10);
    let whole = later(&world, &[("x-long", long.as_str())], empty()).await;
    assert_eq!(problem(&whole), (400, "bad-request"));
    assert!(whole.text.contains("128 headers of 32768 bytes"), "{whole:?}");
    assert_eq!(store.state().messages.len(), 2);
    assert_eq!(world.front.inner.open.count(), 0);
}

#[tokio::test]
async fn a_body_is_here_in_time_and_none_takes_no_place() {
    let mut plan = Plan::local(Guest::new(async |_| Ok(text("ran"))));
    plan.draft = Draft { timeout_ms: 300, ..Draft::default() };
    let (world, store) = (plan.start().await, Store::start().await);
    world.change(Store::records(&[&store]));
    // Never silent for long, and never done.
    let pieces = futures::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(20)).await; // a bounded poll
        Some((Ok(http_body::Frame::data("x".into())), ()))
    });
    let whole = later(&world, &[], SendBody::new(http_body_util::StreamBody::new(pieces))).await;
    assert_eq!(problem(&whole), (408, "request-timeout"));
    assert!(whole.text.contains("300 ms, and not all"), "{whole:?}");
    let gathering = &world.front.inner.gathering;
    let held: Vec<_> = (1..=64)
        .flat_map(|host| std::iter::from_fn(move || gathering.take([10, 0, 0, host].into(), 1).ok()))
        .collect();
    assert_eq!(held.len(), gathering.max());
    assert_eq!(problem(&later(&world, &[], full("a")).await), (503, "overloaded"));
    assert_eq!(later(&world, &[], empty()).await.status, 202);
    assert_eq!(store.state().messages.len(), 1);
}

#[tokio::test]
async fn a_key_makes_one_call_of_two_requests() {
    let (world, store) = world().await;
    let keyed = async |key: &str, body| later(&world, &[("idempotency-key", key)], full(body)).await;
    let (first, again) = (keyed("k", "a").await, keyed("k", "a").await);
    assert_eq!((first.status, again.status, &first.text), (202, 202, &again.text));
    assert_eq!(problem(&keyed("k", "b").await), (422, "idempotency-conflict"));
    assert_eq!(keyed("l", "b").await.status, 202);
    assert_eq!(keyed(&"k".repeat(255), "").await.status, 202);
    assert_eq!(problem(&keyed(&"k".repeat(256), "").await), (400, "bad-request"));
    assert_eq!(problem(&keyed("", "").await), (400, "bad-request"));
    assert_eq!(store.state().messages.len(), 3);
}

#[tokio::test]
async fn a_key_is_its_callers_own_at_whichever_gateway() {
    let (world, store) = world().await;
    let keyed = async |headers: &[(&str, &str)]| {
        later(&world, &[&[("idempotency-key", "k")], headers].concat(), full("a")).await
    };
    let first = keyed(&[("host", "one.example")]).await;
    for host in ["two.example", "two.example:81", "TWO.example"] {
        let again = keyed(&[("host", host)]).await;
        assert_eq!((again.status, &again.text), (202, &first.text), "{host}");
    }
    let one = keyed(&[("authorization", "Bearer one")]).await;
    assert_eq!(keyed(&[("authorization", "Bearer one")]).await.text, one.text);
    for other in [&[("authorization", "Bearer two")][..], &[("cookie", "session=1")]] {
        let two = keyed(other).await;
        assert_eq!(two.status, 202);
        assert!(two.text != one.text && two.text != first.text, "the call of another caller");
    }
    assert_eq!(store.state().messages.len(), 4);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_name() {
    let (world, store) = world().await;
    store.state().refuses = Some(Code::QueueFull);
    let whole = later(&world, &[], empty()).await;
    assert_eq!((problem(&whole), whole.header("retry-after")), ((429, "queue-full"), "1"));
    let request = world.request("POST", "/.coracle/invoke/default/g").header("prefer", "respond-async");
    assert_eq!(problem(&world.whole(request.body(empty()).unwrap()).await), (404, "function-not-found"));
    world.change(vec![Change::remove(Key::Function(world.version.id.function.clone()))]);
    assert_eq!(
        problem(&later(&world, &[], empty()).await),
        (404, "function-not-found"),
        "its route is still there"
    );

    let world = Plan::local(Guest::new(async |_| Ok(text("ran")))).start().await;
    assert_eq!(problem(&later(&world, &[], empty()).await), (503, "no-store"));
    let asked = world.get("/.coracle/invocations/00000000000000000000000000000001").await;
    assert_eq!(problem(&asked), (503, "no-store"));
    hears(&world, true, false);
    let asked = world.get("/.coracle/invocations/00000000000000000000000000000001").await;
    assert_eq!(problem(&asked), (503, "no-view"), "stores may be told of");
    assert_eq!(problem(&later(&world, &[], empty()).await), (503, "no-view"));
}

#[tokio::test]
async fn whoever_asks_a_gateway_that_was_just_started_waits_for_its_view() {
    let world = Plan::local(Guest::new(async |_| Ok(text("ran")))).start().await;
    let store = Store::start().await;
    store.put("f", 7, "");
    let told = async {
        until("it waits", || world.front.waiting() == 1).await;
        world.change(Store::records(&[&store]));
        hears(&world, true, true);
    };
    let path = "/.coracle/invocations/00000000000000000000000000000007";
    let (whole, ()) = tokio::join!(world.get(path), told);
    assert_eq!(whole.status, 200, "{whole:?}");
}

fn answered(status: u32, body: &str, bytes: u64) -> Option<pb::EventAnswer> {
    let header =
        |name: &str, value: &str| pb::EventHeader { name: name.to_owned(), value: value.to_owned().into() };
    let headers = vec![
        header("x-own", "1"),
        header("connection", "close"),
        header("coracle-node", "9"),
        header("content-length", "77"),
    ];
    Some(pb::EventAnswer { status, headers, body: body.to_owned().into(), body_bytes: bytes })
}

#[tokio::test]
async fn whoever_asks_is_told_what_became_of_it() {
    let (world, store) = world().await;
    store.put("f", 7, "");
    let path = "/.coracle/invocations/00000000000000000000000000000007";
    let result = format!("{path}/result");
    let sets = |state: InvocationState, answer: Option<pb::EventAnswer>| {
        let message = &mut store.state().messages[0];
        (message.state, message.answer, message.delivery.attempt) = (state, answer, 2);
    };
    let whole = world.get(path).await;
    assert_eq!(
        (whole.status, whole.header("retry-after"), whole.header("content-type")),
        (200, "1", "application/json")
    );
    assert!(
        whole.text.contains("\"state\":\"waiting\"") && whole.text.contains("\"function\":\"f\""),
        "{whole:?}"
    );
    let whole = world.get(&result).await;
    assert_eq!((whole.status, whole.header("retry-after")), (202, "1"), "{whole:?}");

    sets(InvocationState::Succeeded, answered(201, "made", 4));
    let whole = world.get(&result).await;
    assert_eq!((whole.status, whole.text.as_str(), whole.header("x-own")), (201, "made", "1"));
    assert_eq!((whole.header("coracle-attempt"), whole.header("coracle-node")), ("2", ""));
    assert_eq!(whole.header("coracle-invocation-id"), "00000000000000000000000000000007");
    assert_eq!((whole.header("connection"), whole.header("content-length")), ("", "4"));
    let head = world.whole(world.request("HEAD", &result).body(empty()).unwrap()).await;
    assert_eq!((head.status, head.text.as_str(), head.header("content-length")), (201, "", "4"));
    let whole = world.get(path).await;
    assert_eq!((whole.status, whole.header("retry-after")), (200, ""));

    sets(InvocationState::Succeeded, answered(200, "", 100_000));
    let whole = world.get(&result).await;
    assert_eq!(problem(&whole), (410, "invocation-not-found"));
    assert!(whole.text.contains("100000 bytes") && whole.text.contains("65536"), "{whole:?}");
    sets(InvocationState::Cancelled, None);
    let whole = world.get(&result).await;
    assert_eq!(problem(&whole), (410, "invocation-not-found"));
    assert!(whole.text.contains("cancelled") && whole.text.contains("\"status\":410"), "{whole:?}");
}

#[tokio::test]
async fn whoever_asks_may_wait_for_the_end() {
    let (world, store) = world().await;
    let path = "/.coracle/invocations/0000000000000000000000000000000a";
    store.put("f", 10, "");
    let waits = world.request("GET", path).header("prefer", "wait=30").body(empty()).unwrap();
    let waited = async {
        until("it ends", || store.state().messages[0].state == InvocationState::Waiting).await;
        store.cancel(0);
    };
    let (whole, ()) = tokio::join!(world.whole(waits), waited);
    assert!(whole.text.contains("\"state\":\"cancelled\""), "{whole:?}");
    store.put("f", 11, "");
    let path = "/.coracle/invocations/0000000000000000000000000000000B?wait=1";
    let whole = world.get(path).await;
    assert!(whole.status == 200 && whole.text.contains("\"state\":\"waiting\""), "{whole:?}");
    for wait in ["0", "61", "x", "-1", ""] {
        let whole =
            world.get(&format!("/.coracle/invocations/0000000000000000000000000000000b?wait={wait}")).await;
        assert_eq!(problem(&whole), (400, "bad-request"), "{wait}");
    }
}

#[tokio::test]
async fn a_call_is_cancelled_and_a_dead_one_given_another_life() {
    let (world, store) = world().await;
    store.put("f", 7, "");
    let path = "/.coracle/invocations/00000000000000000000000000000007";
    let send = async |method: &str, path: &str| {
        world.whole(world.request(method, path).body(empty()).unwrap()).await
    };
    let retry = format!("{path}/retry");
    assert_eq!(problem(&send("POST", &retry).await), (409, "conflict"), "it is no dead letter");
    assert_eq!(store.state().changes, 1);
    let unknown = "/.coracle/invocations/00000000000000000000000000000009";
    assert_eq!(problem(&send("DELETE", unknown).await), (404, "invocation-not-found"));
    assert_eq!(store.state().changes, 1, "nobody is told to change what is not there");
    let whole = send("DELETE", path).await;
    assert!(whole.status == 200 && whole.text.contains("\"state\":\"cancelled\""), "{whole:?}");
    assert_eq!(problem(&send("DELETE", path).await), (409, "conflict"));
    store.state().messages[0].state = InvocationState::Dead;
    let whole = send("POST", &retry).await;
    assert!(whole.status == 200 && whole.text.contains("\"state\":\"waiting\""), "{whole:?}");
    for (method, path, allow) in [
        ("POST", path, "GET, HEAD, DELETE"),
        ("DELETE", &format!("{path}/result"), "GET, HEAD"),
        ("GET", &retry, "POST"),
    ] {
        let whole = send(method, path).await;
        assert_eq!(
            (whole.status, whole.header("allow"), whole.header("coracle-error")),
            (405, allow, "bad-request")
        );
    }
    for missing in [
        "/.coracle/invocations/00000000000000000000000000000008",
        "/.coracle/invocations/7",
        "/.coracle/invocations/",
    ] {
        assert_eq!(problem(&world.get(missing).await), (404, "invocation-not-found"), "{missing}");
    }
    assert_eq!(problem(&world.get(&format!("{path}/more")).await), (404, "reserved-path"));
}

#[tokio::test]
async fn a_call_that_was_accepted_is_run_and_its_answer_kept() {
    let (world, store) = world().await;
    let options = events::Options {
        news_timeout: Duration::ZERO,
        ..events::Options::new(NodeId::new(1), 8, Duration::from_secs(10))
    };
    let stores = Stores::new(world.view.clone(), CLUSTER);
    let (view, metrics) = (world.view.clone(), Arc::clone(&world.metrics));
    let events = Events::new(options, view, stores, world.dispatcher.clone(), metrics, Handle::current());
    let stop = CancellationToken::new();
    let running = tokio::spawn(events.run(stop.clone()));
    let accepted = later(&world, &[], full("body")).await;
    let location = accepted.header("location");
    let whole = world.get(&format!("{location}/result?wait=20")).await;
    assert_eq!((whole.status, whole.text.as_str(), whole.header("coracle-attempt")), (200, "ran", "1"));
    let record = world.get(location).await;
    assert!(
        record.text.contains("\"state\":\"succeeded\"") && record.text.contains("\"outcome\":\"200\""),
        "{record:?}"
    );
    assert_eq!(store.state().messages.len(), 1);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_sent_is_part_of_the_callers_trace_and_its_attempts_of_it() {
    let ended = Recorder::start().await;
    let (world, store) = world().await;
    let caller = ended.caller();
    assert_eq!(later(&world, &[("traceparent", &caller)], empty()).await.status, 202);
    until("the span ended", || ended.count() >= 1).await;
    let spans = ended.take();
    let send = one(&spans, "send f", SpanKind::Producer, CALLER);
    assert_eq!(
        (attribute(send, "messaging.system"), attribute(send, "messaging.operation.type")),
        ("coracle".into(), "send".into())
    );
    let attributes = store.state().submits[0].body.clone().unwrap().attributes;
    assert_eq!(attributes["traceparent"], format!("00-{}-{}-01", ended.trace(), send.span_context.span_id()));
}
