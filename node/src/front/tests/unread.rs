//! Goal: HTTP/2 callers that open streams and take nothing hold neither places nor memory past their time, and close the
//! gateway to nobody else. Their connections are alive: they answer pings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_proto::spec::Draft;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::world::{Plan, SendBody, World, empty};
use crate::front::{OPEN_MAX, Options};
use crate::worker::tests::{Guest, text, until};

/// One connection that grants each stream so many bytes.
fn caller(window: u32, address: [u8; 4]) -> Client<HttpConnector, SendBody> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(address.into()));
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(window)
        .build(connector)
}

async fn heads(
    world: &World,
    caller: &Client<HttpConnector, SendBody>,
    method: &str,
    path: &str,
    count: usize,
) -> Vec<Response<Incoming>> {
    let requests = (0..count).map(|_| caller.request(world.request(method, path).body(empty()).unwrap()));
    futures::future::join_all(requests).await.into_iter().map(Result::unwrap).collect()
}

/// A small answer of a function, and one of the platform's own.
const PATHS: [&str; 2] = ["/f", "/nowhere"];

async fn world() -> World {
    let mut plan = Plan::local(Guest::new(async |_| Ok(text("small"))));
    plan.draft = Draft { idle_timeout_ms: 300, ..Draft::default() };
    let wait = Duration::from_millis(300);
    plan.options = Options { write_timeout: wait, drain_timeout: wait, ..Options::DEFAULTS };
    plan.start().await
}

#[tokio::test]
async fn streams_without_a_window_are_reset_and_their_connection_serves_on() {
    let world = world().await;
    for path in PATHS {
        let stuck = caller(0, [127, 0, 0, 1]);
        let mut answers = heads(&world, &stuck, "GET", path, 20).await;
        let (open, connections) = (&world.front.inner.open, &world.front.inner.metrics.connections);
        assert_eq!((open.count(), connections.get()), (if path == "/f" { 20 } else { 0 }, 1), "{path}");
        until("every place is free", || open.count() == 0).await;
        for answer in &mut answers {
            let reset = answer.body_mut().frame().await.unwrap().unwrap_err();
            assert!(format!("{reset:?}").contains("CANCEL"), "{path}: {reset:?}");
        }
        assert_eq!(heads(&world, &stuck, "HEAD", path, 1).await.len(), 1);
        assert_eq!(connections.get(), 1, "{path}: it is still the same one");
        drop((answers, stuck));
        until("its caller has left", || connections.get() == 0).await;
    }
}

/// The protocol takes these for ended: only the connection's end gives back what waits in its buffers.
#[tokio::test]
async fn a_connection_that_takes_a_part_is_closed() {
    let world = world().await;
    for path in PATHS {
        let stuck = caller(1, [127, 0, 0, 1]);
        let answers = heads(&world, &stuck, "GET", path, 20).await;
        let (open, connections) = (&world.front.inner.open, &world.front.inner.metrics.connections);
        assert_eq!((open.count(), connections.get()), (if path == "/f" { 20 } else { 0 }, 1), "{path}");
        until("it is closed", || connections.get() == 0).await;
        assert_eq!(open.count(), 0, "{path}");
        drop(answers);
    }
}

/// Seventeen connections of 250 streams were enough for all of a gateway.
#[tokio::test]
async fn one_caller_does_not_close_the_gateway_to_another() {
    let plan = Plan::local(Guest::new(async |_| Ok(text("small"))));
    let world = plan.start().await;
    let refused = AtomicU32::new(0);
    let mut held = Vec::new();
    for _ in 0..17 {
        let stuck = caller(0, [127, 0, 0, 2]);
        let answers = heads(&world, &stuck, "GET", "/f", 250).await;
        let full = answers.iter().filter(|answer| answer.status() == 503).count();
        refused.fetch_add(u32::try_from(full).unwrap(), Ordering::Relaxed);
        held.push((stuck, answers));
    }
    assert_eq!(world.front.inner.open.count(), OPEN_MAX / 2, "it has what is free, and no more");
    assert!(refused.load(Ordering::Relaxed) > 2000, "{refused:?}");
    assert_eq!(world.get("/f").await.text, "small");
    drop(held);
    let open = Arc::clone(&world.front.inner.open);
    until("every place is free", || open.count() == 0).await;
}
