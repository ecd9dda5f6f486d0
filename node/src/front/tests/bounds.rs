//! Goal: callers that send nothing, too slowly, or come too many, are turned away; a stopped gateway ends its calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::world::{Plan, World, empty};
use crate::call::Body;
use crate::front::{Options, SHUT_TIME};
use crate::worker::tests::{Guest, answer, text, until};

async fn world(options: Options) -> World {
    let mut plan = Plan::local(Guest::new(async |_| Ok(text("ok"))));
    plan.options = options;
    plan.start().await
}

/// Reads until the other side closes; its time is the bound.
async fn closed(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut said)).await;
    // A reset is as closed as an end.
    let _ = reading.expect("the connection stays open");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_head_must_come_in_time() {
    let world = world(Options { header_timeout: Duration::from_millis(300), ..Options::DEFAULTS }).await;
    for sent in ["", "P", "PRI * HTTP/2.0", "GET /f HTTP/1.1\r\nhost: a\r\nx-slow:"] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let begun = crate::clock::now();
        closed(&mut stream).await;
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(200) && took < Duration::from_secs(2), "'{sent}': {took:?}");
    }
    assert_eq!(world.get("/f").await.status, 200);
}

#[tokio::test]
async fn connections_over_the_cap_are_told_so() {
    let guest = Guest::new(async |_| futures::future::pending().await);
    let mut plan = Plan::local(Arc::clone(&guest));
    plan.options = Options { connections_max: 2, ..Options::DEFAULTS };
    let world = plan.start().await;
    assert_eq!(world.front.shut(), None);
    let mut open = Vec::new();
    for (caller, bound) in [(1, "'127.0.0.1' has 1 open connections"), (2, "has 2 open connections")] {
        open.push(calling(&world, caller).await);
        until("it is called", || guest.calls() == u32::from(caller)).await;
        // Each is being answered, so none makes room.
        let said = turned_away(&world, if caller == 1 { 1 } else { 3 }).await;
        assert!(said.starts_with("HTTP/1.1 503"), "{said}");
        assert!(said.contains("coracle-error: too-many-connections"), "{said}");
        assert!(said.contains(bound), "the bound is not named: {said}");
    }
    let shut = world.front.shut().expect("nobody is let in, and nobody is told");
    assert!(shut.contains("2 open connections, all with open calls"), "{shut}");
    open.clear();
    until("there is room again", || world.front.inner.metrics.connections.get() == 0).await;
    assert_eq!(world.front.shut(), None);
    let _last = calling(&world, 1).await;
    until("it is called", || guest.calls() == 3).await;
}

async fn calling(world: &World, caller: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, caller], 0).into()).unwrap();
    let mut stream = socket.connect(world.address).await.unwrap();
    stream.write_all(b"GET /f HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream
}

async fn turned_away(world: &World, caller: u8) -> String {
    let mut stream = calling(world, caller).await;
    let mut said = vec![0; 1024];
    let reading = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut said));
    let count = reading.await.expect("it is let in").unwrap();
    String::from_utf8_lossy(&said[..count]).into_owned()
}

/// A crowd of connections that ask nothing is no reason to turn anybody away.
#[tokio::test]
async fn who_asks_nothing_makes_room_for_who_does() {
    let world = world(Options { connections_max: 16, ..Options::DEFAULTS }).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"GET /f HTTP/1.1\r\nhost:").await.unwrap();
        crowd.push(stream);
    }
    assert_eq!(world.get("/f").await.status, 200);
    assert!(world.front.inner.places.count() <= 8, "{}", world.front.inner.places.count());
    assert_eq!(world.front.shut(), None);
    closed(&mut crowd[0]).await;
}

/// Whoever met it may have been the last to come: a load balancer sends nobody more.
#[tokio::test]
async fn what_kept_callers_out_is_over_when_it_is_not_met_again() {
    let world = world(Options::DEFAULTS).await;
    world.front.says_shut(Some(&std::io::Error::other("too many open files")));
    let now = crate::clock::now();
    let shut = world.front.shut_at(now).expect("nobody is told");
    assert!(shut.contains("can accept no connection: too many open files"), "{shut}");
    assert_eq!(world.front.shut_at(now + SHUT_TIME), None);
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_closed() {
    let guest = Guest::new(async |_| {
        let endless = stream::repeat(Bytes::from_static(&[b'x'; 64 << 10]));
        Ok(answer(Body::new(StreamBody::new(endless.map(|data| Ok(Frame::data(data)))))))
    });
    let mut plan = Plan::local(guest);
    plan.options = Options { write_timeout: Duration::from_millis(300), ..Options::DEFAULTS };
    let world = plan.start().await;
    let connections = &world.front.inner.metrics.connections;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"GET /f HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until("it is served", || connections.get() == 1).await;
    let begun = crate::clock::now();
    until("it is closed", || connections.get() == 0).await;
    assert!(begun.elapsed() > Duration::from_millis(250), "{:?}", begun.elapsed());
    drop(stream);
}

/// Answered before its body has come: a caller that sends all of it first still reads the answer.
#[tokio::test]
async fn a_caller_that_is_answered_early_reads_the_answer() {
    let world = world(Options::DEFAULTS).await;
    let body = vec![b'x'; 1 << 20];
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!("POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 32 * body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..32 {
        stream.write_all(&body).await.unwrap();
    }
    let said = closed(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 404") && said.contains("coracle-error: route-not-found"), "{said}");
}

#[tokio::test]
async fn a_caller_that_sends_for_ever_is_cut_off() {
    let world = world(Options::DEFAULTS).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = "POST /nowhere HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let mut sent = 0;
    while stream.write_all(&chunk).await.is_ok() {
        sent += 1;
        assert!(sent < 1024, "nothing ends it");
    }
    println!("cut off after {sent} MiB");
}

#[test]
fn there_are_no_more_connections_than_files_for_them() {
    assert_eq!(Options::DEFAULTS.within(1024).connections_max, 512);
    assert_eq!(Options::DEFAULTS.within(0).connections_max, 1);
    assert_eq!(Options::DEFAULTS.within(u64::MAX).connections_max, Options::DEFAULTS.connections_max);
}

#[tokio::test]
async fn a_request_without_a_host_is_bad() {
    let world = world(Options::DEFAULTS).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"GET /f HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let said = closed(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("coracle-error: bad-request"), "{said}");
    let mut old = TcpStream::connect(world.address).await.unwrap();
    old.write_all(b"GET http://a.example/f HTTP/1.0\r\n\r\n").await.unwrap();
    let said = closed(&mut old).await;
    assert!(said.starts_with("HTTP/1.0 200"), "{said}");
}

#[tokio::test]
async fn a_stopped_gateway_ends_open_calls_and_takes_no_new_ones() {
    let (started, go) =
        (std::sync::Arc::new(tokio::sync::Notify::new()), std::sync::Arc::new(tokio::sync::Notify::new()));
    let (tell, wait) = (started.clone(), go.clone());
    let guest = Guest::new(move |_| {
        let (tell, wait) = (tell.clone(), wait.clone());
        async move {
            tell.notify_one();
            wait.notified().await;
            Ok(text("ended"))
        }
    });
    let world = Plan::local(guest).start().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let running =
        tokio::spawn(world.front.clone().run(listener, tokio::runtime::Handle::current(), stop.clone()));
    let request = http::Request::get(format!("http://{address}/f")).body(empty()).unwrap();
    let calling = tokio::spawn(world.client.request(request));
    started.notified().await;
    stop.cancel();
    until("it accepts no more", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!running.is_finished());
    go.notify_one();
    assert_eq!(calling.await.unwrap().unwrap().status(), 200);
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn calls_that_are_open_are_bounded() {
    let world = Plan::local(Guest::new(async |_| Ok(text("here")))).start().await;
    let open = &world.front.inner.open;
    let all: Vec<_> = std::iter::from_fn(|| open.take([127, 0, 0, 1].into(), 1).ok()).collect();
    let refused = world.get("/f").await;
    assert_eq!((refused.status, refused.header("coracle-error")), (503, "overloaded"));
    assert!(refused.text.contains("2048 of the 4096"), "{}", refused.text);
    drop(all);
    // A place is given back when the answer was read.
    assert_eq!(world.get("/f").await.text, "here");
    until("every place is free", || open.count() == 0).await;
}
