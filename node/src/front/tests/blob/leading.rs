//! Goal: whoever was let in at the head of a request stays in, and another leader on the way is not noticed.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::signed::signed;
use super::{Answer, Blobs, content};
use crate::clock;
use crate::front::tests::world::SendBody;
use crate::worker::tests::until;

/// A request whose body comes as the test has it.
struct Slow {
    frames: mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>,
}

impl Slow {
    fn new() -> (Self, SendBody) {
        let (frames, coming) = mpsc::unbounded_channel();
        (Self { frames }, SendBody::new(StreamBody::new(UnboundedReceiverStream::new(coming))))
    }

    fn send(&self, data: Bytes) {
        self.frames.send(Ok(Frame::data(data))).unwrap();
    }
}

async fn put(blobs: &Blobs, path: &str, body: SendBody, meanwhile: impl Future<Output = ()>) -> Answer {
    let request = blobs.request("PUT", path, &[]).body(body).unwrap();
    let (answer, ()) = tokio::join!(blobs.send(request), meanwhile);
    answer
}

#[tokio::test]
async fn a_signature_may_end_on_the_way() {
    let blobs = Blobs::start().await;
    blobs.stores[0].state().blob_buckets.get_mut("b").unwrap().access = "signed";
    let data = content(2 << 20);
    let now = || clock::unix_ms() / 1000;
    let over = async |expires: u64| {
        while now() <= expires {
            tokio::time::sleep(Duration::from_millis(20)).await; // a bounded poll
        }
    };
    let taken = || blobs.stores[0].state().kept.taken;
    let expires = now() + 2;
    let ((slow, body), signature) = (Slow::new(), signed("PUT", "k", expires));
    let path = format!("b/k?{signature}");
    let whole = put(&blobs, &path, body, async {
        slow.send(data.slice(..1 << 20));
        until("some of it has come", || taken() > 0).await;
        over(expires).await;
        slow.send(data.slice(1 << 20..));
        drop(slow);
    });
    assert_eq!(whole.await.status, 201);
    let later = signed("PUT", "k", now() + 100);
    let begun = blobs.ask("POST", &format!("b/k?uploads&{later}"), &[], "").await;
    let id = begun.text().split('"').nth(3).unwrap().to_owned();
    let before = taken();
    let expires = now() + 2;
    let ((slow, body), signature) = (Slow::new(), signed("PUT", "k", expires));
    let path = format!("b/k?uploadId={id}&partNumber=1&{signature}");
    let part = put(&blobs, &path, body, async {
        slow.send(data.slice(..1 << 20));
        until("some of it has come", || taken() > before).await;
        over(expires).await;
        slow.send(data.slice(1 << 20..));
        drop(slow);
    });
    assert_eq!(part.await.status, 204);
    let late = blobs.ask("PUT", &format!("b/k?{signature}"), &[], "x").await;
    assert_eq!(late.problem(), (403, "signature-refused"));
}

#[tokio::test]
async fn another_one_may_lead_when_the_upload_ends() {
    let blobs = Blobs::start().await;
    let data = content(5 << 20);
    let (slow, body) = Slow::new();
    let answer = put(&blobs, "b/k", body, async {
        slow.send(data.slice(..1 << 20));
        until("an upload is open", || blobs.there().1 == 1).await;
        blobs.stores[0].hands_over_to(&blobs.stores[1]);
        slow.send(data.slice(1 << 20..));
        drop(slow);
    });
    assert_eq!(answer.await.status, 201);
    assert!(blobs.get("b/k").await.body == data);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_done_once_also_by_the_next_leader() {
    let blobs = Blobs::start().await;
    let (first, next) = (&blobs.stores[0], &blobs.stores[1]);
    first.state().loses = u32::MAX;
    let changing = async {
        until("it is done", || blobs.there().0.len() == 1).await;
        first.hands_over_to(next);
    };
    let (answer, ()) = tokio::join!(blobs.ask("PUT", "b/k", &[], content(70_000)), changing);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!((first.state().blob_hops.len(), next.state().blob_hops.len()), (1, 0), "once");
    assert!(blobs.get("b/k").await.body == content(70_000));
}
