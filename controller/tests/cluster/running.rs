//! Controllers in this process, over real loopback gRPC and real stores.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coracle_controller::identity::{self, Identity};
use coracle_controller::model::VOTERS_WANTED_DEFAULT;
use coracle_controller::{ARTIFACT_GRACE, Listener, Options, RunError, TIMING, run_on};
use coracle_proto::codec::node_to_wire;
use coracle_proto::id::{ClusterId, NodeId, RequestId, Revision, StoreId};
use coracle_proto::pb::admin_client::AdminClient;
use coracle_proto::pb::control_client::ControlClient;
use coracle_proto::pb::watch_frame::Body;
use coracle_proto::pb::{
    self, AllScope, JoinRequest, NodeStatus, Scope, StatusReply, StatusRequest, WatchRequest, record, scope,
};
use coracle_proto::record::{Addresses, Node, NodeState, Role};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

#[path = "../../raft/tests/harness/port.rs"]
mod port;

/// Longer than a verdict of the detector, which begins its wait anew whenever a busy machine stops it for two
/// seconds; what takes longer has failed.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// Numbers of starts: each is greater than those before.
static STARTS: AtomicU64 = AtomicU64::new(1);

/// A controller that runs.
pub(crate) struct Running {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) identity: Identity,
    dir: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), RunError>>,
}

/// What a node without a store says of itself. Its data plane's address leads nowhere.
pub(crate) fn own_record(name: &str) -> Node {
    Node {
        id: NodeId::new(0),
        name: name.to_owned(),
        roles: [Role::Controller, Role::Worker, Role::Gateway].into(),
        zone: String::new(),
        version: "0.0.0".to_owned(),
        addresses: Addresses { data: "127.0.0.1:1".to_owned(), ..Addresses::default() },
        state: NodeState::Alive,
        registered: Revision::ZERO,
        slots: 2,
        memory_bytes: 1 << 30,
        store: StoreId::UNKNOWN,
    }
}

/// Makes a cluster of one.
pub(crate) fn found(dir: &Path) -> Running {
    found_with(dir, VOTERS_WANTED_DEFAULT)
}

/// The same, of which so many should vote when there are so many.
pub(crate) fn found_with(dir: &Path, voters_wanted: u32) -> Running {
    let identity = identity::found(dir, "boat").expect("an identity");
    start_on(dir, identity, listener(), voters_wanted)
}

/// Joins the cluster behind `seeds`.
pub(crate) async fn join(dir: &Path, seeds: &[String]) -> Running {
    let listener = listener();
    let mut node = own_record("joined");
    node.addresses.grpc = listener.address().to_string();
    let identity = let_in(seeds, &node).await;
    start_on(dir, identity, listener, VOTERS_WANTED_DEFAULT)
}

/// Asks for an id, as a supervisor does, until one of the seeds gives it.
pub(crate) async fn let_in(seeds: &[String], node: &Node) -> Identity {
    let request = JoinRequest {
        node: Some(node_to_wire(node)),
        request_id: RequestId::new((1 << 64) + u128::from(STARTS.fetch_add(1, Ordering::Relaxed))).to_wire(),
        ..JoinRequest::default()
    };
    let given = until("an id", async || {
        for seed in seeds {
            let reply = ControlClient::new(channel(seed)).join(request.clone()).await;
            if let Ok(reply) = reply {
                return Some(reply.into_inner());
            }
        }
        None
    });
    let given = given.await;
    Identity {
        cluster: ClusterId::try_from(&given.cluster_id[..]).expect("a cluster"),
        cluster_name: given.cluster_name,
        node: NodeId::new(given.node_id),
        founder: false,
        controllers: given.controllers,
    }
}

fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy()
}

/// A port that is still free when its controller comes back.
fn listener() -> Listener {
    port::offers().find_map(|address| Listener::bind(address).ok()).expect("a free port")
}

/// Starts a controller that has an identity, where it was before.
pub(crate) fn start(dir: &Path, identity: Identity, listen: SocketAddr) -> Running {
    #[expect(clippy::disallowed_methods, reason = "a test's own deadline")]
    let begun = Instant::now();
    loop {
        match Listener::bind(listen) {
            Ok(listener) => return start_on(dir, identity, listener, VOTERS_WANTED_DEFAULT),
            Err(error) => assert!(begun.elapsed() < WAIT, "waited {WAIT:?} in vain: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20)); // a bounded poll
    }
}

fn start_on(dir: &Path, identity: Identity, listener: Listener, voters_wanted: u32) -> Running {
    let address = listener.address();
    let options = Options {
        data_dir: dir.to_owned(),
        identity: identity.clone(),
        incarnation: STARTS.fetch_add(1, Ordering::Relaxed),
        node: Node { roles: [Role::Controller].into(), ..own_record(&format!("n{}", identity.node)) },
        voters_wanted,
        listen: address,
        timing: TIMING,
        artifact_grace: ARTIFACT_GRACE,
        accept_failed_sync: false,
    };
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(run_on(options, listener, async {
        let _ = stopped.await;
    }));
    Running { id: identity.node, address, identity, dir: dir.to_owned(), stop: Some(stop), task }
}

impl Running {
    pub(crate) fn seed(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn channel(&self) -> Channel {
        channel(&self.seed())
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel())
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel())
    }

    pub(crate) async fn status(&self) -> Option<StatusReply> {
        let reply = self.admin().status(StatusRequest { stale: false }).await;
        reply.ok().map(tonic::Response::into_inner)
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) -> (PathBuf, Identity, SocketAddr) {
        let stop = self.stop.take().expect("stopped once");
        let _ = stop.send(());
        (&mut self.task).await.expect("no panic").expect("an orderly end");
        (self.dir.clone(), self.identity.clone(), self.address)
    }

    /// How it ended by itself.
    pub(crate) async fn ended(self) -> Result<(), RunError> {
        tokio::time::timeout(WAIT, self.task).await.expect("an end").expect("no panic")
    }

    /// Every record, as a new watcher is shown them.
    pub(crate) async fn records(&self) -> Vec<record::Value> {
        let scope = Some(Scope { kind: Some(scope::Kind::All(AllScope {})) });
        let asked = WatchRequest { scope, ..WatchRequest::default() };
        let mut frames = self.control().watch(asked).await.expect("a watch").into_inner();
        let read = |bytes: bytes::Bytes| pb::Record::decode(bytes).expect("a record");
        let mut records = Vec::new();
        loop {
            let frame = tokio::time::timeout(WAIT, frames.message()).await.expect("a frame in time");
            let Some(Body::Snapshot(snapshot)) = frame.expect("no error").expect("a frame").body else {
                panic!("a snapshot comes first")
            };
            records.extend(snapshot.records.into_iter().filter_map(|change| read(change.record?).value));
            if snapshot.last {
                return records;
            }
        }
    }

    /// Reports as this node's data plane would, until the guard is dropped.
    pub(crate) async fn report(&self, to: &Self) -> mpsc::Sender<NodeStatus> {
        let (statuses, queue) = mpsc::channel(8);
        let stream = tokio_stream::wrappers::ReceiverStream::new(queue);
        let mut orders = to.control().report(stream).await.expect("a stream of orders").into_inner();
        tokio::spawn(async move { while let Ok(Some(_)) = orders.message().await {} });
        statuses
    }
}

/// Waits until `ready` gives something, or fails with the reason.
pub(crate) async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "a test's own deadline")]
    let begun = Instant::now();
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(begun.elapsed() < WAIT, "waited {WAIT:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await; // a bounded poll
    }
}
