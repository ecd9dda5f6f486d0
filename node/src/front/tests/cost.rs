//! Goal: what the gateway and the worker add to a guest's own time on one node. Figures of a test build.

use std::time::Duration;

use coracle_proto::id::InvocationId;
use http::Request;

use super::world::{Plan, World, empty};
use crate::call::{Receipt, Trigger};
use crate::dispatch::Invocation;
use crate::front::headers::{authority, for_guest};
use crate::front::replay::Replay;
use crate::worker::tests::{Guest, text};

const CALLS: u32 = 5_000;

async fn in_process(world: &World) -> Duration {
    let begun = crate::clock::now();
    for _ in 0..CALLS {
        let (mut parts, ()) = Request::get("/f/x")
            .header("host", "a.example")
            .header("accept", "*/*")
            .body(())
            .unwrap()
            .into_parts();
        let authority = authority(&parts).unwrap();
        for_guest(&mut parts, authority, None, world.address).unwrap();
        let invocation = Invocation {
            id: InvocationId::new(rand::random()),
            function: world.version.id.function.clone(),
            trigger: Trigger::Http { route: "/f".to_owned(), remote: Some(world.address) },
            head: parts,
            body: Box::new(Replay::Empty),
            repeatable: true,
            receipt: Receipt::default(),
        };
        let answered = world.dispatcher.dispatch(&invocation).await.unwrap();
        assert_eq!(answered.response.status(), 200);
    }
    begun.elapsed() / CALLS
}

async fn over_http(world: &World) -> Duration {
    let begun = crate::clock::now();
    for _ in 0..CALLS {
        let response = world.send(world.request("GET", "/f").body(empty()).unwrap()).await;
        http_body_util::BodyExt::collect(response).await.unwrap();
    }
    begun.elapsed() / CALLS
}

#[tokio::test]
async fn what_a_call_costs() {
    let guest = || Guest::new(async |_| Ok(text("ok")));
    let local = Plan::local(guest()).start().await;
    let remote = Plan::remote(vec![guest()]).start().await;
    let (inside, outside, hop) =
        (in_process(&local).await, over_http(&local).await, over_http(&remote).await);
    println!("one call: {inside:?} in process, {outside:?} over HTTP, {hop:?} over HTTP and another node");
    // Five times what a busy machine takes: a sleep or a lost wake-up shows above it.
    assert!(
        inside < Duration::from_millis(5) && outside < Duration::from_millis(25),
        "{inside:?} {outside:?}"
    );
    assert!(hop < Duration::from_millis(100), "{hop:?}");
}
