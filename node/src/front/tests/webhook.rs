//! Goal: what comes to a webhook is passed on byte by byte, and whoever sends it hears in HTTP what the store said.

use coracle_proto::id::InvocationId;
use coracle_proto::status::Code;
use http_body_util::{BodyExt as _, Full};

use super::world::{Plan, SendBody, Whole, World};
use crate::stores::BODY_BYTES_MAX;
use crate::stores::tests::fake::Store;
use crate::worker::tests::{Guest, text};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A gateway whose store has the webhook `w` in every namespace.
async fn world() -> (World, Store) {
    let world = Plan::local(Guest::new(async |_| Ok(text("ran")))).start().await;
    let store = Store::start().await;
    world.change(Store::records(&[&store]));
    world.view.update(|view| {
        (view.routing.following, view.routing.told) = (true, true);
        true
    });
    (world, store)
}

async fn asked(
    world: &World,
    (method, to): (&str, &str),
    headers: &[(&str, &[u8])],
    body: impl Into<bytes::Bytes>,
) -> Whole {
    let request = world.request(method, &format!("/.coracle/webhook/{to}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let body = SendBody::new(Full::from(body.into()).map_err(|never| match never {}));
    world.whole(request.body(body).unwrap()).await
}

fn problem(whole: &Whole) -> (u16, &str) {
    (whole.status, whole.header("coracle-error"))
}

const SIGNED: (&str, &[u8]) = ("x-signed", b"yes");

#[tokio::test]
async fn what_is_signed_is_passed_on_as_it_came_and_accepted_once() {
    let (world, store) = world().await;
    let body = b"\xff\0raw\r\n";
    let headers = [SIGNED, ("x-id", &b"1"[..]), ("x-odd", b"\xe9"), ("traceparent", TRACE.as_bytes())];
    let first = asked(&world, ("POST", "shop/w"), &headers, &body[..]).await;
    let id = first.header("coracle-invocation-id").to_owned();
    assert_eq!((first.status, first.header("content-type")), (202, "application/json"));
    assert_eq!(first.header("location"), format!("/.coracle/invocations/{id}"));
    assert_eq!(first.text, format!("{{\"invocation\":\"{id}\",\"repeated\":false}}"));
    let again = asked(&world, ("POST", "shop/w"), &headers, &body[..]).await;
    assert_eq!(again.text, format!("{{\"invocation\":\"{id}\",\"repeated\":true}}"));
    let sent = store.state().hooked[0].clone();
    assert_eq!((sent.place.unwrap().namespace.as_str(), sent.webhook.as_str()), ("shop", "w"));
    assert_eq!(InvocationId::try_from(&sent.invocation[..]).unwrap().to_string(), id);
    assert_eq!((&sent.body[..], sent.hops), (&body[..], 0));
    let header = |name: &str| sent.headers.iter().find(|it| it.name == name).map(|it| it.value.to_vec());
    assert_eq!((header("x-odd"), header("x-id")), (Some(b"\xe9".to_vec()), Some(b"1".to_vec())));
    assert_eq!(sent.trace["traceparent"], TRACE);
    let empty = asked(&world, ("POST", "w"), &[SIGNED, ("x-id", b"2")], "").await;
    assert_eq!(empty.status, 202);
    let sent = store.state().hooked.last().unwrap().clone();
    assert_eq!((sent.place.unwrap().namespace.as_str(), sent.body.len()), ("default", 0));
}

#[tokio::test]
async fn what_the_sender_wants_to_hear_is_all_that_it_hears() {
    let (world, store) = world().await;
    let whole = asked(&world, ("POST", "w"), &[SIGNED, ("x-challenge", b"3eZbr")], "{}").await;
    assert_eq!((whole.status, whole.text.as_str()), (200, "3eZbr"));
    assert_eq!(whole.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(whole.header("coracle-invocation-id"), "");
    assert!(store.state().messages.is_empty());
}

#[tokio::test]
async fn what_is_refused_says_why_with_its_status() {
    let (world, store) = world().await;
    let whole = asked(&world, ("POST", "w"), &[], "{}").await;
    assert_eq!(problem(&whole), (401, "webhook-refused"));
    assert!(whole.text.contains("it is not signed"), "{whole:?}");
    assert_eq!(problem(&asked(&world, ("POST", "v"), &[SIGNED], "").await), (404, "webhook-not-found"));
    assert_eq!(problem(&asked(&world, ("POST", "W"), &[SIGNED], "").await), (404, "webhook-not-found"));
    assert_eq!(problem(&asked(&world, ("POST", "a/b/c"), &[SIGNED], "").await), (404, "reserved-path"));
    let passed = store.state().hooked.len();
    let large = vec![b'x'; BODY_BYTES_MAX + 1];
    assert_eq!(problem(&asked(&world, ("POST", "w"), &[SIGNED], large).await), (413, "request-too-large"));
    let chain = ["coracle"; 17].join(", ");
    let whole = asked(&world, ("POST", "w"), &[SIGNED, ("cdn-loop", chain.as_bytes())], "").await;
    assert_eq!(problem(&whole), (508, "loop-detected"));
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let whole = asked(&world, (method, "w"), &[SIGNED], "").await;
        assert_eq!((whole.status, whole.header("allow")), (405, "GET, HEAD, POST"), "{method}");
    }
    assert_eq!(store.state().hooked.len(), passed, "the store is not asked");
    let whole = asked(&world, ("POST", "w"), &[SIGNED, ("cdn-loop", b"coracle, coracle")], "").await;
    assert_eq!((whole.status, store.state().hooked.last().unwrap().hops), (202, 2));
    store.state().refuses = Some(Code::QueueFull);
    assert_eq!(problem(&asked(&world, ("POST", "w"), &[SIGNED], "").await), (429, "queue-full"));
}

#[tokio::test]
async fn who_looks_is_told_how_a_sender_is_told() {
    let (world, store) = world().await;
    let whole = asked(&world, ("GET", "shop/any"), &[], "").await;
    assert_eq!(whole.status, 200);
    assert!(whole.text.contains("http://HOST/.coracle/webhook/shop/any"), "{whole:?}");
    assert!(store.state().hooked.is_empty(), "whether there is one is not told");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_changes_nothing() {
    let (world, store) = world().await;
    store.state().loses = 1;
    let whole = asked(&world, ("POST", "w"), &[SIGNED, ("x-id", b"1")], "{}").await;
    assert_eq!(whole.status, 202, "{whole:?}");
    let state = store.state();
    assert_eq!((state.hooked.len(), state.messages.len()), (2, 1));
}
