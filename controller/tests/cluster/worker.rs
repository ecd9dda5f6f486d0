//! A data plane as a controller sees it: it says what it holds, and reports as fast as it is told to.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_proto::codec::node_to_wire;
use coracle_proto::id::ClusterId;
use coracle_proto::pb::artifacts_server::{Artifacts, ArtifactsServer};
use coracle_proto::pb::{
    CopyReply, GetChunk, GetRequest, HeldArtifact, JoinRequest, Kind, Load, NodeStatus, Orders, ReplicaPhase,
    ReplicaStatus, StatReply, StatRequest, Stored, UploadChunk, UploadEvent, upload_event::Kind as Kinds,
};
use coracle_proto::record::Role;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::running::{Running, own_record};

type Answers<T> = ReceiverStream<Result<T, Status>>;

/// What a worker holds and says; tests write it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Says {
    pub(crate) artifacts: Vec<HeldArtifact>,
    pub(crate) replicas: Vec<ReplicaStatus>,
    /// So many questions about artifacts are not answered, as by a process that is gone.
    pub(crate) unanswered: u32,
    /// Questions about artifacts.
    pub(crate) asked: u32,
    /// Bytes of the last upload.
    pub(crate) received: u64,
    pub(crate) uploads_ended: u32,
    /// What it has to compile.
    pub(crate) compile_bytes: u64,
    /// Of the state that its gateway routes by.
    pub(crate) routing_revision: u64,
}

pub(crate) struct Worker {
    pub(crate) id: u64,
    pub(crate) says: Arc<Mutex<Says>>,
    pub(crate) orders: Arc<Mutex<Orders>>,
    reporting: JoinHandle<()>,
}

struct Store(Arc<Mutex<Says>>);

#[tonic::async_trait]
impl Artifacts for Store {
    type PutStream = Answers<UploadEvent>;
    async fn put(
        &self,
        request: Request<Streaming<UploadChunk>>,
    ) -> Result<Response<Self::PutStream>, Status> {
        let (events, queue) = mpsc::channel(4);
        let (mut chunks, says) = (request.into_inner(), Arc::clone(&self.0));
        tokio::spawn(async move {
            let mut size = 0;
            while let Ok(Some(chunk)) = chunks.message().await {
                size += chunk.data.len() as u64;
                says.lock().expect("no panic").received = size;
            }
            says.lock().expect("no panic").uploads_ended += 1;
            let stored = Stored { size, ..Stored::default() };
            // A client that left is not told.
            let _ = events.send(Ok(UploadEvent { kind: Some(Kinds::Stored(stored)) })).await;
        });
        Ok(Response::new(ReceiverStream::new(queue)))
    }

    async fn copy(&self, _: Request<Streaming<UploadChunk>>) -> Result<Response<CopyReply>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    type GetStream = Answers<GetChunk>;
    async fn get(&self, _: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        let asked = request.into_inner();
        if asked.digest.is_empty() {
            let compile_bytes = self.0.lock().expect("no panic").compile_bytes;
            return Ok(Response::new(StatReply { compile_bytes, ..StatReply::default() }));
        }
        assert!(asked.renew, "a deploy begins the grace anew");
        let mut says = self.0.lock().expect("no panic");
        says.asked += 1;
        if let Some(left) = says.unanswered.checked_sub(1) {
            says.unanswered = left;
            return Err(Status::unavailable("connection refused"));
        }
        let held = says.artifacts.iter().any(|held| held.digest == asked.digest);
        Ok(Response::new(StatReply {
            held,
            size: 5,
            kind: Kind::HttpComponent.into(),
            ..StatReply::default()
        }))
    }
}

/// Joins as a worker and reports to `to` until it is told to be silent.
pub(crate) async fn worker(to: &Running, request: u8) -> Worker {
    let (_awake, frozen) = watch::channel(false);
    join_as(to, request, &[Role::Worker], frozen).await
}

/// The same, as a gateway too.
pub(crate) async fn gateway(to: &Running, request: u8) -> Worker {
    let (_awake, frozen) = watch::channel(false);
    join_as(to, request, &[Role::Worker, Role::Gateway], frozen).await
}

/// The same, but its process is stopped when it is told so, or was before: connections are taken by the kernel alone.
pub(crate) async fn freezes(to: &Running, request: u8, frozen: bool) -> (Worker, watch::Sender<bool>) {
    let (freeze, frozen) = watch::channel(frozen);
    (join_as(to, request, &[Role::Worker], frozen).await, freeze)
}

/// Passes connections on to the process behind it, until it is frozen: then nothing more is read and nothing closed.
async fn relay(
    listener: TcpListener,
    served: TcpListener,
    store: ArtifactsServer<Store>,
    frozen: watch::Receiver<bool>,
) {
    let address = served.local_addr().expect("bound");
    tokio::spawn(Server::builder().add_service(store).serve_with_incoming(TcpListenerStream::new(served)));
    while !*frozen.borrow()
        && let Ok((mut caller, _)) = listener.accept().await
    {
        let mut frozen = frozen.clone();
        tokio::spawn(async move {
            let mut process = TcpStream::connect(address).await.expect("it listens");
            // Nobody may be there to freeze it.
            let until_frozen = async {
                if frozen.wait_for(|frozen| *frozen).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut caller, &mut process) => return,
                () = until_frozen => {}
            }
            std::future::pending::<()>().await;
        });
    }
    std::future::pending::<()>().await;
}

async fn join_as(to: &Running, request: u8, roles: &[Role], frozen: watch::Receiver<bool>) -> Worker {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let mut record = own_record("worker");
    record.roles = roles.iter().copied().collect();
    record.addresses.data = listener.local_addr().expect("bound").to_string();
    let says = Arc::new(Mutex::new(Says::default()));
    let store = ArtifactsServer::new(Store(Arc::clone(&says)));
    let served = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    tokio::spawn(relay(listener, served, store, frozen));
    let asked = JoinRequest {
        node: Some(node_to_wire(&record)),
        request_id: vec![request; 16].into(),
        ..JoinRequest::default()
    };
    let id = to.control().join(asked).await.expect("an id").into_inner().node_id;
    let orders = Arc::new(Mutex::new(Orders::default()));
    let reporting = report(to, id, Arc::clone(&says), Arc::clone(&orders)).await;
    Worker { id, says, orders, reporting }
}

async fn report(to: &Running, id: u64, says: Arc<Mutex<Says>>, orders: Arc<Mutex<Orders>>) -> JoinHandle<()> {
    let (statuses, queue) = mpsc::channel(1);
    let told = to.control().report(ReceiverStream::new(queue)).await.expect("a stream of orders");
    let (mut told, cluster) = (told.into_inner(), to.identity.cluster);
    tokio::spawn(async move {
        for sequence in 1.. {
            let status = status(id, cluster, sequence, says.lock().expect("no panic").clone());
            if statuses.send(status).await.is_err() {
                return;
            }
            let Ok(Some(answer)) = told.message().await else { return };
            let pause = Duration::from_millis(answer.interval_ms.into());
            *orders.lock().expect("no panic") = answer;
            tokio::time::sleep(pause).await; // a bounded poll
        }
    })
}

fn status(node: u64, cluster: ClusterId, sequence: u64, says: Says) -> NodeStatus {
    NodeStatus {
        node,
        cluster_id: cluster.to_wire(),
        incarnation: 1,
        sequence,
        replicas: says.replicas,
        artifacts: says.artifacts,
        load: Some(Load { slots: 2, ..Load::default() }),
        routing_revision: says.routing_revision,
        ..NodeStatus::default()
    }
}

impl Worker {
    pub(crate) fn holds(&self, digest: &[u8], age_ms: u64) {
        let held = HeldArtifact { digest: digest.to_vec().into(), size: 5, age_ms };
        self.says.lock().expect("no panic").artifacts.push(held);
    }

    /// From now on it holds this version of a function, and no other one of it.
    pub(crate) fn is_ready(&self, name: &str, version: u64, epoch: u64) {
        let mut says = self.says.lock().expect("no panic");
        says.replicas.retain(|replica| replica.name != name);
        says.replicas.push(ReplicaStatus {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            version,
            epoch,
            phase: ReplicaPhase::Ready.into(),
            ..ReplicaStatus::default()
        });
    }

    pub(crate) fn orders(&self) -> Orders {
        self.orders.lock().expect("no panic").clone()
    }

    /// Reports no more, as if its process had been killed.
    pub(crate) fn falls_silent(&self) {
        self.reporting.abort();
    }
}
