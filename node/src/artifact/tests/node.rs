//! A node of these tests: a store, a compiler that only looks at the first byte, and a server on loopback.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coracle_proto::id::{Digest, NodeId};
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::{Step, Stored, UploadChunk, upload_event};
use coracle_proto::record::{Kind, Version};
use coracle_proto::status::{Code, Refusal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};

use super::super::{
    ArtifactMetrics, ArtifactService, CHUNK_BYTES, Checked, Peer, PeerList, Prepare, Store, Uploads,
    transfer::connect,
};

/// Refuses what begins with `!`, compiles everything else when it is let.
#[derive(Debug)]
pub(super) struct Compiler {
    pub(super) prepared: Mutex<BTreeSet<Digest>>,
    pub(super) compilations: AtomicUsize,
    checks: AtomicUsize,
    /// Checks that ran at once, at most.
    pub(super) checks_most: AtomicUsize,
    /// A permit for each compilation that may end.
    pub(super) gate: Semaphore,
}

impl Prepare for Compiler {
    fn check<'a>(&'a self, artifact: &'a Path) -> BoxFuture<'a, Result<Checked, Refusal>> {
        let first = std::fs::read(artifact).unwrap().first().copied();
        let refused = Refusal::new(Code::UnsatisfiedImport, "import 'a:b/c' is not provided");
        async move {
            let now = self.checks.fetch_add(1, Ordering::SeqCst) + 1;
            self.checks_most.fetch_max(now, Ordering::SeqCst);
            // Others come meanwhile if they are let.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            self.checks.fetch_sub(1, Ordering::SeqCst);
            if first == Some(b'!') {
                Err(refused)
            } else {
                Ok(Checked {
                    kind: Kind::HttpComponent,
                    memory_min: 0,
                    listens: None,
                    wants: super::super::Wants::default(),
                })
            }
        }
        .boxed()
    }

    fn prepare<'a>(&'a self, digest: &'a Digest, artifact: &'a Path) -> BoxFuture<'a, Result<(), Refusal>> {
        async move {
            assert!(artifact.exists(), "compiled before it is dropped");
            self.compilations.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await.unwrap().forget();
            self.prepared.lock().unwrap().insert(*digest);
            Ok(())
        }
        .boxed()
    }

    fn is_prepared(&self, digest: &Digest) -> bool {
        self.prepared.lock().unwrap().contains(digest)
    }

    fn made_ready(&self, _: &Arc<Version>) {}

    fn forget(&self, digest: &Digest) {
        self.prepared.lock().unwrap().remove(digest);
    }
}

pub(super) struct Node {
    pub(super) folder: TempDir,
    pub(super) store: Arc<Store>,
    pub(super) compiler: Arc<Compiler>,
    pub(super) uploads: Arc<Uploads>,
    pub(super) address: SocketAddr,
    peers: Arc<Mutex<Vec<Peer>>>,
    id: NodeId,
}

impl Node {
    pub(super) async fn start(id: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let compiler = Arc::new(Compiler {
            prepared: Mutex::default(),
            compilations: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
            checks_most: AtomicUsize::new(0),
            gate: Semaphore::new(1000),
        });
        let peers = Arc::new(Mutex::new(Vec::new()));
        let list = {
            let peers = Arc::clone(&peers);
            PeerList::new(move || peers.lock().unwrap().clone())
        };
        let (id, prepare) = (NodeId::new(id), Arc::clone(&compiler) as Arc<dyn Prepare>);
        let metrics = ArtifactMetrics::default();
        let uploads = Arc::new(Uploads::new(id, Arc::clone(&store), prepare, list, metrics));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(ArtifactService::server(Arc::clone(&uploads)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { folder, store, compiler, uploads, address, peers, id }
    }

    pub(super) fn knows(&self, others: &[&Self]) {
        let peer = |other: &&Self| Peer { node: other.id, address: other.address.to_string() };
        *self.peers.lock().unwrap() = others.iter().map(peer).collect();
    }

    pub(super) fn knows_address(&self, node: u64, address: String) {
        self.peers.lock().unwrap().push(Peer { node: NodeId::new(node), address });
    }

    pub(super) async fn client(&self) -> ArtifactsClient<Channel> {
        connect(&self.address.to_string()).await.unwrap()
    }

    /// Uploads, and answers with the steps and the end.
    pub(super) async fn put(&self, bytes: &[u8]) -> Result<(Vec<Step>, Stored), Refusal> {
        self.put_as(digest(bytes), bytes).await
    }

    pub(super) async fn put_as(&self, digest: Digest, bytes: &[u8]) -> Result<(Vec<Step>, Stored), Refusal> {
        self.send(chunks(digest, bytes.len(), bytes)).await
    }

    /// For a function of that namespace.
    pub(super) async fn put_of(&self, namespace: &str, bytes: &[u8]) -> Result<(Vec<Step>, Stored), Refusal> {
        let mut chunks = chunks(digest(bytes), bytes.len(), bytes);
        chunks[0].namespace = namespace.to_owned();
        self.send(chunks).await
    }

    async fn send(&self, chunks: Vec<UploadChunk>) -> Result<(Vec<Step>, Stored), Refusal> {
        let chunks = tokio_stream::iter(chunks);
        let refused = |status: tonic::Status| Refusal::from_status(&status);
        let mut events = self.client().await.put(chunks).await.map_err(refused)?.into_inner();
        let mut steps = Vec::new();
        loop {
            match events.message().await.map_err(refused)?.expect("an end").kind.unwrap() {
                upload_event::Kind::Step(step) => steps.push(step),
                upload_event::Kind::Working(_) => {}
                upload_event::Kind::Stored(stored) => return Ok((steps, stored)),
            }
        }
    }

    /// Files in the temporary folder.
    pub(super) fn unfinished(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("tmp")).unwrap().count()
    }
}

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}

/// Bytes that compress to nothing and repeat nowhere.
pub(super) fn artifact(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let mut bytes: Vec<u8> = (0..size).map(byte).collect();
    bytes[0] = 0;
    bytes
}

pub(super) fn chunks(digest: Digest, size: usize, bytes: &[u8]) -> Vec<UploadChunk> {
    let head = UploadChunk { digest: digest.to_wire(), size: size as u64, ..UploadChunk::default() };
    let data = |data: &[u8]| UploadChunk { data: Bytes::copy_from_slice(data), ..UploadChunk::default() };
    std::iter::once(head).chain(bytes.chunks(CHUNK_BYTES).map(data)).collect()
}

/// Waits until it is so.
pub(super) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waited = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), waited).await.expect(what);
}
