//! Goal: a caller that leaves, or stays and does not read, stops the guest, here and on another node.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::spec::Draft;
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

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

#[tokio::test]
async fn a_caller_that_does_not_read_is_given_up() {
    // More than all windows and buffers on the way hold.
    let guest = Guest::new(async |_| {
        let endless = stream::repeat(Bytes::from_static(&[b'x'; 64 << 10]));
        Ok(answer(Body::new(StreamBody::new(endless.map(|data| Ok(Frame::data(data)))))))
    });
    for (place, mut plan) in plans(&guest) {
        plan.draft = Draft { idle_timeout_ms: 300, ..Draft::default() };
        let world = plan.start().await;
        let worker = &world.workers[0];
        let mut caller = TcpStream::connect(world.address).await.unwrap();
        caller.write_all(b"GET /f HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        until("the guest runs", || guest.open() == 1 && worker.executor.load().in_flight == 1).await;
        let begun = crate::clock::now();
        until("the guest is stopped", || guest.open() == 0 && worker.executor.load().in_flight == 0).await;
        println!("{place}: the slot was free after {:?}", begun.elapsed());
        assert!(begun.elapsed() > Duration::from_millis(250), "{:?}", begun.elapsed());
        drop(caller);
    }
}
