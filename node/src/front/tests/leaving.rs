//! Goal: a caller that leaves, or stays and does not read, stops the guest, here and on another node. The design's 50 ms
//! are printed, not asserted: a busy machine takes longer.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::spec::Draft;
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::world::{Plan, SendBody, empty};
use crate::call::{Body, Call, CallError};
use crate::worker::tests::{Guest, answer, text, until};

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
    }
}

/// A guest that reads nothing keeps the gateway from reading on, and so from meeting the end of the connection.
#[tokio::test]
async fn while_its_body_is_unread() {
    let before_head = Guest::new(async |call: Call| {
        let _unread = call;
        futures::future::pending().await
    });
    let after_head = Guest::new(async |call: Call| {
        let body = stream::pending().map(move |never: Result<Frame<Bytes>, CallError>| {
            let _unread = &call;
            never
        });
        Ok(answer(Body::new(StreamBody::new(body))))
    });
    for (guest, sent, promised, reset) in [
        (&before_head, 20 << 10, 20 << 10, false),
        (&before_head, 8 << 20, 9 << 20, true),
        (&after_head, 64 << 10, 9 << 20, false),
    ] {
        for (place, plan) in plans(guest) {
            let world = plan.start().await;
            let worker = &world.workers[0];
            let mut caller = TcpStream::connect(world.address).await.unwrap();
            let head = format!("POST /f HTTP/1.1\r\nhost: a\r\ncontent-length: {promised}\r\n\r\n");
            caller.write_all(head.as_bytes()).await.unwrap();
            // As much of it as all buffers on the way take.
            let body = vec![b'x'; sent];
            let _ = tokio::time::timeout(Duration::from_millis(300), caller.write_all(&body)).await;
            until("the guest runs", || guest.open() == 1 && worker.executor.load().in_flight == 1).await;
            if reset {
                caller.set_zero_linger().unwrap();
            }
            drop(caller);
            let begun = crate::clock::now();
            until("the guest is stopped", || guest.open() == 0 && worker.executor.load().in_flight == 0)
                .await;
            println!("{place}, {sent} bytes: the slot was free after {:?}", begun.elapsed());
        }
    }
}

/// A guest that sends back what comes, and a caller that sends and does not read: every window is full when it leaves.
#[tokio::test]
async fn while_nothing_moves_in_either_direction() {
    let echo = Guest::new(async |call: Call| {
        let pieces = call.request.into_body().into_data_stream().map(|piece| piece.map(Frame::data));
        Ok(answer(Body::new(StreamBody::new(pieces))))
    });
    for (place, plan) in plans(&echo) {
        let world = plan.start().await;
        let worker = &world.workers[0];
        let mut caller = TcpStream::connect(world.address).await.unwrap();
        caller.write_all(b"POST /f HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
        let (chunk, mut sent) = (vec![b'x'; 64 << 10], 0);
        while tokio::time::timeout(Duration::from_millis(300), caller.write_all(&chunk)).await.is_ok() {
            sent += chunk.len();
        }
        assert_eq!((echo.open(), worker.executor.load().in_flight), (1, 1));
        drop(caller);
        let begun = crate::clock::now();
        until("the guest is stopped", || echo.open() == 0 && worker.executor.load().in_flight == 0).await;
        println!("{place}, {sent} bytes: the slot was free after {:?}", begun.elapsed());
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

/// Its connection is alive, and it has opened a window for no byte of the answer.
#[tokio::test]
async fn an_http_2_caller_that_takes_nothing_is_given_up() {
    let guest = Guest::new(async |_| Ok(text("x".repeat(6 << 20))));
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(0)
        .build_http::<SendBody>();
    for (place, mut plan) in plans(&guest) {
        plan.draft = Draft { idle_timeout_ms: 300, ..Draft::default() };
        let world = plan.start().await;
        let begun = crate::clock::now();
        let response = client.request(world.request("GET", "/f").body(empty()).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
        until("the answer is given up", || guest.open() == 0).await;
        println!("{place}: the answer was given up after {:?}", begun.elapsed());
        assert!(begun.elapsed() > Duration::from_millis(250), "{:?}", begun.elapsed());
        drop(response);
    }
}
