//! A controller that says what a test tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use coracle_proto::id::{ClusterId, StateHash};
use coracle_proto::pb::control_server::{Control, ControlServer};
use coracle_proto::pb::{self, scope::Kind, watch_frame::Body};
use coracle_proto::record::{Change, Record};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

type Frames = ReceiverStream<Result<pb::WatchFrame, Status>>;

/// Who follows the gateway's scope: from which revision, and where its frames go.
type Followers = Arc<Mutex<Vec<(u64, mpsc::Sender<Result<pb::WatchFrame, Status>>)>>>;

/// Dropping it ends its connections.
pub(super) struct Controller {
    cluster: ClusterId,
    pub(super) address: SocketAddr,
    followers: Followers,
    _stop: DropGuard,
}

impl Drop for Controller {
    fn drop(&mut self) {
        // Connections outlive the server's future: their streams end here.
        self.followers.lock().unwrap().clear();
    }
}

#[derive(Debug)]
struct Served(Followers);

impl Controller {
    pub(super) async fn start(cluster: ClusterId) -> Self {
        let (followers, stop) = (Followers::default(), CancellationToken::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = ControlServer::new(Served(Arc::clone(&followers)));
        let serving = tonic::transport::Server::builder().add_service(service);
        let serving = serving.serve_with_incoming(TcpListenerStream::new(listener));
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(serving).await });
        Self { cluster, address, followers, _stop: stop.drop_guard() }
    }

    /// The revisions from which gateways' scopes were followed so far.
    pub(super) fn followed_from(&self) -> Vec<u64> {
        self.followers.lock().unwrap().iter().map(|(revision, _)| *revision).collect()
    }

    /// Sends a frame to the last follower.
    pub(super) async fn send(&self, revision: u64, body: Body) {
        let hash = StateHash::new(u128::from(revision)).to_wire();
        let cluster_id = self.cluster.to_wire();
        let freshness = pb::Freshness::Unspecified.into();
        let body = Some(body);
        let frame = pb::WatchFrame { cluster_id, revision, state_hash: hash, body, freshness };
        let last = self.followers.lock().unwrap().last().unwrap().1.clone();
        // A follower that did not like the frame before has left.
        let _ = last.send(Ok(frame)).await;
    }
}

pub(super) fn snapshot(records: Vec<Record>, last: bool) -> Body {
    let records = changes(records.into_iter().map(Change::put).collect());
    Body::Snapshot(pb::Snapshot { records, last, ..pb::Snapshot::default() })
}

pub(super) fn changed(list: Vec<Change>) -> Body {
    Body::Changes(pb::Changes { changes: changes(list), ..pb::Changes::default() })
}

fn changes(list: Vec<Change>) -> Vec<pb::Change> {
    list.iter().map(pb::Change::from).collect()
}

#[tonic::async_trait]
impl Control for Served {
    type WatchStream = Frames;
    type ForwardStream = ReceiverStream<Result<pb::ForwardAnswers, Status>>;
    type ReportStream = ReceiverStream<Result<pb::Orders, Status>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Frames>, Status> {
        let request = request.into_inner();
        let (frames, stream) = mpsc::channel(16);
        match request.scope.and_then(|scope| scope.kind) {
            Some(Kind::Gateway(_)) => self.0.lock().unwrap().push((request.revision, frames)),
            // Its sender lives on: a stream without frames does not end.
            _ => drop(tokio::spawn(async move { frames.closed().await })),
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report(
        &self,
        _: Request<Streaming<pb::NodeStatus>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn join(&self, _: Request<pb::JoinRequest>) -> Result<Response<pb::JoinReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn tell(&self, _: Request<pb::NodeProcesses>) -> Result<Response<pb::TellReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn exchange(&self, _: Request<pb::SoftBatch>) -> Result<Response<pb::ExchangeReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn propose(&self, _: Request<pb::ProposeRequest>) -> Result<Response<pb::ProposeReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn forward(
        &self,
        _: Request<Streaming<pb::ForwardBatch>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        Err(Status::unimplemented(""))
    }
}
