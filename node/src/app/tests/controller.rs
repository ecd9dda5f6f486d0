//! A controller of these tests: sends the state that it is given to every watcher, and keeps what is reported.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use coracle_proto::id::ClusterId;
use coracle_proto::key::Key;
use coracle_proto::pb::control_server::{Control, ControlServer};
use coracle_proto::pb::{
    self, ExchangeReply, JoinReply, JoinRequest, NodeProcesses, NodeStatus, Orders, ProposeReply,
    ProposeRequest, Snapshot, SoftBatch, TellReply, WatchFrame, WatchRequest, scope, watch_frame,
};
use coracle_proto::record::{Change, Record};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

type State = (u64, Vec<pb::Change>);

#[derive(Debug, Clone)]
pub(super) struct Controller {
    cluster: ClusterId,
    state: watch::Sender<State>,
    orders: watch::Sender<Orders>,
    left: CancellationToken,
    pub(super) reports: Arc<Mutex<Vec<NodeStatus>>>,
}

type Frames = ReceiverStream<Result<WatchFrame, Status>>;

impl Controller {
    /// Serves until the task that is returned is aborted.
    pub(super) async fn start(cluster: ClusterId) -> (Self, SocketAddr, tokio::task::JoinHandle<()>) {
        let state = watch::Sender::new((1, Vec::new()));
        let orders = watch::Sender::new(Orders { interval_ms: 100, ..Orders::default() });
        let controller =
            Self { cluster, state, orders, left: CancellationToken::new(), reports: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(ControlServer::new(controller.clone()));
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        (controller, address, tokio::spawn(async move { serving.await.unwrap() }))
    }

    pub(super) fn set(&self, revision: u64, records: Vec<Record>) {
        let records = records.into_iter().map(|record| pb::Change::from(&Change::put(record))).collect();
        self.state.send_replace((revision, records));
    }

    /// Answers reports with it, each 100 ms unless it says otherwise.
    pub(super) fn order(&self, orders: Orders) {
        let interval_ms = if orders.interval_ms == 0 { 100 } else { orders.interval_ms };
        self.orders.send_replace(Orders { interval_ms, ..orders });
    }

    /// Takes no reports any more, and ends the streams of those who report.
    pub(super) fn leave(&self) {
        self.left.cancel();
    }

    fn keep(&self, status: NodeStatus) {
        let mut reports = self.reports.lock().unwrap();
        let whole = whole(reports.last(), status);
        reports.push(whole);
    }

    pub(super) fn last_report(&self) -> Option<NodeStatus> {
        self.reports.lock().unwrap().last().cloned()
    }
}

/// A status with its whole lists, as they are after what it says that is new.
fn whole(last: Option<&NodeStatus>, mut status: NodeStatus) -> NodeStatus {
    let Some(last) = last.filter(|_| status.since > 0) else { return status };
    assert_eq!(status.since, last.changes, "nothing is missed on one stream");
    let named = |it: &pb::ReplicaStatus| (it.namespace.clone(), it.name.clone(), it.version);
    let mut replicas = last.replicas.clone();
    replicas.retain(|old| status.replicas.iter().all(|new| named(new) != named(old)));
    replicas.append(&mut status.replicas);
    replicas.retain(|it| it.phase() != pb::ReplicaPhase::Unspecified);
    let mut artifacts = last.artifacts.clone();
    artifacts.retain(|old| status.artifacts.iter().all(|new| new.digest != old.digest));
    artifacts.append(&mut status.artifacts);
    artifacts.retain(|it| !status.dropped.contains(&it.digest));
    NodeStatus { replicas, artifacts, since: 0, ..status }
}

/// A node is shown its own assignments only.
fn shows(scope: Option<&scope::Kind>, change: &pb::Change) -> bool {
    match (scope, change.key.parse()) {
        (Some(scope::Kind::Node(node)), Ok(Key::Replica(_, holder))) => holder.get() == *node,
        _ => true,
    }
}

#[tonic::async_trait]
impl Control for Controller {
    type WatchStream = Frames;
    type ForwardStream = ReceiverStream<Result<pb::ForwardAnswers, Status>>;
    type ReportStream = ReceiverStream<Result<Orders, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Frames>, Status> {
        let scope = request.into_inner().scope.and_then(|scope| scope.kind);
        let (frames, stream) = mpsc::channel(4);
        let (cluster, mut state) = (self.cluster, self.state.subscribe());
        tokio::spawn(async move {
            loop {
                let (revision, mut records) = state.borrow_and_update().clone();
                records.retain(|change| shows(scope.as_ref(), change));
                let body =
                    Some(watch_frame::Body::Snapshot(Snapshot { records, last: true, ..Default::default() }));
                let cluster_id = cluster.to_wire();
                let freshness = pb::Freshness::Current.into();
                let frame = WatchFrame { cluster_id, revision, body, freshness, ..WatchFrame::default() };
                if frames.send(Ok(frame)).await.is_err() || state.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report(
        &self,
        request: Request<Streaming<NodeStatus>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (answers, stream) = mpsc::channel(4);
        if self.left.is_cancelled() {
            return Err(Status::unavailable("the controller is going away"));
        }
        let (mut statuses, this) = (request.into_inner(), self.clone());
        tokio::spawn(async move {
            let left = this.left.clone();
            while let Some(Ok(Some(status))) = left.run_until_cancelled(statuses.message()).await {
                this.keep(status);
                let orders = this.orders.borrow().clone();
                if answers.send(Ok(orders)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn tell(&self, _: Request<NodeProcesses>) -> Result<Response<TellReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn exchange(&self, _: Request<SoftBatch>) -> Result<Response<ExchangeReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn propose(&self, _: Request<ProposeRequest>) -> Result<Response<ProposeReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn forward(
        &self,
        _: Request<Streaming<pb::ForwardBatch>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        Err(Status::unimplemented(""))
    }
}
