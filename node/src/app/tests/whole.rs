//! From an upload to an answer, and again from the disk alone.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{
    ClusterId, Digest, Epoch, FunctionId, NodeId, Revision, StoreId, VersionId, VersionNumber,
};
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::logs_client::LogsClient;
use coracle_proto::pb::process_client::ProcessClient;
use coracle_proto::pb::{
    InspectRequest, LogsRequest, Orders, Removal, ReplicaPhase, Stored, UploadChunk, logs_event, upload_event,
};
use coracle_proto::record::{
    Addresses, Function, Node, NodeState, Record, Replica, Role, Route, Version, Weight,
};
use coracle_proto::spec::{Draft, FunctionSpec};
use sha2::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::controller::Controller;
use crate::app::{AppError, Options, run};
use crate::runtime::MemoryMode;

pub(super) const CLUSTER: ClusterId = ClusterId::new(77);
/// Under the longest interval between reports, which would hide that a change was not told.
const DEADLINE: Duration = Duration::from_secs(40);

/// A running data plane.
pub(super) struct Plane {
    http: SocketAddr,
    data: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), AppError>>,
}

impl Plane {
    fn start(folder: &Path, controllers: &[SocketAddr]) -> Self {
        Self::start_as(folder, controllers, 1, &Role::DEFAULT)
    }

    pub(super) fn start_as(folder: &Path, controllers: &[SocketAddr], node: u64, roles: &[Role]) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (http, data) = (bind(), bind());
        let addresses = (http.local_addr().unwrap(), data.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let test = ["--exact", "runtime::tests::child::compile_child", "--nocapture", "--quiet"];
        let options = Options {
            guests_bytes: 8 << 30,
            data_dir: folder.join("data"),
            cache_dir: folder.join("cache"),
            cluster: CLUSTER,
            node: NodeId::new(node),
            incarnation: 1,
            roles: roles.iter().copied().collect(),
            http: roles.contains(&Role::Gateway).then_some(http),
            data,
            controllers: controllers.iter().map(ToString::to_string).collect(),
            slots: 2,
            compile_program: std::env::current_exe().unwrap(),
            compile_args: test.map(Into::into).to_vec(),
            memory: MemoryMode::OnDemand,
            wasip3: false,
            reach: crate::Reach::default(),
            drain_timeout: Duration::from_secs(5),
        };
        let ended = tokio::spawn(run(options, async { drop(stopped.await) }));
        Self { http: addresses.0, data: addresses.1, stop, ended }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.data)
    }

    pub(super) async fn put(&self, bytes: &[u8]) -> Stored {
        let digest = digest(bytes).to_wire();
        let head = UploadChunk { digest, size: bytes.len() as u64, ..UploadChunk::default() };
        let data = bytes
            .chunks(100_000)
            .map(|data| UploadChunk { data: Bytes::copy_from_slice(data), ..UploadChunk::default() });
        let chunks = tokio_stream::iter(std::iter::once(head).chain(data.collect::<Vec<_>>()));
        let mut client = ArtifactsClient::connect(self.url()).await.unwrap();
        let mut events = client.put(chunks).await.unwrap().into_inner();
        loop {
            match events.message().await.unwrap().expect("an end").kind.unwrap() {
                upload_event::Kind::Step(_) | upload_event::Kind::Working(_) => {}
                upload_event::Kind::Stored(stored) => return stored,
            }
        }
    }

    /// Status and body of an answer; None while nobody listens.
    pub(super) async fn get(&self, path: &str) -> Option<(u16, String)> {
        self.ask(path, "").await
    }

    /// The same with more lines of the head, each with its end.
    pub(super) async fn ask(&self, path: &str, lines: &str) -> Option<(u16, String)> {
        let mut stream = tokio::net::TcpStream::connect(self.http).await.ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{lines}connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some((text.get(9..12)?.parse().ok()?, text))
    }

    async fn inspect(&self) -> coracle_proto::pb::InspectReply {
        let mut client = ProcessClient::connect(self.url()).await.unwrap();
        client.inspect(InspectRequest { metrics: true }).await.unwrap().into_inner()
    }

    pub(super) async fn end(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.ended).await.expect("an end").unwrap().unwrap();
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

pub(super) fn guest(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests").join(file)).unwrap()
}

/// The cluster of one node that holds one function.
pub(super) fn state(plane: &Plane, stored: &Stored, epoch: u64) -> Vec<Record> {
    let id = VersionId { function: FunctionId::parse("", "hello").unwrap(), number: VersionNumber::new(1) };
    let node = Node {
        id: NodeId::new(1),
        name: "one".to_owned(),
        roles: BTreeSet::from(Role::DEFAULT),
        zone: String::new(),
        version: String::new(),
        addresses: Addresses { data: plane.data.to_string(), ..Addresses::default() },
        state: NodeState::Alive,
        registered: Revision::new(1),
        slots: 2,
        memory_bytes: 1 << 30,
        store: StoreId::UNKNOWN,
    };
    let version = Version {
        id: id.clone(),
        digest: Digest::try_from(&stored.digest[..]).unwrap(),
        size: stored.size,
        kind: stored.kind().try_into().unwrap(),
        spec: FunctionSpec::new(Draft::default()).unwrap(),
        created_ms: 0,
        trace: String::new(),
    };
    let function = Function {
        id: id.function.clone(),
        latest: id.number,
        traffic: vec![Weight { version: id.number, weight: 1 }],
        next: Vec::new(),
        routes: Vec::new(),
        route_grants: Vec::new(),
        created_ms: 0,
        updated_ms: 0,
        updated: Revision::new(5),
    };
    let replica = Replica { version: id, node: NodeId::new(1), epoch: Epoch::new(epoch) };
    let route = Route { spec: "/hello/*".parse().unwrap(), function: function.id.clone() };
    vec![
        Record::Node(node),
        Record::Version(version),
        Record::Function(function),
        Record::Route(route),
        Record::Replica(replica),
    ]
}

pub(super) async fn answers(plane: &Plane) {
    let last = std::cell::RefCell::new(None);
    let answered = until("an answer", async || {
        let answer = plane.get("/hello").await;
        let good = answer.as_ref().is_some_and(|(status, _)| *status == 200);
        *last.borrow_mut() = answer;
        good
    });
    if tokio::time::timeout(DEADLINE / 2, answered).await.is_err() {
        panic!("no answer: {last:?}");
    }
}

pub(super) async fn until<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    let waited = async {
        while !is().await {
            pause.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

fn ready(controller: &Controller) -> bool {
    controller.last_report().is_some_and(|status| {
        status.replicas.first().is_some_and(|replica| replica.phase() == ReplicaPhase::Ready)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_is_uploaded_assigned_called_and_served_again_without_controllers() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, address, serving) = Controller::start(CLUSTER).await;
    let plane = Plane::start(folder.path(), &[address]);
    until("a report", async || controller.last_report().is_some()).await;
    let report = controller.last_report().unwrap();
    assert_eq!(report.node, 1);
    assert!(report.runtime == "on-demand" && report.incarnation > 0);

    let stored = plane.put(&guest("hello-min.component.wasm")).await;
    assert_eq!(stored.holders, [1], "nobody else is there");
    controller.set(5, state(&plane, &stored, 5));
    until("ready", async || ready(&controller)).await;
    answers(&plane).await;
    let (_, answer) = plane.get("/hello").await.unwrap();
    println!("{answer}");
    assert!(answer.contains("coracle-node: 1"), "{answer}");
    until("the view is reported", async || {
        controller.last_report().is_some_and(|status| status.view_revision == 5)
    })
    .await;
    let report = controller.last_report().unwrap();
    assert_eq!(report.artifacts.len(), 1);
    assert_eq!((report.replicas[0].epoch, report.load.unwrap().slots), (5, 2));

    let inspected = plane.inspect().await;
    assert!(inspected.ready, "{:?}", inspected.reasons);
    let size = stored.size;
    for line in [
        format!("coracle_artifacts_bytes {size}"),
        "coracle_artifacts 1".to_owned(),
        "coracle_uploads_total{outcome=\"ok\"} 1".to_owned(),
        "coracle_compile_seconds_count 1".to_owned(),
        "coracle_functions_resident 1".to_owned(),
        "coracle_log_records_total".to_owned(),
        "coracle_compiled_cache_bytes".to_owned(),
    ] {
        assert!(inspected.metrics.contains(&line), "{line}\n{}", inspected.metrics);
    }
    plane.end().await;

    // No controller is left: the view, the artifact and its code on the disk are enough.
    serving.abort();
    let plane = Plane::start(folder.path(), &[address]);
    answers(&plane).await;
    // Only when a controller's first word is not likely any more does the view on disk have to do.
    until("it is ready", async || plane.inspect().await.ready).await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_going_away_is_not_ready_while_its_calls_end() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, address, _serving) = Controller::start(CLUSTER).await;
    let plane = Plane::start(folder.path(), &[address]);
    until("a report", async || controller.last_report().is_some()).await;
    let stored = plane.put(&guest("rust-wc-wasip1.wasm")).await;
    controller.set(5, state(&plane, &stored, 5));
    until("ready", async || ready(&controller)).await;
    answers(&plane).await;
    assert!(plane.inspect().await.ready);
    // It is sent when all of its body is here.
    let mut caller = tokio::net::TcpStream::connect(plane.http).await.unwrap();
    let head = b"POST /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\na ";
    caller.write_all(head).await.unwrap();
    until("the call is here", async || {
        plane.inspect().await.metrics.lines().any(|line| line == "coracle_bodies_awaited 1")
    })
    .await;
    let client = ProcessClient::connect(plane.url()).await.unwrap();
    plane.stop.send(()).unwrap();
    let inspect =
        async || client.clone().inspect(InspectRequest { metrics: false }).await.unwrap().into_inner();
    until("it is not ready", async || !inspect().await.ready).await;
    assert_eq!(inspect().await.reasons, ["the node is going away"]);
    caller.write_all(b"b").await.unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::timeout(DEADLINE, plane.ended).await.expect("an end").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_prints_can_be_read_and_an_unnamed_artifact_is_removed_by_order() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, address, _serving) = Controller::start(CLUSTER).await;
    let plane = Plane::start(folder.path(), &[address]);
    let bytes = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "seen\n")
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 16))
                (i32.store (i32.const 4) (i32.const 5))
                (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    until("a report", async || controller.last_report().is_some()).await;
    let stored = plane.put(&bytes.unwrap()).await;
    controller.set(5, state(&plane, &stored, 5));
    answers(&plane).await;
    let mut client = LogsClient::connect(plane.url()).await.unwrap();
    let asked = LogsRequest { name: "hello".to_owned(), follow: true, ..LogsRequest::default() };
    let mut events = client.tail(asked).await.unwrap().into_inner();
    let event = tokio::time::timeout(DEADLINE, events.message()).await.expect("a line").unwrap().unwrap();
    let Some(logs_event::Kind::Record(record)) = event.kind else { panic!("{event:?}") };
    assert_eq!((record.line.as_str(), record.node, record.version), ("seen", 1, 1));
    assert_eq!(record.invocation_id.len(), 16);

    // The function is gone, and the leader says so.
    let records = state(&plane, &stored, 5).into_iter();
    controller.set(6, records.filter(|record| matches!(record, Record::Node(_))).collect());
    let digest = stored.digest.clone();
    controller.order(Orders {
        remove: vec![Removal { digest, revision: 6, older_than_ms: 0 }],
        ..Orders::default()
    });
    until("removed", async || controller.last_report().is_some_and(|status| status.artifacts.is_empty()))
        .await;
    // A reader that follows does not hold up the end.
    plane.end().await;
    assert!(events.message().await.is_ok_and(|event| event.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_go_on_to_another_controller_and_tell_changes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (own, first, _own) = Controller::start(CLUSTER).await;
    let (other, second, _other) = Controller::start(CLUSTER).await;
    let plane = Plane::start(folder.path(), &[first, second]);
    until("reports", async || own.reports.lock().unwrap().len() > 2).await;
    assert!(other.last_report().is_none(), "its own controller comes first");
    own.leave();
    until("reports to the other", async || other.last_report().is_some()).await;
    let (before, after) = (own.last_report().unwrap(), other.last_report().unwrap());
    assert_eq!(before.incarnation, after.incarnation);
    assert!(before.sequence < after.sequence);

    // A report an hour is wanted, yet what changes is told now.
    other.order(Orders { interval_ms: 3_600_000, ..Orders::default() });
    plane.put(&guest("hello-min.component.wasm")).await;
    let told = || other.last_report().is_some_and(|status| !status.artifacts.is_empty());
    until("the artifact is told", async || told()).await;
    // So is the revision by which calls are routed: a deploy waits for it.
    own.set(9, Vec::new());
    other.set(9, Vec::new());
    let told = || other.last_report().is_some_and(|status| status.routing_revision == 9);
    until("the routing revision is told", async || told()).await;
    plane.end().await;
}
