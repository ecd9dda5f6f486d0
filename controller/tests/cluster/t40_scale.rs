//! Goal: a thousand nodes with a hundred replicas each cost one controller a fifth of a core: what they say again and
//! again is small, and gateways are told only what changed.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coracle_proto::codec::node_to_wire;
use coracle_proto::pb::artifacts_server::{Artifacts, ArtifactsServer};
use coracle_proto::pb::control_client::ControlClient;
use coracle_proto::pb::{
    AllScope, CopyReply, Deploy, DeployRequest, FunctionSpec, GatewayScope, GetChunk, GetRequest,
    HeldArtifact, JoinRequest, Kind, Load, NodeStatus, Record, ReplicaPhase, ReplicaStatus, Scope, StatReply,
    StatRequest, UploadChunk, UploadEvent, WatchRequest, record::Value, scope, watch_frame::Body,
};
use coracle_proto::record::Role;
use futures::StreamExt as _;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::raw::follow;
use crate::running::{Running, found, own_record, until};

const NODES: usize = 1000;
const REPLICAS: usize = 100;
/// Functions that are placed, on [`REPLICAS`] nodes each: as many replicas a node. A build without optimization takes
/// minutes to place them all: it places a few, and nodes say that they have the others.
const FUNCTIONS: usize = if cfg!(debug_assertions) { NODES / 50 } else { NODES };
const PLACED: usize = FUNCTIONS * REPLICAS / NODES;
/// Nodes that are gateways too. All of them are told all phases once, which takes a build without optimization minutes.
const GATEWAYS: usize = if cfg!(debug_assertions) { NODES / 10 } else { NODES };
/// Nodes whose streams share one connection.
const NODES_A_CONNECTION: usize = 250;
/// For so long the controller is looked at once everything stands.
const LOOKED_AT: Duration = Duration::from_secs(10);
/// Longer than the planner rests between two rounds.
const QUIET: Duration = Duration::from_secs(5);
/// Of one core, in thousandths; a build without optimization is given five times as much.
const CPU_PERMILLE_MAX: u64 = if cfg!(debug_assertions) { 1000 } else { 200 };
/// Bytes that one quiet gateway may be told in a second.
const GATEWAY_BYTES_MAX: u64 = 1000;

/// Says of every artifact that it is there.
struct Store;

#[tonic::async_trait]
impl Artifacts for Store {
    type PutStream = ReceiverStream<Result<UploadEvent, Status>>;
    async fn put(&self, _: Request<Streaming<UploadChunk>>) -> Result<Response<Self::PutStream>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn copy(&self, _: Request<Streaming<UploadChunk>>) -> Result<Response<CopyReply>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    type GetStream = ReceiverStream<Result<GetChunk, Status>>;
    async fn get(&self, _: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn stat(&self, _: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        Ok(Response::new(StatReply {
            held: true,
            size: 5,
            kind: Kind::HttpComponent.into(),
            ..StatReply::default()
        }))
    }
}

/// What nodes are assigned, as one of them heard for all.
#[derive(Default)]
struct World {
    assigned: Mutex<BTreeMap<u64, Vec<ReplicaStatus>>>,
    /// Replicas that were reported ready.
    ready: AtomicUsize,
    /// Bytes that gateways were told.
    bytes: AtomicU64,
    frames: AtomicU64,
}

impl World {
    fn assigned_since(&self, node: u64, told: usize) -> Vec<ReplicaStatus> {
        let all = self.assigned.lock().unwrap();
        all.get(&node).and_then(|all| all.get(told..)).unwrap_or_default().to_vec()
    }
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().unwrap()
}

/// Thousandths of seconds of CPU that this process used, without the threads of simulated nodes.
fn cpu_ms() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let of_thread = |stat: String| {
        let (name, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        if name.contains("(nodes") { 0 } else { ticks * 10 } // 100 ticks a second, proc(5)
    };
    tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok()).map(of_thread).sum()
}

async fn join(control: &mut ControlClient<Channel>, request: u128, data: &str) -> u64 {
    let mut record = own_record("worker");
    record.roles = [Role::Worker, Role::Gateway].into();
    record.addresses.data = data.to_owned();
    let request_id = request.to_be_bytes().to_vec().into();
    let asked = JoinRequest { node: Some(node_to_wire(&record)), request_id, ..JoinRequest::default() };
    control.join(asked).await.expect("an id").into_inner().node_id
}

/// Hears what everybody is assigned.
async fn hear(node: ControlClient<Channel>, world: Arc<World>) {
    let mut node = node.max_decoding_message_size(64 << 20);
    let scope = Some(Scope { kind: Some(scope::Kind::All(AllScope {})) });
    let asked = WatchRequest { scope, ..WatchRequest::default() };
    let mut frames = node.watch(asked).await.expect("a watch").into_inner();
    while let Ok(Some(frame)) = frames.message().await {
        let changes = match frame.body {
            Some(Body::Snapshot(it)) => it.records,
            Some(Body::Changes(it)) => it.changes,
            Some(Body::Soft(_)) | None => continue,
        };
        let mut assigned = world.assigned.lock().unwrap();
        for change in changes {
            let record = change.record.map(|it| Record::decode(it).expect("a record"));
            if let Some(Value::Replica(it)) = record.and_then(|record| record.value) {
                assigned.entry(it.node).or_default().push(ReplicaStatus {
                    namespace: it.namespace,
                    name: it.name,
                    version: it.version,
                    epoch: it.epoch,
                    phase: ReplicaPhase::Ready.into(),
                    ..ReplicaStatus::default()
                });
            }
        }
    }
}

/// A gateway: it counts what it is told, and does not spend the time to read it.
async fn route(channel: Channel, revision: u64, world: Arc<World>) {
    let mut frames = follow(channel, scope::Kind::Gateway(GatewayScope {}), revision).await;
    while let Ok(Some(frame)) = frames.message().await {
        world.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        world.frames.fetch_add(1, Ordering::Relaxed);
    }
}

/// A worker: it is ready with whatever it is assigned, and says so.
async fn work(mut control: ControlClient<Channel>, id: u64, held: Vec<HeldArtifact>, world: Arc<World>) {
    let (statuses, queue) = mpsc::channel(2);
    let mut orders = control.report(ReceiverStream::new(queue)).await.expect("orders").into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = orders.message().await {} });
    let mut told = 0;
    let mut changes = 1;
    let mut held = Some(held);
    let mut interval = tokio::time::interval(Duration::from_millis(500));
    for sequence in 1.. {
        interval.tick().await;
        let replicas = world.assigned_since(id, told);
        let mut artifacts: Vec<_> = replicas.iter().map(|it| artifact(&it.name)).collect();
        let since = if sequence == 1 { 0 } else { changes };
        changes += u64::from(!replicas.is_empty() && since > 0);
        told += replicas.len();
        world.ready.fetch_add(replicas.len(), Ordering::Relaxed);
        let mut replicas = replicas;
        if let Some(held) = held.take() {
            artifacts.extend(held);
            replicas.extend((PLACED..REPLICAS).map(elsewhere));
        }
        let load = Some(Load { slots: 4, in_flight: (sequence % 3) as u32, ..Load::default() });
        let status = NodeStatus {
            node: id,
            incarnation: 1,
            sequence,
            replicas,
            artifacts,
            load,
            changes,
            since,
            ..NodeStatus::default()
        };
        if statuses.send(status).await.is_err() {
            return;
        }
    }
}

/// A replica that nobody placed: a node that says too much is listened to all the same.
fn elsewhere(at: usize) -> ReplicaStatus {
    let phase = ReplicaPhase::Ready.into();
    ReplicaStatus { name: format!("old-{at}"), version: 1, epoch: 1, phase, ..ReplicaStatus::default() }
}

fn artifact(function: &str) -> HeldArtifact {
    HeldArtifact { digest: digest(function).into(), size: 5, age_ms: 0 }
}

fn digest(function: &str) -> Vec<u8> {
    blake3::hash(function.as_bytes()).as_bytes().to_vec()
}

async fn deploy_all(node: &Running) {
    let admin = node.admin();
    let deploys = futures::stream::iter(0..FUNCTIONS).map(|at| {
        let mut admin = admin.clone();
        async move {
            let name = format!("f{at}");
            let spec = FunctionSpec { replicas: REPLICAS as u32, ..FunctionSpec::default() };
            let deploy = Deploy { digest: digest(&name).into(), name, spec: Some(spec), ..Deploy::default() };
            admin.deploy(DeployRequest { context: None, deploy: Some(deploy) }).await.expect("a version");
        }
    });
    deploys.buffer_unordered(16).collect::<Vec<_>>().await;
}

async fn simulate(node: &Running, world: &Arc<World>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let data = listener.local_addr().expect("bound").to_string();
    let store = Server::builder().add_service(ArtifactsServer::new(Store));
    tokio::spawn(store.serve_with_incoming(TcpListenerStream::new(listener)));
    tokio::spawn(hear(node.control(), Arc::clone(world)));
    let mut control = node.control();
    for at in 0..NODES {
        if at % NODES_A_CONNECTION == 0 {
            control = node.control();
        }
        let id = join(&mut control, at as u128 + 1000, &data).await;
        // Two have everything from the start: somebody must.
        let held = (0..FUNCTIONS).filter(|_| at < 2).map(|at| artifact(&format!("f{at}"))).collect();
        tokio::spawn(work(control.clone(), id, held, Arc::clone(world)));
    }
    // Who is not heard of yet is given nothing: the planner would even that out for minutes.
    until("all are heard", async || {
        let status = node.status().await?;
        (status.nodes.iter().filter(|it| it.status.is_some()).count() >= NODES).then_some(())
    })
    .await;
    deploy_all(node).await;
    until("all replicas are ready", async || {
        (world.ready.load(Ordering::Relaxed) >= FUNCTIONS * REPLICAS).then_some(())
    })
    .await;
    let revision = node.status().await.expect("a status").revision;
    let mut channel = node.channel();
    for at in 0..GATEWAYS {
        if at % NODES_A_CONNECTION == 0 {
            channel = node.channel();
        }
        tokio::spawn(route(channel.clone(), revision, Arc::clone(world)));
    }
    until("each gateway was told of all", async || {
        (world.frames.load(Ordering::Relaxed) >= GATEWAYS as u64).then_some(())
    })
    .await;
}

/// Waits until nobody was told anything for [`QUIET`].
#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
async fn settled(world: &World) {
    let (mut last, mut since) = (0, Instant::now());
    until("quiet", async || {
        tokio::time::sleep(Duration::from_millis(200)).await; // a bounded poll
        let bytes = world.bytes.load(Ordering::Relaxed);
        if std::mem::replace(&mut last, bytes) != bytes {
            since = Instant::now();
        }
        (since.elapsed() > QUIET).then_some(())
    })
    .await;
}

#[test]
fn a_thousand_nodes_cost_a_fifth_of_a_core() {
    let (controllers, nodes) = (runtime("controller"), runtime("nodes"));
    let (dir, world) = (tempfile::tempdir().unwrap(), Arc::new(World::default()));
    let node = controllers.block_on(async { found(dir.path()) });
    nodes.block_on(async {
        until("a cluster", async || node.status().await.filter(|it| it.quorum)).await;
        simulate(&node, &world).await;
        settled(&world).await;
        let (cpu, bytes) = (cpu_ms(), world.bytes.load(Ordering::Relaxed));
        tokio::time::sleep(LOOKED_AT).await; // a bounded poll: the span that is measured
        let permille = (cpu_ms() - cpu) / LOOKED_AT.as_secs();
        let told = (world.bytes.load(Ordering::Relaxed) - bytes) / LOOKED_AT.as_secs() / GATEWAYS as u64;
        eprintln!(
            "{NODES} nodes x {REPLICAS} replicas: {permille} thousandths of a core; {told} bytes/s a gateway"
        );
        assert!(permille <= CPU_PERMILLE_MAX, "{permille} thousandths of a core");
        assert!(told <= GATEWAY_BYTES_MAX, "{told} bytes a second to each gateway");
        let status = node.status().await.expect("a status");
        assert!(status.alarms.is_empty(), "{:?}", status.alarms);
    });
    nodes.shutdown_background();
    controllers.block_on(node.stop());
}
