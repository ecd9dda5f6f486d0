//! The whole agent: a view that changes, a store, a source, a compiler that can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, Digest, NodeId, Revision};
use coracle_proto::key::Key;
use coracle_proto::record::{Change, Kind, Record, Version};
use coracle_proto::status::{Code, Refusal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::super::plan::Phase;
use super::super::{Agent, Board, Entry, Options, Orders, Removal};
use super::{assignment, version_id};
use crate::artifact::{ArtifactMetrics, ArtifactService, Checked, PeerList, Prepare, Store, Uploads, Wants};
use crate::clock;
use crate::view::{NodeSoft, Stamp, ViewHandle};
use crate::worker::Assignments as _;

#[derive(Debug, Default)]
struct Compiler {
    prepared: Mutex<BTreeSet<Digest>>,
    /// Why compilations fail, while they do.
    failing: Mutex<Option<&'static str>>,
    /// How often it was asked whether something is compiled.
    asked: Mutex<BTreeMap<Digest, usize>>,
    /// Which versions it was told of as ready.
    ready: Mutex<Vec<u64>>,
}

impl Prepare for Compiler {
    fn check<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<Checked, Refusal>> {
        async {
            Ok(Checked { kind: Kind::HttpComponent, memory_min: 0, listens: None, wants: Wants::default() })
        }
        .boxed()
    }

    fn prepare<'a>(&'a self, digest: &'a Digest, _: &'a Path) -> BoxFuture<'a, Result<(), Refusal>> {
        if let Some(reason) = *self.failing.lock().unwrap() {
            return async move { Err(Refusal::new(Code::CompileLimit, reason)) }.boxed();
        }
        self.prepared.lock().unwrap().insert(*digest);
        async { Ok(()) }.boxed()
    }

    fn is_prepared(&self, digest: &Digest) -> bool {
        *self.asked.lock().unwrap().entry(*digest).or_default() += 1;
        self.prepared.lock().unwrap().contains(digest)
    }

    fn made_ready(&self, version: &Arc<Version>) {
        self.ready.lock().unwrap().push(version.id.number.get());
    }

    fn forget(&self, digest: &Digest) {
        self.prepared.lock().unwrap().remove(digest);
    }
}

struct Node {
    _folder: TempDir,
    store: Arc<Store>,
    compiler: Arc<Compiler>,
    uploads: Arc<Uploads>,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let compiler = Arc::new(Compiler::default());
        let (prepare, peers) = (Arc::clone(&compiler) as Arc<dyn Prepare>, PeerList::new(Vec::new));
        let (node, metrics) = (NodeId::new(1), ArtifactMetrics::default());
        let uploads = Arc::new(Uploads::new(node, Arc::clone(&store), prepare, peers, metrics));
        Self { _folder: folder, store, compiler, uploads }
    }

    async fn store(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::new(Sha256::digest(bytes).into());
        let mut incoming = self.store.begin(digest, bytes.len() as u64).unwrap();
        incoming.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        incoming.seal().await.unwrap().commit(clock::unix_ms()).await.unwrap();
        digest
    }

    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::builder().add_service(ArtifactService::server(Arc::clone(&self.uploads)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }
}

struct Rig {
    node: Node,
    view: ViewHandle,
    orders: watch::Sender<Arc<Orders>>,
    board: Arc<Board>,
    _stop: tokio_util::sync::DropGuard,
}

impl Rig {
    fn start(node: Node, view: ViewHandle) -> Self {
        let orders = watch::Sender::new(Arc::new(Orders::default()));
        let agent = Agent::new(Options {
            node: NodeId::new(1),
            view: view.clone(),
            store: Arc::clone(&node.store),
            fetcher: node.uploads.fetcher(),
            prepare: Arc::clone(&node.compiler) as Arc<dyn Prepare>,
            orders: orders.subscribe(),
            turns: node.uploads.turns(),
            metrics: ArtifactMetrics::default(),
        });
        let (board, stop) = (agent.board(), CancellationToken::new());
        tokio::spawn(agent.run(stop.clone()));
        Self { node, view, orders, board, _stop: stop.drop_guard() }
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = Orders::clone(&self.orders.borrow());
        change(&mut orders);
        self.orders.send_replace(Arc::new(orders));
    }

    fn phase(&self, number: u64) -> Option<Phase> {
        self.board.entries().get(&version_id(number)).map(|entry| entry.phase)
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let waited = async {
            while !is(self) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waited).await.expect(what);
    }
}

fn change(view: &ViewHandle, revision: u64, changes: Vec<Change>) {
    let stamp = Stamp { revision: Revision::new(revision), hash: None };
    view.update(|view| view.held.take(stamp, changes, false));
}

fn assign(view: &ViewHandle, number: u64, digest: Digest, epoch: u64) {
    change(view, epoch, assignment(number, digest, epoch).map(Change::put).to_vec());
}

fn empty_view() -> ViewHandle {
    ViewHandle::new(ClusterId::new(1))
}

#[tokio::test]
async fn an_assignment_is_fetched_compiled_and_ready_and_ends_when_it_is_dropped() {
    let source = Node::new();
    let digest = source.store(b"a function").await;
    let rig = Rig::start(Node::new(), empty_view());
    let named = source.serve().await;
    rig.order(|orders| orders.sources.push(named));
    assign(&rig.view, 1, digest, 5);
    rig.until("ready", |rig| rig.phase(1) == Some(Phase::Ready)).await;
    let assigned = rig.board.get(&version_id(1)).unwrap();
    assert_eq!((assigned.epoch.get(), assigned.ready, assigned.version.digest), (5, true, digest));
    assert_eq!(rig.board.get(&version_id(2)).map(|it| it.epoch), None);

    change(&rig.view, 6, vec![Change::remove(Key::Replica(version_id(1), NodeId::new(1)))]);
    rig.until("dropped", |rig| rig.board.get(&version_id(1)).is_none()).await;
    assert!(rig.node.store.get(&digest).is_some(), "the file stays until its removal is ordered");
    assign(&rig.view, 1, digest, 7);
    rig.until("ready again", |rig| rig.board.get(&version_id(1)).is_some_and(|it| it.epoch.get() == 7)).await;
}

#[tokio::test]
async fn what_was_ready_is_served_before_anything_runs() {
    let node = Node::new();
    let digest = node.store(b"a function").await;
    node.compiler.prepared.lock().unwrap().insert(digest);
    let view = empty_view();
    assign(&view, 1, digest, 5);
    let agent = Agent::new(Options {
        node: NodeId::new(1),
        view,
        store: Arc::clone(&node.store),
        fetcher: node.uploads.fetcher(),
        prepare: Arc::clone(&node.compiler) as Arc<dyn Prepare>,
        orders: watch::Sender::new(Arc::default()).subscribe(),
        turns: node.uploads.turns(),
        metrics: ArtifactMetrics::default(),
    });
    assert!(agent.board().get(&version_id(1)).unwrap().ready);
}

#[tokio::test]
async fn a_failure_is_told_counted_and_overcome() {
    let rig = Rig::start(Node::new(), empty_view());
    let digest = rig.node.store(b"a function").await;
    *rig.node.compiler.failing.lock().unwrap() = Some("needs more than 4 GiB");
    assign(&rig.view, 1, digest, 5);
    rig.until("failed twice", |rig| {
        let failed = |entry: &Entry| entry.phase == Phase::Failed && entry.attempts == 2;
        rig.board.entries().get(&version_id(1)).is_some_and(failed)
    })
    .await;
    assert_eq!(rig.board.entries()[&version_id(1)].reason, "compile-limit: needs more than 4 GiB");
    assert!(!rig.board.get(&version_id(1)).unwrap().ready);
    *rig.node.compiler.failing.lock().unwrap() = None;
    // After the pause.
    rig.until("ready", |rig| rig.phase(1) == Some(Phase::Ready)).await;
    assert_eq!(rig.board.entries()[&version_id(1)].attempts, 0);
}

#[tokio::test]
async fn a_new_assignment_does_not_wait_for_the_old_ones_failures() {
    let rig = Rig::start(Node::new(), empty_view());
    let digest = rig.node.store(b"a function").await;
    *rig.node.compiler.failing.lock().unwrap() = Some("first");
    assign(&rig.view, 1, digest, 5);
    rig.until("failed", |rig| rig.phase(1) == Some(Phase::Failed)).await;
    *rig.node.compiler.failing.lock().unwrap() = Some("second");
    assign(&rig.view, 1, digest, 6);
    // However late that is: had the old failure been kept, the pause and the count would go on, and it were the second.
    rig.until("the first failure of the new assignment", |rig| {
        let first = |entry: &Entry| entry.epoch.get() == 6 && entry.attempts == 1;
        let entries = rig.board.entries();
        entries.get(&version_id(1)).is_some_and(|entry| first(entry) && entry.reason.ends_with("second"))
    })
    .await;
}

#[tokio::test]
async fn the_disk_is_not_looked_at_for_what_nodes_say_nor_at_each_order() {
    let rig = Rig::start(Node::new(), empty_view());
    let ready = rig.node.store(b"a function").await;
    // Nobody has it: it is looked for whenever the agent wakes.
    let missing = Digest::new([7; 32]);
    rig.order(|orders| {
        orders.hold.insert(missing);
    });
    assign(&rig.view, 1, ready, 5);
    rig.until("ready", |rig| rig.phase(1) == Some(Phase::Ready)).await;
    let asked = |digest| rig.node.compiler.asked.lock().unwrap().get(&digest).copied().unwrap_or(0);
    let (for_ready, for_missing) = (asked(ready), asked(missing));
    for sequence in 1..=1000 {
        let about = NodeSoft { node: NodeId::new(2), incarnation: 1, sequence, ..NodeSoft::default() };
        rig.view.update(|view| view.take_soft(about));
        tokio::task::yield_now().await;
    }
    until_removed(&rig).await;
    // Each would have woken it; what has a pause, and looking at everything after five seconds, are a few times.
    assert!(asked(missing) - for_missing < 100, "{}", asked(missing) - for_missing);
    for _ in 0..50 {
        until_removed(&rig).await;
    }
    assert!(asked(ready) - for_ready < 40, "{}", asked(ready) - for_ready);
}

/// Waits until the agent has carried out an order, and so has looked at all that was told before.
async fn until_removed(rig: &Rig) {
    let digest = rig.node.store(b"marker").await;
    rig.node.store.renew(&digest, 1).unwrap();
    let marker = Removal { digest, revision: Revision::ZERO, older_than: Duration::from_secs(1) };
    rig.order(|orders| orders.remove = vec![marker]);
    rig.until("the marker is gone", |rig| rig.node.store.get(&digest).is_none()).await;
}

#[tokio::test]
async fn an_artifact_that_is_lost_is_fetched_again() {
    let source = Node::new();
    let digest = source.store(b"a function").await;
    let rig = Rig::start(Node::new(), empty_view());
    rig.node.store(b"a function").await;
    let named = source.serve().await;
    rig.order(|orders| orders.sources.push(named));
    assign(&rig.view, 1, digest, 5);
    rig.until("ready", |rig| rig.phase(1) == Some(Phase::Ready)).await;
    std::fs::remove_file(rig.node.store.path(&digest)).unwrap();
    rig.node.store.look();
    rig.until("fetched again", |rig| rig.node.store.get(&digest).is_some()).await;
    assert_eq!(std::fs::read(rig.node.store.path(&digest)).unwrap(), b"a function");
    assert_eq!(rig.phase(1), Some(Phase::Ready), "its compiled code was there all the time");
}

#[tokio::test]
async fn what_is_to_be_held_is_fetched_and_compiled() {
    let source = Node::new();
    let digest = source.store(b"a function").await;
    let rig = Rig::start(Node::new(), empty_view());
    let named = source.serve().await;
    rig.order(|orders| {
        orders.sources.push(named);
        orders.hold.insert(digest);
    });
    rig.until("held", |rig| rig.node.compiler.is_prepared(&digest)).await;
    assert!(rig.node.store.get(&digest).is_some());
}

#[tokio::test]
async fn a_removal_waits_for_the_view_and_for_the_grace() {
    let rig = Rig::start(Node::new(), empty_view());
    let digest = rig.node.store(b"a function").await;
    rig.node.compiler.prepared.lock().unwrap().insert(digest);
    let hour = Duration::from_secs(3600);
    let removal = Removal { digest, revision: Revision::new(20), older_than: hour };
    let marker = rig.node.store(b"marker").await;
    let now_ms = clock::unix_ms();
    let old_ms = now_ms - 2 * 3_600_000;
    rig.node.store.renew(&digest, old_ms).unwrap();
    rig.node.store.renew(&marker, old_ms).unwrap();
    // The view is older than the order: kept. The marker's order is of revision 0 and comes after it.
    let marked = Removal { digest: marker, revision: Revision::ZERO, older_than: hour };
    rig.order(|orders| orders.remove = vec![removal, marked]);
    rig.until("the marker is gone", |rig| rig.node.store.get(&marker).is_none()).await;
    assert!(rig.node.store.get(&digest).is_some());

    // New enough, but a deploy renewed it: kept.
    change(&rig.view, 20, Vec::new());
    rig.node.store.renew(&digest, now_ms).unwrap();
    rig.node.store(b"marker").await;
    rig.node.store.renew(&marker, old_ms).unwrap();
    rig.order(|_| {});
    rig.until("the marker is gone", |rig| rig.node.store.get(&marker).is_none()).await;
    assert!(rig.node.store.get(&digest).is_some());

    rig.node.store.renew(&digest, old_ms).unwrap();
    rig.order(|_| {});
    rig.until("removed, with what was compiled of it", |rig| {
        rig.node.store.get(&digest).is_none() && !rig.node.compiler.is_prepared(&digest)
    })
    .await;
}

#[tokio::test]
async fn an_artifact_that_rotted_is_fetched_again() {
    let source = Node::new();
    let digest = source.store(b"a function").await;
    let rig = Rig::start(Node::new(), empty_view());
    rig.node.store(b"a function").await;
    std::fs::write(rig.node.store.path(&digest), b"a fumction").unwrap();
    let named = source.serve().await;
    rig.order(|orders| orders.sources.push(named));
    assign(&rig.view, 1, digest, 5);
    rig.until("ready", |rig| rig.phase(1) == Some(Phase::Ready)).await;
    assert_eq!(std::fs::read(rig.node.store.path(&digest)).unwrap(), b"a function");
}

/// Whatever it finds out holds up nobody.
#[tokio::test]
async fn the_runtime_is_told_once_of_each_version_that_is_made_ready_and_of_none_that_was() {
    let node = Node::new();
    let (known, new) = (node.store(b"a function").await, node.store(b"another").await);
    node.compiler.prepared.lock().unwrap().insert(known);
    let view = empty_view();
    assign(&view, 1, known, 5);
    let rig = Rig::start(node, view);
    // One that the view had not told of: its code was there before, and so was the version.
    assign(&rig.view, 2, known, 6);
    assign(&rig.view, 3, new, 7);
    // One whose code is there, as what was uploaded here is.
    let [version, replica] = assignment(4, known, 8);
    let Record::Version(version) = version else { panic!("a version and its assignment") };
    let version = Record::Version(Version { created_ms: clock::unix_ms(), ..version });
    change(&rig.view, 8, vec![Change::put(version), Change::put(replica)]);
    rig.until("all are ready", |rig| (1..=4).all(|number| rig.phase(number) == Some(Phase::Ready))).await;
    rig.until("both are told of", |rig| rig.node.compiler.ready.lock().unwrap().len() >= 2).await;
    for _ in 0..5 {
        until_removed(&rig).await;
    }
    let mut ready = rig.node.compiler.ready.lock().unwrap().clone();
    ready.sort_unstable();
    assert_eq!(ready, [3, 4]);
}
