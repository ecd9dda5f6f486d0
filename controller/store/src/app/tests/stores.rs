//! Some stores that share a group, and what is asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, NodeId, Revision};
pub(super) use coracle_proto::pb::ChunkPiece;
use coracle_proto::pb::blobs_client::BlobsClient;
use coracle_proto::pb::chunks_client::ChunksClient;
use coracle_proto::pb::key_value_client::KeyValueClient;
use coracle_proto::pb::{
    BlobBeginRequest, BlobCommitRequest, BlobContent, BlobGetRequest, BlobPart, BlobPutPartRequest,
    BlobUploadRequest, ChunkGetRequest, ChunkName, KvHolds, KvPlace, KvPutBucketRequest, KvRequest,
};
use coracle_proto::status::Refusal;
use coracle_raft::{Role, Seat};
use coracle_transport::{Dialer, Purpose};
use futures::stream;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::super::{Context, Options, open, service};
use crate::book::Arrangement;
use crate::chunks::Shown;
use crate::model::{Asked, Op, Place, Sealed};
use crate::replicas::Served;
use crate::world::{GROUP, LIMITS, SOON};

const KEY: &str = "a/b";

pub(super) struct Store {
    pub(super) dir: tempfile::TempDir,
    context: Arc<Context>,
    channel: Channel,
    seat: Seat,
    until: CancellationToken,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Nodes 1, 2 and so on, in this order.
pub(super) struct Stores {
    cluster: ClusterId,
    revision: u64,
    pub(super) all: Vec<Store>,
}

type Chunk<'a> = (&'a Bytes, u64, u32);

impl Stores {
    /// With bucket `shop/b` of blobs.
    pub(super) async fn start(count: usize) -> Self {
        let mut stores = Self { cluster: ClusterId::new(rand::random()), revision: 0, all: Vec::new() };
        for _ in 0..count {
            stores.add().await;
        }
        stores.arrange(false, &(0..count).collect::<Vec<_>>(), false).await;
        let put = KvPutBucketRequest {
            place: stores.place(),
            request: request(),
            keys_max: 999,
            bytes_max: 1 << 30,
            holds: KvHolds::Blobs.into(),
            ..KvPutBucketRequest::default()
        };
        KeyValueClient::new(stores.leader().await).put_bucket(put).await.unwrap();
        stores
    }

    pub(super) async fn add(&mut self) {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        let node = NodeId::new(self.all.len() as u64 + 1);
        let (data_dir, cluster) = (dir.path().to_owned(), self.cluster);
        let options = Options { data_dir, cluster, node, listen, accept_failed_sync: false };
        let (context, raft) = open(&options, LIMITS).await.unwrap();
        let until = CancellationToken::new();
        let serves = service::serve(Arc::clone(&context), raft, listener, until.clone().cancelled_owned());
        let server = tokio::spawn(serves);
        let channel = Dialer::new(Purpose::Store).connect_lazily(listen).unwrap();
        let seat = Seat { address: listen.to_string(), store: context.replicas.store() };
        self.all.push(Store { dir, context, channel, seat, until, server });
    }

    /// These are the members, and others may stay.
    pub(super) async fn arrange(&mut self, begun: bool, these: &[usize], stays: bool) {
        self.revision += 1;
        let members: BTreeMap<_, _> =
            these.iter().map(|at| (node(*at), self.all[*at].seat.clone())).collect();
        for (at, store) in self.all.iter().enumerate() {
            let (revision, members) = (Revision::new(self.revision), members.clone());
            let stays = stays && !these.contains(&at);
            let arranged = Arrangement { group: GROUP, revision, members, begun, stays };
            store.context.replicas.arrange(arranged).await.unwrap();
        }
    }

    pub(super) async fn join(&mut self) {
        self.add().await;
        self.arrange(true, &(0..self.all.len()).collect::<Vec<_>>(), false).await;
    }

    /// The last one is no member any more.
    pub(super) async fn leave(&mut self, at: usize) {
        assert_eq!(at + 1, self.all.len());
        self.arrange(true, &(0..at).collect::<Vec<_>>(), false).await;
    }

    /// Who votes, by the word of the one that leads.
    pub(super) fn voters(&self) -> Vec<usize> {
        let replicas = self.all.iter().filter_map(|store| store.context.replicas.get(GROUP));
        let led = replicas.map(|it| it.status()).find(|status| status.role == Role::Leader);
        let voters = led.map(|status| status.voters.into_keys().collect::<Vec<_>>()).unwrap_or_default();
        (0..self.all.len()).filter(|at| voters.contains(&node(*at))).collect()
    }

    /// Who leads; none just now.
    pub(super) fn leads(&self) -> Option<usize> {
        self.all.iter().position(|store| {
            store.context.replicas.get(GROUP).is_some_and(|it| it.status().role == Role::Leader)
        })
    }

    pub(super) fn served(&self, at: usize) -> Served {
        self.all[at].context.replicas.served(GROUP).unwrap()
    }

    /// A part of a blob that is not committed.
    pub(super) async fn put_part(&self, upload: &Bytes, run: u64, bytes: u64) {
        let part = Some(BlobPart { number: 1, run, bytes, digest: vec![7; 32].into() });
        let (place, request, key, upload) = (self.place(), request(), KEY.to_owned(), upload.clone());
        let put = BlobPutPartRequest { place, request, key, upload: upload.clone(), part, visitor: None };
        let told = self.blobs().await.put_part(put).await.unwrap().into_inner();
        assert_eq!(told.upload.unwrap().id, upload);
    }

    /// A secret beside the blobs.
    pub(super) async fn put_secret(&self) {
        let op = Op::PutSecret {
            secret: Place::parse("shop", "a").unwrap(),
            value: Sealed::new(Bytes::from_static(b"v")),
            keep_ms: 1,
        };
        soon("somebody leads", || self.leads().is_some()).await;
        let leading = self.served(self.leads().unwrap());
        leading.proposer.propose(Asked { request: None, op }).await.unwrap();
    }

    async fn leader(&self) -> Channel {
        let leads = |store: &&Store| {
            let replica = store.context.replicas.get(GROUP);
            replica.is_some_and(|replica| replica.status().role == Role::Leader)
        };
        soon("somebody leads", || self.all.iter().any(|store| leads(&store))).await;
        self.all.iter().find(leads).unwrap().channel.clone()
    }

    async fn blobs(&self) -> BlobsClient<Channel> {
        BlobsClient::new(self.leader().await)
    }

    fn place(&self) -> Option<KvPlace> {
        let (namespace, bucket) = ("shop".to_owned(), "b".to_owned());
        Some(KvPlace { cluster_id: self.cluster.to_wire(), group: GROUP.get(), namespace, bucket })
    }

    /// An upload's id.
    pub(super) async fn begin(&self) -> Bytes {
        self.begin_of(KEY).await
    }

    pub(super) async fn begin_of(&self, key: &str) -> Bytes {
        let (place, request, key) = (self.place(), request(), key.to_owned());
        let begin = BlobBeginRequest { place, request, key, ..BlobBeginRequest::default() };
        self.blobs().await.begin(begin).await.unwrap().into_inner().upload.unwrap().id
    }

    pub(super) async fn commit(&self, upload: &Bytes, run: u64, bytes: u64) {
        self.commit_of(KEY, upload, run, bytes).await;
    }

    pub(super) async fn commit_of(&self, key: &str, upload: &Bytes, run: u64, bytes: u64) {
        let part = BlobPart { number: 1, run, bytes, digest: Bytes::new() };
        let (upload, etag, parts) = (upload.clone(), "tag".to_owned(), vec![part]);
        let content = Some(BlobContent { upload, etag, parts, ..BlobContent::default() });
        let (place, request, key) = (self.place(), request(), key.to_owned());
        let commit = BlobCommitRequest { place, request, key, content, ..BlobCommitRequest::default() };
        let info = self.blobs().await.commit(commit).await.unwrap().into_inner().info.unwrap();
        assert_eq!((info.bytes, &info.etag[..]), (bytes, "tag"));
    }

    pub(super) async fn abort(&self, upload: &Bytes) {
        let (place, request, key, upload) = (self.place(), request(), KEY.to_owned(), upload.clone());
        let abort = BlobUploadRequest { place, request, key, upload, visitor: None };
        self.blobs().await.abort(abort).await.unwrap();
    }

    /// By which upload it came, how many parts it has, and bytes.
    pub(super) async fn blob(&self) -> (Bytes, usize, u64) {
        let (place, key) = (self.place(), KEY.to_owned());
        let get = BlobGetRequest { place, key, visitor: None, info_only: false };
        let reply = self.blobs().await.get(get).await.unwrap().into_inner();
        (reply.upload, reply.parts.len(), reply.info.unwrap().bytes)
    }

    fn name(&self, (upload, run, number): Chunk<'_>) -> Option<ChunkName> {
        let (cluster_id, group, upload) = (self.cluster.to_wire(), GROUP.get(), upload.clone());
        Some(ChunkName { cluster_id, group, upload, run, number })
    }

    pub(super) async fn put(
        &self,
        at: usize,
        chunk: Chunk<'_>,
        mut pieces: Vec<ChunkPiece>,
    ) -> Result<u64, Refusal> {
        pieces[0].name = self.name(chunk);
        let put = ChunksClient::new(self.all[at].channel.clone()).put(stream::iter(pieces)).await;
        put.map(|reply| reply.into_inner().bytes).map_err(|status| Refusal::from_status(&status))
    }

    pub(super) async fn get(
        &self,
        at: usize,
        chunk: Chunk<'_>,
        (offset, bytes): (u32, u32),
    ) -> Result<Vec<u8>, Refusal> {
        let refused = |status: tonic::Status| Refusal::from_status(&status);
        let asked = ChunkGetRequest { name: self.name(chunk), offset, bytes };
        let pieces = ChunksClient::new(self.all[at].channel.clone()).get(asked).await;
        let (mut pieces, mut all) = (pieces.map_err(refused)?.into_inner(), Vec::new());
        while let Some(piece) = pieces.message().await.map_err(refused)? {
            all.extend_from_slice(&piece.data);
        }
        Ok(all)
    }

    /// Waits until it has the chunk, and that it is this.
    pub(super) async fn has(&self, at: usize, chunk: Chunk<'_>, data: &Bytes) {
        let comes = async {
            loop {
                if let Ok(found) = self.get(at, chunk, (0, 0)).await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await; // a bounded poll
            }
        };
        let found = tokio::time::timeout(2 * SOON, comes).await.expect("it comes");
        assert!(found == *data, "it is another one");
    }

    pub(super) fn shown(&self, at: usize) -> Shown {
        self.all[at].context.replicas.chunks()[&GROUP]
    }

    pub(super) async fn end(self) {
        for store in self.all {
            store.context.closing.cancel();
            store.until.cancel();
            store.context.replicas.close().await;
            drop(store.channel);
            store.server.abort();
        }
    }
}

const fn node(at: usize) -> NodeId {
    NodeId::new(at as u64 + 1)
}

fn request() -> Option<KvRequest> {
    Some(KvRequest { id: rand::random::<u128>().to_be_bytes().to_vec().into(), since: 0 })
}

/// So many bytes that look like no others.
pub(super) fn chunk(seed: u8, bytes: usize) -> Bytes {
    (0..bytes).map(|at| seed ^ at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect()
}

/// As a sender sends it.
pub(super) fn pieces(data: &Bytes) -> Vec<ChunkPiece> {
    let piece = |data: &[u8]| ChunkPiece { data: Bytes::copy_from_slice(data), ..ChunkPiece::default() };
    let mut pieces: Vec<_> = data.chunks(64 * 1024).map(piece).collect();
    if pieces.is_empty() {
        pieces.push(ChunkPiece::default());
    }
    pieces.last_mut().unwrap().digest = Bytes::copy_from_slice(&Sha256::digest(data));
    pieces
}

/// Waits for it.
pub(super) async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let comes = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await; // a bounded poll
        }
    };
    tokio::time::timeout(2 * SOON, comes).await.expect(what);
}
