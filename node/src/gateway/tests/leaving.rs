//! Goal: a caller that leaves stops the guest, before the head and during the body, here and on another node.

use std::time::Duration;

use http_body_util::StreamBody;

use super::world::{Plan, empty};
use crate::call::Body;
use crate::worker::tests::{Guest, answer, until};

/// The design's bound is 50 ms for the slot of a guest that loops; the rest is for a busy test machine.
const BOUND: Duration = Duration::from_millis(500);

fn plans(guest: &std::sync::Arc<Guest>) -> [(&'static str, Plan); 2] {
    [("here", Plan::local(guest.clone())), ("elsewhere", Plan::remote(vec![guest.clone()]))]
}

#[tokio::test]
async fn before_the_head() {
    let guest = Guest::new(async |_| futures::future::pending().await);
    for (place, plan) in plans(&guest) {
        let world = plan.start().await;
        let worker = &world.workers[0];
        let before = guest.calls();
        let request = world.client.request(world.request("GET", "/f").body(empty()).unwrap());
        let calling = tokio::spawn(request);
        until("the guest runs", || guest.calls() == before + 1 && worker.executor.load().in_flight == 1)
            .await;
        calling.abort();
        let begun = crate::clock::now();
        until("the guest is stopped", || guest.open() == 0 && worker.executor.load().in_flight == 0).await;
        println!("{place}: the slot was free after {:?}", begun.elapsed());
        assert!(begun.elapsed() < BOUND);
    }
}

#[tokio::test]
async fn during_the_body() {
    let guest = Guest::new(async |_| Ok(answer(Body::new(StreamBody::new(futures::stream::pending())))));
    for (place, plan) in plans(&guest) {
        let world = plan.start().await;
        let worker = &world.workers[0];
        let response = world.send(world.request("GET", "/f").body(empty()).unwrap()).await;
        assert_eq!((guest.open(), worker.executor.load().in_flight), (1, 1));
        drop(response);
        let begun = crate::clock::now();
        until("the guest is stopped", || guest.open() == 0 && worker.executor.load().in_flight == 0).await;
        println!("{place}: the slot was free after {:?}", begun.elapsed());
        assert!(begun.elapsed() < BOUND);
    }
}
