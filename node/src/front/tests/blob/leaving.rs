//! Goal: whoever leaves, sends slowly or reads nothing leaves nothing behind, and much is sent in little memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Blobs, content};
use crate::front::shares::Shares;
use crate::front::tests::world::{SendBody, empty};
use crate::front::{Options, READERS_MAX, UPLOADS_MAX};
use crate::worker::tests::until;

/// A caller that sends a head and a beginning.
async fn caller(blobs: &Blobs, head: &str, beginning: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(blobs.world.address).await.unwrap();
    let head = format!("PUT /.coracle/blob/{head}\r\nhost: a\r\n\r\n");
    stream.write_all(&[head.as_bytes(), beginning].concat()).await.unwrap();
    stream
}

async fn read(stream: &mut TcpStream) -> String {
    let mut said = vec![0; 4096];
    let count = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut said)).await;
    String::from_utf8_lossy(&said[..count.expect("no answer").unwrap()]).into_owned()
}

#[tokio::test]
async fn a_caller_that_leaves_half_way_leaves_nothing() {
    let blobs = Blobs::start().await;
    for head in ["b/k HTTP/1.1\r\ncontent-length: 9000000", "b/k HTTP/1.1\r\ntransfer-encoding: chunked"] {
        let mut half = content(1 << 20).to_vec();
        if head.contains("chunked") {
            half.splice(0..0, *b"100000\r\n");
        }
        let stream = caller(&blobs, head, &half).await;
        until("an upload is open", || blobs.there().1 == 1).await;
        drop(stream);
        until("it is given up", || blobs.there() == (vec![], 0)).await;
        until("its place is free", || blobs.world.front.inner.open.count() == 0).await;
    }
}

#[tokio::test]
async fn a_caller_that_sends_nothing_more_is_told_and_leaves_nothing() {
    let options = Options { body_timeout: Duration::from_millis(300), ..Options::DEFAULTS };
    let blobs = Blobs::with(options).await;
    for beginning in [100, 100_000] {
        let mut stream = caller(&blobs, "b/k HTTP/1.1\r\ncontent-length: 200000", &content(beginning)).await;
        let said = read(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("request-timeout"), "{said}");
        until("it is given up", || blobs.there() == (vec![], 0)).await;
    }
}

#[tokio::test]
async fn what_is_small_is_gathered_as_other_bodies_are() {
    let blobs = Blobs::start().await;
    let gathering = || blobs.world.front.inner.gathering.count();
    let stream = caller(&blobs, "none/k HTTP/1.1\r\ncontent-length: 100", b"x").await;
    until("it has a place of those who are slow", || gathering() == 1).await;
    drop(stream);
    until("which is given back", || gathering() == 0).await;
}

#[tokio::test]
async fn those_with_much_in_memory_have_places_of_their_own() {
    let blobs = Blobs::start().await;
    assert_eq!(blobs.ask("PUT", "b/large", &[], content(100_000)).await.status, 201);
    let front = &blobs.world.front.inner;
    let fill = |shares: &Arc<Shares>| -> Vec<_> {
        std::iter::from_fn(|| shares.take("127.0.0.1".parse().unwrap(), 1).ok()).collect()
    };
    let (readers, uploads) = (fill(&front.readers), fill(&front.uploads));
    assert_eq!((readers.len(), uploads.len()), (READERS_MAX / 2, UPLOADS_MAX / 2), "one caller has half");
    assert_eq!(blobs.get("b/large").await.problem(), (503, "overloaded"));
    assert_eq!(blobs.ask("PUT", "b/k", &[], content(100_000)).await.problem(), (503, "overloaded"));
    assert_eq!(blobs.ask("PUT", "b/k", &[], "small").await.status, 201);
    assert_eq!(blobs.get("b/k").await.text(), "small");
    drop((readers, uploads));
    assert_eq!(blobs.get("b/large").await.status, 200);
    until("all are given back", || front.readers.count() + front.uploads.count() == 0).await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], content].concat()
}

/// Whatever reason its stream is reset with: NO_ERROR is told as if the body had ended there.
#[tokio::test]
async fn a_stream_that_is_reset_is_no_blob() {
    let blobs = Blobs::start().await;
    for reason in [0, 8] {
        let mut stream = TcpStream::connect(blobs.world.address).await.unwrap();
        let path = "/.coracle/blob/b/k";
        let head =
            [&[2, 3][..], b"PUT", &[0x86, 4, path.len() as u8], path.as_bytes(), &[1, 1], b"a"].concat();
        let begins =
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), frame(1, 4, 1, &head)];
        stream.write_all(&[begins.concat(), frame(0, 0, 1, &[b'x'; 1000])].concat()).await.unwrap();
        let open = || blobs.world.front.inner.open.count();
        until("it is written", || open() == 1).await;
        stream
            .write_all(&[frame(0, 0, 1, &[b'x'; 1000]), frame(3, 0, 1, &[0, 0, 0, reason])].concat())
            .await
            .unwrap();
        until("it is over", || open() == 0).await;
        assert_eq!(blobs.there(), (vec![], 0), "reason {reason}");
    }
}

#[tokio::test]
async fn whoever_asks_before_it_sends_is_told_to_go_on_or_why_not() {
    let blobs = Blobs::start().await;
    let expects = "HTTP/1.1\r\ncontent-length: 100000\r\nexpect: 100-continue";
    let mut stream = caller(&blobs, &format!("b/k {expects}"), b"").await;
    assert!(read(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream.write_all(&content(100_000)).await.unwrap();
    assert!(read(&mut stream).await.starts_with("HTTP/1.1 201 "));
    for (head, status) in [
        (format!("none/k {expects}"), "404"),
        ("b/k HTTP/1.1\r\ncontent-length: 5368709121\r\nexpect: 100-continue".to_owned(), "413"),
        (format!("b/k {expects}\r\nif-none-match: *"), "412"),
        (format!("b/k {expects}\r\nif-match: \"x\""), "412"),
    ] {
        let said = read(&mut caller(&blobs, &head, b"").await).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
    }
    blobs.stores[0].state().blob_buckets.get_mut("b").unwrap().access = "signed";
    let said = read(&mut caller(&blobs, &format!("b/k {expects}"), b"").await).await;
    assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
}

#[tokio::test]
async fn a_reader_that_reads_nothing_is_closed() {
    let options = Options { write_timeout: Duration::from_millis(300), ..Options::DEFAULTS };
    let blobs = Blobs::with(options).await;
    assert_eq!(blobs.ask("PUT", "b/k", &[], content(30 << 20)).await.status, 201);
    let mut stream = TcpStream::connect(blobs.world.address).await.unwrap();
    stream.write_all(b"GET /.coracle/blob/b/k HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until("it is being read", || blobs.world.front.inner.open.count() == 1).await;
    until("it is closed", || blobs.world.front.inner.open.count() == 0).await;
    let given = blobs.stores.iter().map(|store| store.state().kept.given).sum::<u64>();
    assert!(given < 24 << 20, "{given} bytes were sent for nobody");
}

/// What the gateway and all sockets on the way hold of it stays small: it is as far as a majority of the stores.
#[tokio::test]
async fn two_hundred_mebibytes_go_through_little_memory() {
    const PIECES: u64 = 3200;
    let blobs = Arc::new(Blobs::start().await);
    let (sent, most) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let piece = content(64 << 10);
    let frames = {
        let (blobs, sent, most) = (Arc::clone(&blobs), Arc::clone(&sent), Arc::clone(&most));
        // Each is made when it is asked for.
        futures::stream::iter(0..PIECES).map(move |_| {
            let bytes = piece.len() as u64;
            let sent = sent.fetch_add(bytes, Ordering::SeqCst) + bytes;
            let mut taken = [0, 1, 2].map(|index| blobs.stores[index].state().kept.taken);
            taken.sort_unstable();
            most.fetch_max(sent.saturating_sub(taken[1]), Ordering::SeqCst);
            Ok(Frame::data(piece.clone()))
        })
    };
    let request = blobs.request("PUT", "b/k", &[]).body(SendBody::new(StreamBody::new(frames))).unwrap();
    let begun = crate::clock::now();
    let put = tokio::time::timeout(Duration::from_secs(300), blobs.send(request)).await.unwrap();
    let most = most.load(Ordering::SeqCst);
    println!("200 MiB in {:?}, {most} bytes on the way at most", begun.elapsed());
    assert_eq!(put.status, 201, "{put:?}");
    assert!(most < 24 << 20, "{most} bytes were on the way");
    let read = blobs.world.send(blobs.request("GET", "b/k", &[]).body(empty()).unwrap()).await;
    let (mut body, mut bytes, begun) = (read.into_body(), 0, crate::clock::now());
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().into_data().unwrap().len() as u64;
    }
    println!("and back in {:?}", begun.elapsed());
    assert_eq!(bytes, PIECES << 16);
}
