//! Members in this process, each with a server of its own that can be killed, over real connections.

#![allow(dead_code, reason = "each test binary uses a part of the harness")]

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, NodeId};
use coracle_raft::{AddressBook, MemberId, OpenError, Options, ProposeError, Raft, Role, Status, Timing};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;

use crate::kv::{Kv, Mirror};

#[path = "port.rs"]
mod port;

/// How long a test waits for what it expects: a busy machine is slow, a wrong program never gets there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const CLUSTER: ClusterId = ClusterId::new(0xc0_4ac1e);

pub(crate) fn id(node: u64) -> NodeId {
    NodeId::new(node)
}

pub(crate) fn identity(node: u64) -> MemberId {
    MemberId { cluster: CLUSTER, group: GroupId::META, node: id(node) }
}

pub(crate) fn options(dir: &Path, node: u64) -> Options {
    Options::new(dir.join(format!("node-{node}")).join("raft/0"), identity(node))
}

/// A single member, without a server.
pub(crate) async fn open(options: Options) -> Result<Raft<Kv>, OpenError> {
    Raft::open(options, Arc::new(Mirror::default()), Arc::new(coracle_raft::RecordedAddresses)).await
}

/// A single member that leads itself.
pub(crate) async fn open_single(dir: &Path) -> Raft<Kv> {
    let raft = open(options(dir, 1)).await.unwrap();
    if raft.status().voters.is_empty() {
        raft.initialize(BTreeMap::from([(id(1), "127.0.0.1:1".to_owned())])).await.unwrap();
    }
    until(&raft, "it leads", |status| status.role == Role::Leader).await;
    raft
}

/// Waits for a status; panics with the last one.
pub(crate) async fn until(raft: &Raft<Kv>, what: &str, wanted: impl Fn(&Status) -> bool + Send) -> Status {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let looked = async {
        loop {
            tick.tick().await;
            let status = raft.status();
            if wanted(&status) {
                return status;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, looked).await;
    found.unwrap_or_else(|_| panic!("waited for '{what}', have {:#?}", raft.status()))
}

/// Waits until a look says so.
pub(crate) async fn eventually(what: &str, look: impl Fn() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let looked = async {
        while !look() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("waited for '{what}'"));
}

pub(crate) fn set(key: impl std::fmt::Display, value: impl std::fmt::Display) -> Bytes {
    Bytes::from(format!("{key}={value}"))
}

pub(crate) fn get(raft: &Raft<Kv>, key: impl std::fmt::Display) -> Option<String> {
    let state = raft.state();
    state.0.get(key.to_string().as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Binds an address that its last owner has just given up, or one that nobody had.
pub(crate) async fn listen(at: Option<SocketAddr>) -> TcpListener {
    let Some(address) = at else {
        for address in port::offers() {
            if let Ok(listener) = TcpListener::bind(address).await {
                return listener;
            }
        }
        panic!("no port is free");
    };
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let bound = async {
        loop {
            tick.tick().await;
            if let Ok(listener) = TcpListener::bind(address).await {
                return listener;
            }
        }
    };
    let bound = tokio::time::timeout(PATIENCE, bound).await;
    bound.unwrap_or_else(|_| panic!("waited for {address} to be free"))
}

/// Lets other members reach a member, until the runtime ends.
pub(crate) async fn serve(raft: &Raft<Kv>, at: Option<SocketAddr>) -> (SocketAddr, Runtime) {
    let listener = listen(at).await;
    let address = listener.local_addr().unwrap();
    let listener = listener.into_std().unwrap();
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let service = raft.service();
    server.spawn(async move {
        let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
    });
    (address, server)
}

/// Which address leads from one member to another: a proxy for each link, so that a test can cut one.
#[derive(Default)]
pub(crate) struct Links {
    from: u64,
    routes: Arc<Mutex<HashMap<(u64, u64), String>>>,
}

impl AddressBook for Links {
    fn address(&self, node: NodeId, recorded: &str) -> String {
        let routes = self.routes.lock().unwrap();
        routes.get(&(self.from, node.get())).cloned().unwrap_or_else(|| recorded.to_owned())
    }
}

/// A member and its server.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) raft: Raft<Kv>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) address: SocketAddr,
    server: Runtime,
}

impl Node {
    /// As if the process were killed: connections are reset, the port refuses, nothing is handed over.
    pub(crate) async fn kill(self) {
        let Self { raft, server, .. } = self;
        server.shutdown_background();
        raft.shutdown().await;
    }
}

/// A group of members on loopback.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) nodes: BTreeMap<u64, Node>,
    routes: Arc<Mutex<HashMap<(u64, u64), String>>>,
    adjust: Box<dyn Fn(&mut Options) + Send + Sync>,
}

impl Cluster {
    /// Members 1 to `size`, all voters, with a leader.
    pub(crate) async fn new(size: u64, adjust: impl Fn(&mut Options) + Send + Sync + 'static) -> Self {
        let (dir, routes) = (tempfile::tempdir().unwrap(), Arc::default());
        let mut cluster = Self { dir, nodes: BTreeMap::new(), routes, adjust: Box::new(adjust) };
        for node in 1..=size {
            cluster.start(node, None).await;
        }
        let voters = cluster.nodes.values().map(|node| (id(node.id), node.address.to_string())).collect();
        cluster.nodes[&1].raft.initialize(voters).await.unwrap();
        cluster.leader().await;
        cluster
    }

    /// Starts a member, at the address that it had or at a new one.
    pub(crate) async fn start(&mut self, node: u64, at: Option<SocketAddr>) -> &Node {
        let mut options = options(self.dir.path(), node);
        (self.adjust)(&mut options);
        let links = Arc::new(Links { from: node, routes: Arc::clone(&self.routes) });
        let mirror = Arc::new(Mirror::default());
        let raft = Raft::open(options, Arc::clone(&mirror) as _, links).await.unwrap();
        let (address, server) = serve(&raft, at).await;
        let started = Node { id: node, raft, mirror, address, server };
        self.nodes.insert(node, started);
        &self.nodes[&node]
    }

    pub(crate) async fn kill(&mut self, node: u64) -> SocketAddr {
        let node = self.nodes.remove(&node).unwrap();
        let address = node.address;
        node.kill().await;
        address
    }

    /// The member that every living one takes for the leader, now: on a busy machine it may be another soon.
    pub(crate) async fn leader(&self) -> &Node {
        self.leader_of(&self.nodes.keys().copied().collect::<Vec<_>>()).await
    }

    /// The one that these members take for the leader: the others may not have heard of any.
    async fn leader_of(&self, members: &[u64]) -> &Node {
        let agreed = || {
            let members = members.iter().map(|node| &self.nodes[node]);
            let mut seen = members.map(|node| node.raft.status().leader.map(|leader| leader.node));
            let first = seen.next()??;
            let leader = self.nodes.get(&first.get()).filter(|_| seen.all(|other| other == Some(first)))?;
            (leader.raft.status().role == Role::Leader).then_some(leader)
        };
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let found = async {
            loop {
                tick.tick().await;
                if let Some(leader) = agreed() {
                    return leader;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("waited for one leader"))
    }

    /// Asks whoever leads, and again when that changes meanwhile: `ask` may be done twice.
    pub(crate) async fn at_leader<T>(&self, ask: impl AsyncFn(&Raft<Kv>) -> Result<T, ProposeError>) -> T {
        self.at_leader_of(&self.nodes.keys().copied().collect::<Vec<_>>(), ask).await
    }

    /// The same, while only these members are reached by a leader.
    pub(crate) async fn at_leader_of<T>(
        &self,
        members: &[u64],
        ask: impl AsyncFn(&Raft<Kv>) -> Result<T, ProposeError>,
    ) -> T {
        let mut last = None;
        let asked = async {
            loop {
                match ask(&self.leader_of(members).await.raft).await {
                    Ok(answer) => return answer,
                    Err(error @ (ProposeError::TooLarge { .. } | ProposeError::Stopped { .. })) => {
                        panic!("{error}")
                    }
                    Err(error) => last = Some(error),
                }
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        asked.unwrap_or_else(|_| panic!("waited for a leader to do it: {last:?}"))
    }

    /// Has a command applied.
    pub(crate) async fn propose(&self, command: Bytes) -> Bytes {
        self.at_leader(async |raft| raft.propose(command.clone()).await).await
    }

    /// Waits until a member has all that was answered, and its observer was told of it.
    pub(crate) async fn caught_up(&self, node: u64) -> &Node {
        let node = &self.nodes[&node];
        let mut last = None;
        let read = async {
            while let Err(error) = node.raft.read_barrier().await {
                last = Some(error);
            }
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.unwrap_or_else(|_| panic!("waited for node {} to catch up: {last:?}", node.id));
        eventually("the observer is told", || node.mirror.0.lock().unwrap().0 == node.raft.state()).await;
        node
    }

    pub(crate) fn followers(&self, leader: u64) -> Vec<u64> {
        self.nodes.keys().copied().filter(|node| *node != leader).collect()
    }

    /// Lets a link run through a proxy from now on.
    pub(crate) async fn proxy(&self, from: u64, to: u64) -> Link {
        let link = Link::new(self.nodes[&to].address).await;
        self.routes.lock().unwrap().insert((from, to), link.address.to_string());
        link
    }

    /// Lets a link run to an address that is nobody's.
    pub(crate) fn mislead(&self, from: u64, to: u64, address: SocketAddr) {
        self.routes.lock().unwrap().insert((from, to), address.to_string());
    }

    pub(crate) async fn shutdown(self) -> tempfile::TempDir {
        for node in self.nodes.into_values() {
            node.kill().await;
        }
        self.dir
    }
}

/// A forwarder that can be cut: its connections end, its port refuses.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    to: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl Link {
    async fn new(to: SocketAddr) -> Self {
        let listener = listen(None).await;
        let address = listener.local_addr().unwrap();
        Self { address, to, task: Some(tokio::spawn(forward(listener, to))) }
    }

    pub(crate) async fn cut(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    pub(crate) async fn mend(&mut self) {
        self.task = Some(tokio::spawn(forward(listen(Some(self.address)).await, self.to)));
    }
}

async fn forward(listener: TcpListener, to: SocketAddr) {
    // Aborting this task drops the set, which ends every connection.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            let Ok(mut far) = TcpStream::connect(to).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

/// Counts how often this process did not run for longer than an election waits: a leader that is replaced then was
/// replaced for want of a processor.
pub(crate) struct Stalls(Arc<AtomicUsize>, JoinHandle<()>);

impl Stalls {
    #[expect(clippy::disallowed_methods, reason = "the time between two ticks is measured")]
    pub(crate) fn watch(longer_than: Duration) -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let watching = tokio::spawn(async move {
            let mut tick = tokio::time::interval(longer_than / 20);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut last = Instant::now();
            loop {
                tick.tick().await;
                counted.fetch_add(usize::from(last.elapsed() > longer_than), Ordering::Relaxed);
                last = Instant::now();
            }
        });
        Self(count, watching)
    }

    pub(crate) fn seen(self) -> usize {
        self.1.abort();
        self.0.load(Ordering::Relaxed)
    }
}

/// Times for tests that wait for elections.
pub(crate) const QUICK: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(250),
    election_max: Duration::from_millis(500),
};
