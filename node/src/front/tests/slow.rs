//! Goal: callers that send their bodies slowly take no place from others: small bodies are read before a place is taken,
//! and a call that waits for the rest of a long one makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_proto::spec::Draft;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::world::{Plan, World, empty, full};
use crate::front::{GATHERING_MAX, Options};
use crate::worker::tests::{Guest, text, until};

/// A guest that counts those of its calls which have begun to read, and says how much it was sent.
fn counting(begun: Arc<AtomicU32>) -> Arc<Guest> {
    Guest::new(move |call| {
        begun.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = call.request.into_body().collect().await?;
            Ok(text(format!("{} bytes", body.to_bytes().len())))
        }
    })
}

async fn world(concurrency: u32) -> (World, Arc<AtomicU32>) {
    let begun = Arc::<AtomicU32>::default();
    let mut plan = Plan::local(counting(Arc::clone(&begun)));
    plan.draft = Draft { concurrency, ..Draft::default() };
    (plan.start().await, begun)
}

/// A caller that sends a head and a beginning.
async fn slow(world: &World, caller: u8, head: &str, beginning: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, caller], 0).into()).unwrap();
    let mut stream = socket.connect(world.address).await.unwrap();
    let head = format!("POST /f HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), beginning].concat()).await.unwrap();
    stream
}

async fn read(stream: &mut TcpStream) -> String {
    let mut said = vec![0; 4096];
    let count = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut said)).await;
    String::from_utf8_lossy(&said[..count.expect("no answer").unwrap()]).into_owned()
}

#[tokio::test]
async fn a_small_body_is_read_before_its_call_takes_a_place() {
    let (world, begun) = world(2).await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(slow(&world, 1, "content-length: 9", b"half").await);
    }
    until("all of them are here", || world.front.inner.open.count() == 20).await;
    let answer = world.whole(world.request("POST", "/f").body(full("here")).unwrap()).await;
    assert_eq!((answer.status, &*answer.text), (200, "4 bytes"));
    assert_eq!(begun.load(Ordering::SeqCst), 1, "calls took places while their bodies were not here");
    // One that goes on after all is answered like any other.
    crowd[0].write_all(b"-more").await.unwrap();
    let said = read(&mut crowd[0]).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("9 bytes"), "{said}");
    drop(crowd);
    until("those that left are gone", || world.front.inner.open.count() == 0).await;
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn where_too_many_bodies_are_read_first_the_others_stream() {
    let (world, begun) = world(2).await;
    let gathering = &world.front.inner.gathering;
    let held: Vec<_> = (1..=64)
        .flat_map(|host| std::iter::from_fn(move || gathering.take([10, 0, 0, host].into(), 1).ok()))
        .collect();
    assert_eq!((held.len(), gathering.max()), (GATHERING_MAX, GATHERING_MAX));
    let mut caller = slow(&world, 1, "content-length: 9", b"half").await;
    until("its call is sent", || begun.load(Ordering::SeqCst) == 1).await;
    caller.write_all(b"-more").await.unwrap();
    let said = read(&mut caller).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("9 bytes"), "{said}");
}

/// A thousand chunks of a byte each.
#[tokio::test]
async fn a_body_in_small_pieces_is_the_same_for_who_reads_it() {
    let (world, _) = world(2).await;
    let body = [b"1\r\nx\r\n".repeat(1000), b"0\r\n\r\n".to_vec()].concat();
    let mut caller = slow(&world, 1, "transfer-encoding: chunked", &body).await;
    let said = read(&mut caller).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("1000 bytes"), "{said}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_so_long() {
    let begun = Arc::<AtomicU32>::default();
    let mut plan = Plan::local(counting(Arc::clone(&begun)));
    plan.options = Options { body_timeout: Duration::from_millis(300), ..Options::DEFAULTS };
    let world = plan.start().await;
    let mut caller = slow(&world, 1, "content-length: 9", b"half").await;
    let said = read(&mut caller).await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("coracle-error: request-timeout"), "{said}");
    let told = "'127.0.0.1' sent nothing of the request's body for 300 ms, after 4 bytes; nothing was run";
    assert!(said.contains(told), "{said}");
    assert_eq!(begun.load(Ordering::SeqCst), 0);
}

/// A body of known length that is too long to be read first, or one whose length nobody knows.
#[tokio::test]
async fn a_call_that_waits_for_a_slow_body_makes_room_for_another_caller() {
    for head in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let (world, begun) = world(8).await;
        let beginning: &[u8] = if head.starts_with('c') { b"half" } else { b"4\r\nhalf\r\n" };
        let mut crowd = Vec::new();
        for _ in 0..8 {
            crowd.push(slow(&world, 2, head, beginning).await);
        }
        until("they have every place", || begun.load(Ordering::SeqCst) == 8).await;
        let asked = crate::clock::now();
        loop {
            let answer = world.whole(world.request("POST", "/f").body(full("here")).unwrap()).await;
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.header("coracle-error"), "concurrency-limit", "{}", answer.text);
            assert!(asked.elapsed() < Duration::from_secs(10), "nobody makes room");
        }
        println!("{head}: room after {:?}", asked.elapsed());
        // Only one had to go, and it is told why.
        let said = first_answer(&crowd).await;
        assert!(
            said.starts_with("HTTP/1.1 408") && said.contains("coracle-error: request-timeout"),
            "{said}"
        );
        assert!(said.contains("'127.0.0.2' sent 4 bytes"), "{said}");
        assert_eq!(world.workers[0].executor.load().in_flight, 7);
    }
}

async fn first_answer(crowd: &[TcpStream]) -> String {
    let reads = crowd.iter().map(|stream| {
        Box::pin(async {
            stream.readable().await.unwrap();
            let mut said = vec![0; 4096];
            let count = stream.try_read(&mut said).unwrap();
            String::from_utf8_lossy(&said[..count]).into_owned()
        })
    });
    let first = tokio::time::timeout(Duration::from_secs(10), futures::future::select_all(reads)).await;
    first.expect("nobody is told").0
}

#[tokio::test]
async fn a_body_with_trailers_is_whole_for_every_attempt() {
    let (world, _) = world(8).await;
    let mut caller = slow(
        &world,
        1,
        "transfer-encoding: chunked\r\ntrailer: x-sum",
        b"4\r\nhalf\r\n0\r\nx-sum: 1\r\n\r\n",
    )
    .await;
    let said = read(&mut caller).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("4 bytes"), "{said}");
    assert_eq!(world.whole(world.request("GET", "/f").body(empty()).unwrap()).await.status, 200);
}
