//! Fetching from peers: honest ones, broken ones, liars, and several that only together have it all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::pb::artifacts_server::{Artifacts, ArtifactsServer};
use coracle_proto::pb::{CopyReply, GetChunk, GetRequest, StatReply, StatRequest, UploadChunk, UploadEvent};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::super::FetchError;
use super::node::{Node, artifact, digest};
use crate::clock;

/// Sends its own bytes from the offset on, and breaks off where it is told to.
#[derive(Debug, Clone)]
struct Source {
    bytes: Bytes,
    breaks_at: usize,
    asked_from: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl Artifacts for Source {
    type PutStream = ReceiverStream<Result<UploadEvent, Status>>;
    type GetStream = tokio_stream::Iter<std::vec::IntoIter<Result<GetChunk, Status>>>;

    async fn put(&self, _: Request<Streaming<UploadChunk>>) -> Result<Response<Self::PutStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn copy(&self, _: Request<Streaming<UploadChunk>>) -> Result<Response<CopyReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let offset = request.into_inner().offset;
        self.asked_from.store(offset, Ordering::SeqCst);
        let offset = usize::try_from(offset).unwrap();
        let size = self.bytes.len() as u64;
        let end = self.breaks_at.max(offset).min(self.bytes.len());
        let mut chunks: Vec<_> = self.bytes[offset..end]
            .chunks(100_000)
            .map(|data| Ok(GetChunk { data: Bytes::copy_from_slice(data), size }))
            .collect();
        if end < self.bytes.len() {
            chunks.push(Err(Status::unavailable("the node is going away")));
        }
        Ok(Response::new(tokio_stream::iter(chunks)))
    }

    async fn stat(&self, _: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

impl Source {
    fn whole(bytes: &[u8]) -> Self {
        Self::until(bytes, bytes.len())
    }

    fn until(bytes: &[u8], breaks_at: usize) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), breaks_at, asked_from: Arc::default() }
    }

    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let server = Server::builder().add_service(ArtifactsServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address.to_string()
    }
}

#[tokio::test]
async fn an_artifact_comes_from_a_node_that_holds_it() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let bytes = artifact(1, 1_500_000);
    one.put(&bytes).await.unwrap();
    let sources = [two.address.to_string(), one.address.to_string()];
    let held = two.uploads.fetcher().fetch(digest(&bytes), &sources).await.unwrap();
    assert_eq!(held.size, 1_500_000);
    assert_eq!(std::fs::read(two.store.path(&digest(&bytes))).unwrap(), bytes);
    assert_eq!(two.unfinished(), 0);
}

#[tokio::test]
async fn a_transfer_goes_on_where_the_last_source_broke_off() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 1_000_000);
    let (first, second) = (Source::until(&bytes, 450_000), Source::whole(&bytes));
    let sources = [first.serve().await, second.serve().await];
    node.uploads.fetcher().fetch(digest(&bytes), &sources).await.unwrap();
    let from = second.asked_from.load(Ordering::SeqCst);
    // An error may overtake the data before it.
    assert!(from <= 450_000, "{from}");
    assert!(from > 0, "resumed");
    assert_eq!(std::fs::read(node.store.path(&digest(&bytes))).unwrap(), bytes);
}

#[tokio::test]
async fn a_corrupted_source_is_refused_and_another_one_tried() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 300_000);
    let mut wrong = bytes.clone();
    wrong[200_000] ^= 1;
    let sources = [Source::whole(&wrong).serve().await, Source::whole(&bytes).serve().await];
    node.uploads.fetcher().fetch(digest(&bytes), &sources).await.unwrap();
    assert_eq!(std::fs::read(node.store.path(&digest(&bytes))).unwrap(), bytes);
}

#[tokio::test]
async fn a_mixture_that_is_wrong_is_taken_anew_from_one() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 300_000);
    let mut wrong = bytes.clone();
    wrong[50_000] ^= 1;
    // The first part is wrong, and only the honest source ends the transfer: it is not blamed.
    let honest = Source::whole(&bytes);
    let sources = [Source::until(&wrong, 100_000).serve().await, honest.serve().await];
    node.uploads.fetcher().fetch(digest(&bytes), &sources).await.unwrap();
    assert_eq!(honest.asked_from.load(Ordering::SeqCst), 0);
    assert_eq!(node.unfinished(), 0);
}

#[tokio::test]
async fn when_nobody_has_it_each_reason_is_told() {
    let (node, other) = (Node::start(1).await, Node::start(2).await);
    let bytes = artifact(1, 300_000);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let sources = [
        closed,
        other.address.to_string(),
        Source::until(&bytes, 200_000).serve().await,
        Source::whole(b"something else").serve().await,
        "not an address".to_owned(),
    ];
    let fetcher = node.uploads.fetcher();
    let error = fetcher.fetch(digest(&bytes), &sources).await.unwrap_err();
    let text = error.to_string();
    for reason in ["cannot be reached", "does not hold", "going away"] {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    let FetchError::Sources { reasons, .. } = error else { panic!("{text}") };
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    assert!(matches!(fetcher.fetch(digest(&bytes), &[]).await, Err(FetchError::NoSource(_))));
    assert_eq!(node.unfinished(), 0);
    assert!(node.store.held().is_empty());
}

#[tokio::test]
async fn an_offset_past_the_end_or_a_foreign_digest_is_answered() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 1000);
    node.put(&bytes).await.unwrap();
    let mut client = node.client().await;
    let request = GetRequest { digest: digest(&bytes).to_wire(), offset: u64::MAX };
    assert!(client.get(request).await.is_err());
    let request = GetRequest { digest: digest(&bytes).to_wire(), offset: 5000 };
    assert!(client.get(request).await.unwrap().into_inner().message().await.unwrap().is_none());
    let request = GetRequest { digest: Bytes::from_static(b"../../etc/passwd"), offset: 0 };
    assert_eq!(client.get(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn a_holder_that_lost_it_finds_out_and_says_so() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let (gone, cut) = (artifact(1, 1000), artifact(2, 1000));
    one.put(&gone).await.unwrap();
    one.put(&cut).await.unwrap();
    std::fs::remove_file(one.store.path(&digest(&gone))).unwrap();
    std::fs::write(one.store.path(&digest(&cut)), &cut[..500]).unwrap();
    let sources = [one.address.to_string()];
    for lost in [&gone, &cut] {
        let error = two.uploads.fetcher().fetch(digest(lost), &sources).await.unwrap_err();
        assert!(error.to_string().contains("does not hold"), "{error}");
    }
    assert!(one.store.held().is_empty(), "it reports neither any more");
}

#[tokio::test]
async fn artifacts_sent_at_once_are_bounded() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 20_000_000);
    node.put(&bytes).await.unwrap();
    let mut open = Vec::new();
    let request = || GetRequest { digest: digest(&bytes).to_wire(), offset: 0 };
    for _ in 0..64 {
        open.push(node.client().await.get(request()).await.unwrap());
    }
    let refused = node.client().await.get(request()).await.unwrap_err();
    assert!(refused.message().contains("64"), "{refused}");
    drop(open);
    let deadline = clock::now() + Duration::from_secs(10);
    while node.client().await.get(request()).await.is_err() {
        assert!(clock::now() < deadline, "places are given back");
    }
}
