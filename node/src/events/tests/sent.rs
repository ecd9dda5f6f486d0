//! Goal: what a call has sent of blobs goes with its end; where nothing comes of the call it is given up.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::pb::InvocationState::{Dead, Succeeded};
use coracle_proto::pb::settle_request::Verdict;
use coracle_proto::status::Code;
use http::StatusCode;

use super::running::Node;
use crate::blobs::{Commit, Content};
use crate::call::{Call, Effect};
use crate::front::tests::world::Plan;
use crate::stores::tests::fake::BlobBucket;
use crate::worker::tests::{Guest, text, until};

const UPLOAD: [u8; 16] = [7; 16];

/// Answers with this status, having sent a blob.
fn sending(status: u16) -> Arc<Guest> {
    saying(status, "said")
}

/// The same with this answer.
fn saying(status: u16, said: &'static str) -> Arc<Guest> {
    Guest::new(move |call: Call| {
        let content = Content::Parts { upload: UPLOAD, parts: Vec::new() };
        let commit =
            Commit { content, etag: String::new(), content_type: String::new(), metadata: [].into() };
        let (bucket, key) = ("b".to_owned(), "k".to_owned());
        call.receipt.over_with(None, vec![Effect::Blob { bucket, key, commit: Some(commit) }]);
        async move {
            let mut answer = text(said);
            *answer.response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(answer)
        }
    })
}

/// The upload is open.
async fn node(plan: Plan) -> Node {
    let node = Node::start(plan).await;
    let upload = pb::BlobUpload { key: "k".to_owned(), ..Default::default() };
    let uploads = [(Bytes::copy_from_slice(&UPLOAD), upload)].into();
    node.store.state().blob_buckets.insert("b".to_owned(), BlobBucket { uploads, ..Default::default() });
    node
}

fn uploads(node: &Node) -> usize {
    node.store.state().blob_buckets["b"].uploads.len()
}

#[tokio::test]
async fn of_a_call_that_failed_it_is_given_up_wherever_it_ran() {
    for plan in [Plan::local(sending(400)), Plan::remote(vec![sending(400)])] {
        let node = node(plan).await;
        node.store.put("f", 1, "");
        node.comes_to(0, Dead).await;
        until("it is given up", || uploads(&node) == 0).await;
        node.end().await;
    }
}

#[tokio::test]
async fn of_a_call_that_is_not_settled_it_is_given_up_and_of_one_that_is_it_is_not() {
    for code in [Code::Conflict, Code::LimitReached, Code::InvalidArgument] {
        let node = node(Plan::local(sending(200))).await;
        node.store.state().refuses_effects = vec![code];
        node.store.put("f", 1, "");
        until(&format!("it is given up: {code}"), || uploads(&node) == 0).await;
        node.end().await;
    }
    let node = node(Plan::local(sending(200))).await;
    node.store.put("f", 1, "");
    node.comes_to(0, Succeeded).await;
    assert_eq!(uploads(&node), 1, "it is what was committed");
    node.end().await;
}

#[tokio::test]
async fn of_a_batch_that_comes_to_nothing_it_is_given_up() {
    const ALL: &str = "{\"batchItemFailures\":[{\"itemIdentifier\":\"e1\"},{\"itemIdentifier\":\"e2\"}]}";
    for (status, said) in [(400, ""), (500, ""), (200, ALL)] {
        let node = node(Plan::local(saying(status, said))).await;
        for id in 1..=2 {
            let body = pb::EventBody {
                kind: "queue".to_owned(),
                source: "/s".to_owned(),
                id: format!("e{id}"),
                attributes: [("type".to_owned(), "t".to_owned())].into(),
                ..Default::default()
            };
            let how = pb::DeliverySpec { batch_max: 2, batch_wait_ms: 60_000, ..Default::default() };
            node.store.put_for("q", "f", id, body, Some(how));
        }
        until(&format!("it is given up: {status} {said}"), || uploads(&node) == 0).await;
        node.end().await;
    }
}

#[tokio::test]
async fn a_call_whose_upload_is_gone_is_tried_again_and_counts() {
    let node = node(Plan::local(sending(200))).await;
    node.store.state().refuses_effects = vec![Code::UploadNotFound];
    node.store.put("f", 1, "");
    node.comes_to(0, Succeeded).await;
    let (message, settles) = (node.store.message(0), node.store.state().settles.clone());
    assert_eq!((message.reports.len(), message.delivery.attempt), (2, 2));
    let Some(Verdict::Retry(retry)) = &settles[1].verdict else { panic!("{settles:?}") };
    assert!(
        retry.error.starts_with("what it wrote and published was refused: upload-not-found"),
        "{retry:?}"
    );
    node.end().await;
}

/// A failing call that has read a blob is not taken for one that was overtaken.
#[tokio::test]
async fn what_was_read_of_a_blob_is_asked_where_blobs_are() {
    let reading = Guest::new(|call: Call| {
        let (bucket, key) = ("b".to_owned(), "k".into());
        call.receipt.over_with(None, vec![Effect::Check { bucket, key, version: 7 }]);
        async {
            let mut answer = text("said");
            *answer.response.status_mut() = StatusCode::BAD_REQUEST;
            Ok(answer)
        }
    });
    let node = node(Plan::local(reading)).await;
    let info = pb::BlobInfo { version: 7, ..Default::default() };
    let blob = pb::BlobGetReply { info: Some(info), ..Default::default() };
    node.store.state().blob_buckets.get_mut("b").unwrap().blobs.insert("k".to_owned(), blob);
    node.store.put("f", 1, "");
    node.comes_to(0, Dead).await;
    assert_eq!(node.store.state().settles.len(), 1);
    node.end().await;
}
