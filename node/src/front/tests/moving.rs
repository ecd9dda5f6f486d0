//! Goal: a call moves to another worker where that cannot run it twice, and only there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::spec::{Draft, Retry};
use coracle_proto::status::Code;
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::replay::KEPT_BYTES_MAX;
use super::world::{Plan, SendBody, Whole, Wire, World, empty, full, nobody};
use crate::call::{Body, CallError};
use crate::view::Phase;
use crate::worker::tests::{Guest, answer, text, until, version};

fn answering(name: &'static str) -> Arc<Guest> {
    Guest::new(move |_| async move { Ok(text(name)) })
}

fn stuck() -> Arc<Guest> {
    Guest::new(async |_| futures::future::pending().await)
}

/// Two workers, of which the first is preferred.
async fn two(first: Arc<Guest>, draft: Draft) -> World {
    let mut plan = Plan::remote(vec![first, answering("second")]);
    plan.draft = draft;
    let world = plan.start().await;
    world.says(1, Phase::Ready);
    world
}

#[tokio::test]
async fn a_refused_call_moves_whatever_its_method() {
    let busy = Guest::new(async |_| Err(CallError::new(Code::Overloaded, "full")));
    let world = two(busy, Draft { retry: Retry::Never, ..Draft::default() }).await;
    let whole = world.whole(world.request("POST", "/f").body(full("body")).unwrap()).await;
    assert_eq!((whole.status, whole.text.as_str()), (200, "second"));
    assert_eq!((whole.header("coracle-attempt"), whole.header("coracle-node")), ("2", "2"));
    assert_eq!((world.workers[0].guest.calls(), world.workers[1].guest.calls()), (1, 1));
}

#[tokio::test]
async fn a_worker_that_is_not_reached_is_passed_over_and_then_avoided() {
    let world = two(answering("first"), Draft::default()).await;
    world.workers[0].wire.send_replace(Wire::Cut);
    let whole = world.whole(world.request("POST", "/f").body(full("body")).unwrap()).await;
    assert_eq!((whole.status, whole.text.as_str(), whole.header("coracle-attempt")), (200, "second", "2"));
    // Set aside for 200 ms; on a slow machine the next call may be the one that looks whether it is back.
    assert_eq!(world.get("/f").await.text, "second");
    world.workers[0].wire.send_replace(Wire::Carries);
    let begun = crate::clock::now();
    while world.get("/f").await.text != "first" {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came back");
    }
}

/// Sends a call to the first worker, and cuts the wire when it runs.
async fn cut_off(world: &World, request: http::request::Builder) -> Whole {
    let sending = world.whole(request.body(full("body")).unwrap());
    let cutting = async {
        until("the first worker runs the call", || world.workers[0].guest.calls() == 1).await;
        world.workers[0].wire.send_replace(Wire::Cut);
    };
    tokio::join!(sending, cutting).0
}

#[tokio::test]
async fn a_post_that_was_sent_is_not_sent_again() {
    let world = two(stuck(), Draft::default()).await;
    let whole = cut_off(&world, world.request("POST", "/f")).await;
    assert_eq!((whole.status, whole.header("coracle-error")), (502, "node-lost"));
    assert_eq!(world.workers[1].guest.calls(), 0);
}

#[tokio::test]
async fn an_idempotent_call_is() {
    for request in [("PUT", None), ("POST", Some(("idempotency-key", "1")))] {
        let world = two(stuck(), Draft::default()).await;
        let mut builder = world.request(request.0, "/f");
        if let Some((name, value)) = request.1 {
            builder = builder.header(name, value);
        }
        let whole = cut_off(&world, builder).await;
        assert_eq!(
            (whole.status, whole.text.as_str(), whole.header("coracle-attempt")),
            (200, "second", "2")
        );
    }
}

#[tokio::test]
async fn a_function_that_forbids_it_is_never_sent_again() {
    let world = two(stuck(), Draft { retry: Retry::Never, ..Draft::default() }).await;
    let whole = cut_off(&world, world.request("PUT", "/f")).await;
    assert_eq!((whole.status, whole.header("coracle-error")), (502, "node-lost"));
    assert_eq!(world.workers[1].guest.calls(), 0);
}

#[tokio::test]
async fn calls_leave_a_stopped_worker_in_a_second_and_a_half() {
    let world = two(stuck(), Draft::default()).await;
    let begun = crate::clock::now();
    let sending = world.get("/f");
    let stopping = async {
        until("the first worker runs the call", || world.workers[0].guest.calls() == 1).await;
        world.workers[0].wire.send_replace(Wire::Stopped);
    };
    let (whole, ()) = tokio::join!(sending, stopping);
    let took = begun.elapsed();
    println!("moved away from a stopped worker after {took:?}");
    assert_eq!((whole.status, whole.text.as_str(), whole.header("coracle-attempt")), (200, "second", "2"));
    // 1.4 s by design; a connection that is given up takes 10 s.
    assert!(took < Duration::from_millis(7500), "{took:?}");
}

#[tokio::test]
async fn a_call_that_can_go_nowhere_else_waits_for_a_stopped_worker() {
    // The only replica; and one that has read more of the body than is kept for another.
    for (others, bytes) in [(vec![], 0), (vec![answering("second")], KEPT_BYTES_MAX + 1)] {
        let (has_read, go) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
        let (reads, going) = (Arc::clone(&has_read), Arc::clone(&go));
        let guest = Guest::new(move |call: crate::call::Call| {
            let (reads, going) = (Arc::clone(&reads), Arc::clone(&going));
            async move {
                let read = call.request.into_body().collect().await.unwrap().to_bytes().len();
                reads.store(read == bytes, Ordering::SeqCst);
                going.notified().await;
                Ok(text("first"))
            }
        });
        let world = Plan::remote([vec![guest], others].concat()).start().await;
        world.says(1, Phase::Ready);
        let body = SendBody::new(Full::from(vec![b'a'; bytes]).map_err(|never| match never {}));
        let sending = world.whole(world.request("PUT", "/f").body(body).unwrap());
        let stopping = async {
            until("the worker has read the call", || has_read.load(Ordering::SeqCst)).await;
            world.workers[0].wire.send_replace(Wire::Stopped);
            until("it is silent", || world.dispatcher.remote().silent() == 1).await;
            go.notify_one();
            world.workers[0].wire.send_replace(Wire::Carries);
        };
        let (whole, ()) = tokio::join!(sending, stopping);
        assert_eq!((whole.status, whole.text.as_str(), whole.header("coracle-attempt")), (200, "first", ""));
    }
}

#[tokio::test]
async fn a_call_waits_for_a_replica_that_is_not_ready_yet() {
    for plan in [Plan::local(answering("there")), Plan::remote(vec![answering("there")])] {
        let world = plan.start().await;
        world.workers[0].assigned.set(&world.version, 1, false);
        let begun = crate::clock::now();
        let readying = async {
            until("a call waits", || world.dispatcher.waiting() > 0).await;
            world.workers[0].assigned.set(&world.version, 1, true);
            world.says(1, Phase::Ready);
        };
        let (whole, ()) = tokio::join!(world.get("/f"), readying);
        assert_eq!((whole.status, whole.text.as_str(), whole.header("coracle-attempt")), (200, "there", ""));
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_call_does_not_wait_longer_than_its_function_may_take() {
    let mut plan = Plan::local(answering("never"));
    plan.draft = Draft { timeout_ms: 200, ..Draft::default() };
    let world = plan.start().await;
    world.workers[0].assigned.set(&world.version, 1, false);
    let begun = crate::clock::now();
    let whole = world.get("/f").await;
    assert_eq!((whole.status, whole.header("coracle-error")), (503, "not-ready"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_body_of_which_too_much_was_read_stays_where_it_is() {
    let read = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&read);
    let greedy = Guest::new(move |call: crate::call::Call| {
        let flag = Arc::clone(&flag);
        async move {
            let _ = http_body_util::BodyExt::collect(call.request.into_body()).await;
            flag.store(true, Ordering::SeqCst);
            Err(CallError::new(Code::Overloaded, "after reading all of it"))
        }
    });
    let world = two(greedy, Draft::default()).await;
    let large = Box::leak("x".repeat(100 << 10).into_boxed_str());
    let whole = world.whole(world.request("PUT", "/f").body(full(large)).unwrap()).await;
    assert_eq!((whole.status, whole.header("coracle-error")), (503, "overloaded"));
    assert!(read.load(Ordering::SeqCst) && world.workers[1].guest.calls() == 0);
    let small = Box::leak("x".repeat(30 << 10).into_boxed_str());
    let whole = world.whole(world.request("PUT", "/f").body(full(small)).unwrap()).await;
    assert_eq!(whole.text, "second");
}

/// One worker, which the gateway looks for where nobody is.
async fn unreachable(draft: Draft) -> (World, tokio::net::TcpSocket) {
    let mut plan = Plan::remote(vec![answering("first")]);
    plan.draft = draft;
    let world = plan.start().await;
    let (socket, nowhere) = nobody();
    world.moves(1, nowhere);
    (world, socket)
}

#[tokio::test]
async fn a_call_that_reached_nobody_is_told_that_it_may_be_sent_again() {
    let (world, _nowhere) = unreachable(Draft { timeout_ms: 200, ..Draft::default() }).await;
    let post = || world.request("POST", "/f").body(full("body")).unwrap();
    let whole = world.whole(post()).await;
    assert_eq!((whole.status, whole.header("coracle-error")), (503, "no-replica"), "{}", whole.text);
    assert!(whole.text.contains("node 1 was not reached"), "{}", whole.text);
    assert_eq!(world.workers[0].guest.calls(), 0);
    world.moves(1, world.workers[0].address);
    assert_eq!(world.whole(post()).await.status, 200, "one worker alone is asked even after it failed");
}

#[tokio::test]
async fn a_call_waits_for_a_worker_that_is_started_anew() {
    let (world, _nowhere) = unreachable(Draft::default()).await;
    let coming = async {
        until("a call waits", || world.dispatcher.waiting() > 0).await;
        world.moves(1, world.workers[0].address);
    };
    let (whole, ()) =
        tokio::join!(world.whole(world.request("POST", "/f").body(full("body")).unwrap()), coming);
    assert_eq!((whole.status, whole.text.as_str()), (200, "first"));
    assert_eq!(world.workers[0].guest.calls(), 1);
}

#[tokio::test]
async fn a_call_that_asks_in_vain_does_not_ask_again_at_each_change_of_the_view() {
    let (world, _nowhere) = unreachable(Draft { timeout_ms: 1000, ..Draft::default() }).await;
    let changing = async {
        let mut every = tokio::time::interval(Duration::from_millis(5));
        loop {
            every.tick().await;
            world.says(1, Phase::Ready);
        }
    };
    let whole = tokio::select! {
        whole = world.get("/f") => whole,
        () = changing => unreachable!("it changes for ever"),
    };
    assert_eq!((whole.status, whole.header("coracle-error")), (503, "no-replica"), "{}", whole.text);
    // Five pauses of 200 ms in its second; on a slow machine fewer. Without them, one at every change.
    let asked = world.front.inner.metrics.retries("unreached");
    assert!((2..=7).contains(&asked), "asked {asked} times");
}

#[tokio::test]
async fn a_function_without_a_replica_says_so() {
    let mut plan = Plan::remote(vec![]);
    plan.draft = Draft { timeout_ms: 200, ..Draft::default() };
    let world = plan.start().await;
    let whole = world.get("/f").await;
    assert_eq!((whole.status, whole.header("coracle-error")), (503, "no-replica"), "{}", whole.text);
    assert_eq!(whole.header("retry-after"), "1");
}

#[tokio::test]
async fn a_fault_of_one_function_takes_no_other_one_from_its_node() {
    let faulty = Guest::new(async |call: crate::call::Call| match call.version.id.function.name.as_str() {
        "f" => Err(CallError::new(Code::Internal, "its code cannot be read")),
        _ => Ok(text("first")),
    });
    let world = two(faulty, Draft::default()).await;
    world.add(&version("g", Draft::default()), "/g/*");
    assert_eq!(world.get("/f").await.header("coracle-error"), "internal");
    // Posts never try whether a node is back. One of two at random: a hundred all miss with a chance of 2^-100.
    for sent in 1.. {
        let whole = world.whole(world.request("POST", "/g").body(empty()).unwrap()).await;
        if whole.text == "first" {
            break;
        }
        assert!(sent < 100, "the node is left out");
    }
}

/// Bodies that nobody reads fill their own windows only: else they would hold up the connection's other calls, and the
/// pings, without which the worker counts as silent.
#[tokio::test]
async fn callers_that_send_and_do_not_read_hold_up_nobody_else() {
    let unread = Guest::new(async |call: crate::call::Call| match call.version.id.function.name.as_str() {
        "f" => {
            let endless = stream::repeat(Bytes::from_static(&[b'x'; 64 << 10])).map(move |data| {
                let _unread = &call;
                Ok(Frame::data(data))
            });
            Ok(answer(Body::new(StreamBody::new(endless))))
        }
        _ => Ok(text("served")),
    });
    let world = Plan::remote(vec![unread.clone()]).start().await;
    world.add(&version("g", Draft::default()), "/g/*");
    let mut callers = Vec::new();
    for _ in 0..80 {
        let mut caller = TcpStream::connect(world.address).await.unwrap();
        callers.push(tokio::spawn(async move {
            let head = b"POST /f HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n";
            caller.write_all(head).await.unwrap();
            let chunk = vec![b'x'; 64 << 10];
            while caller.write_all(&chunk).await.is_ok() {}
        }));
    }
    until("all are served", || unread.open() == 80).await;
    // As long as it takes to miss pings, and twice that.
    let begun = crate::clock::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let whole = tokio::time::timeout(Duration::from_secs(2), world.get("/g")).await;
        let whole = whole.expect("it waits behind the others");
        assert_eq!((whole.status, whole.text.as_str()), (200, "served"));
        tokio::time::sleep(Duration::from_millis(20)).await; // a bounded poll
    }
    assert_eq!(unread.open(), 80, "they are still there");
    for caller in callers {
        caller.abort();
    }
}
