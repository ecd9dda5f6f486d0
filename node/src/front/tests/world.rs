//! A cluster without controllers: workers over real gRPC, one gateway over real HTTP, and a view that tests set.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, Epoch, NodeId, Revision, StoreId};
use coracle_proto::record::{
    Addresses, Change, Function, Node, NodeState, Record, Replica, Role, Route, Version, Weight,
};
use coracle_proto::spec::Draft;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::dispatch::Dispatcher;
use crate::front::{Front, Options};
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::view::{NodeSoft, Phase, ReplicaSoft, Stamp, View, ViewHandle};
use crate::worker::tests::{Fixed, Guest, metrics, version};
use crate::worker::{self, Executor, WorkerService};

pub(crate) const CLUSTER: ClusterId = ClusterId::new(77);
pub(crate) type SendBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// What a wire between gateway and worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Carries,
    /// Connected, but nothing arrives: as with a stopped process.
    Stopped,
    /// Every connection is reset, new ones are refused.
    Cut,
}

pub(crate) struct Worker {
    pub(crate) id: u64,
    pub(crate) guest: Arc<Guest>,
    pub(crate) assigned: Arc<Fixed>,
    pub(crate) executor: Executor,
    pub(crate) wire: watch::Sender<Wire>,
    pub(crate) address: SocketAddr,
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) front: Front,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) view: ViewHandle,
    pub(crate) version: Arc<Version>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) client: Client<HttpConnector, SendBody>,
    _stop: DropGuard,
}

/// What a world is made of.
pub(crate) struct Plan {
    pub(crate) guests: Vec<Arc<Guest>>,
    /// Which of them is in the gateway's process.
    pub(crate) local: Option<usize>,
    pub(crate) draft: Draft,
    pub(crate) options: Options,
    /// Calls that each worker runs at once.
    pub(crate) running_max: u32,
}

impl Plan {
    pub(crate) fn local(guest: Arc<Guest>) -> Self {
        Self { local: Some(0), ..Self::remote(vec![guest]) }
    }

    pub(crate) fn remote(guests: Vec<Arc<Guest>>) -> Self {
        let (draft, options) = (Draft::default(), Options::DEFAULTS);
        Self { guests, local: None, draft, options, running_max: u32::MAX }
    }

    pub(crate) async fn start(self) -> World {
        let version = version("f", self.draft);
        let stop = CancellationToken::new();
        let mut workers = Vec::new();
        for (index, guest) in self.guests.into_iter().enumerate() {
            workers.push(worker(index as u64 + 1, guest, &version, self.running_max, &stop).await);
        }
        let view = ViewHandle::with(view(&version, &workers));
        let local = self.local.map(|index| workers[index].executor.clone());
        let metrics = metrics();
        let dispatcher = Dispatcher::new(view.clone(), local, Arc::clone(&metrics));
        let stores = Stores::new(view.clone(), CLUSTER);
        let node = NodeId::new(1);
        let front =
            Front::new(self.options, node, view.clone(), dispatcher.clone(), stores, Arc::clone(&metrics));
        tokio::spawn(dispatcher.clone().run(stop.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(front.clone().run(listener, Handle::current(), stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let stop = stop.drop_guard();
        World { address, front, dispatcher, metrics, view, version, workers, client, _stop: stop }
    }
}

async fn worker(
    id: u64,
    guest: Arc<Guest>,
    version: &Arc<Version>,
    running_max: u32,
    stop: &CancellationToken,
) -> Worker {
    let assigned = Arc::new(Fixed::default());
    assigned.set(version, 1, true);
    let (invoke, assignments) = (Arc::clone(&guest), Arc::clone(&assigned));
    let options = worker::Options::new(NodeId::new(id), 2).within(running_max);
    let executor = Executor::new(options, invoke, assignments, metrics());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = listener.local_addr().unwrap();
    let service = WorkerService::new(CLUSTER, executor.clone(), Handle::current()).into_server();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(coracle_transport::calls::ANSWER_WINDOW_BYTES)
        .initial_connection_window_size(coracle_transport::calls::CONNECTION_WINDOW_BYTES)
        .add_service(service);
    tokio::spawn(server.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned()));
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    let wire = watch::Sender::new(Wire::Carries);
    tokio::spawn(carry(front, behind, wire.subscribe()));
    Worker { id, guest, assigned, executor, wire, address }
}

/// Between gateway and worker: what does what the test says.
async fn carry(front: TcpListener, behind: SocketAddr, wire: watch::Receiver<Wire>) {
    while let Ok((near, _)) = front.accept().await {
        if *wire.borrow() == Wire::Cut {
            continue;
        }
        let far = TcpStream::connect(behind).await.unwrap();
        // Each waits for no more to send: the figures are the program's, not the wire's.
        far.set_nodelay(true).unwrap();
        near.set_nodelay(true).unwrap();
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        let mut cut = wire.clone();
        let there = pump(near_in, far_out, wire.clone());
        let back = pump(far_in, near_out, wire.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = async { tokio::join!(there, back) } => {}
                _ = cut.wait_for(|wire| *wire == Wire::Cut) => {}
            }
        });
    }
}

async fn pump(
    from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
) {
    use tokio::io::AsyncWriteExt as _;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let _ = from.readable().await;
        if wire.wait_for(|wire| *wire != Wire::Stopped).await.is_err() {
            return;
        }
        match from.try_read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown().await;
                return;
            }
            Ok(count) => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// A place in the network where nobody is, as long as it is kept.
pub(crate) fn nobody() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn view(version: &Arc<Version>, workers: &[Worker]) -> View {
    let nodes = workers.iter().map(|worker| Change::put(Record::Node(node(worker.id, worker.address))));
    let changes = nodes.chain(function(version, "/f/*", workers)).collect();
    let mut view = View { cluster: CLUSTER, ..View::default() };
    assert!(view.routing.take(Stamp { revision: Revision::new(1), hash: None }, changes, true));
    view
}

fn node(id: u64, address: SocketAddr) -> Node {
    Node {
        id: NodeId::new(id),
        name: format!("n{id}"),
        roles: Role::DEFAULT.into_iter().collect(),
        zone: String::new(),
        version: String::new(),
        addresses: Addresses { data: address.to_string(), ..Addresses::default() },
        state: NodeState::Alive,
        registered: Revision::new(1),
        slots: 2,
        memory_bytes: 1 << 30,
        store: StoreId::UNKNOWN,
    }
}

/// A function with a replica on every worker.
fn function(version: &Arc<Version>, route: &str, workers: &[Worker]) -> Vec<Change> {
    let mut changes = vec![
        Change::put(Record::Version(Version::clone(version))),
        Change::put(Record::Function(Function {
            id: version.id.function.clone(),
            latest: version.id.number,
            traffic: vec![Weight { version: version.id.number, weight: 1 }],
            next: vec![],
            routes: vec![],
            route_grants: vec![],
            created_ms: 0,
            updated_ms: 0,
            updated: Revision::new(1),
        })),
        Change::put(Record::Route(Route {
            spec: route.parse().unwrap(),
            function: version.id.function.clone(),
        })),
    ];
    changes.extend(workers.iter().map(|worker| {
        Change::put(Record::Replica(Replica {
            version: version.id.clone(),
            node: NodeId::new(worker.id),
            epoch: Epoch::new(1),
        }))
    }));
    changes
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Whole {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(self.url(path))
    }

    pub(crate) async fn send(&self, request: Request<SendBody>) -> Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    pub(crate) async fn whole(&self, request: Request<SendBody>) -> Whole {
        let (head, body) = self.send(request).await.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(10), body.collect()).await.unwrap().unwrap();
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Whole { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Whole {
        self.whole(self.request("GET", path).body(empty()).unwrap()).await
    }

    pub(crate) fn change(&self, changes: Vec<Change>) {
        self.view.update(|view| {
            let revision = Revision::new(view.routing.stamp.revision.get() + 1);
            view.routing.take(Stamp { revision, hash: None }, changes, false)
        });
    }

    /// Makes the view say that a worker is at another address.
    pub(crate) fn moves(&self, worker: u64, address: SocketAddr) {
        self.change(vec![Change::put(Record::Node(node(worker, address)))]);
    }

    /// Adds a function to the view, and assigns it to every worker.
    pub(crate) fn add(&self, version: &Arc<Version>, route: &str) {
        for worker in &self.workers {
            worker.assigned.set(version, 1, true);
        }
        self.change(function(version, route, &self.workers));
    }

    /// Makes the view say how far a worker is, so that calls prefer those that are ready.
    pub(crate) fn says(&self, worker: u64, phase: Phase) {
        let replica = ReplicaSoft { epoch: Epoch::new(1), phase };
        self.view.update(|view| {
            let sequence = view.soft.get(&NodeId::new(worker)).map_or(1, |soft| soft.sequence + 1);
            view.take_soft(NodeSoft {
                node: NodeId::new(worker),
                incarnation: 1,
                sequence,
                replicas: [(self.version.id.clone(), replica)].into_iter().collect(),
                ..NodeSoft::default()
            })
        });
    }
}

pub(crate) fn empty() -> SendBody {
    full("")
}

pub(crate) fn full(text: &'static str) -> SendBody {
    SendBody::new(Full::from(text).map_err(|never| match never {}))
}
