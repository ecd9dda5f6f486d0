//! The gRPC side of a worker: takes calls from the gateways of other nodes.

mod answer;
mod body;
mod carried;
mod open;

use std::time::Duration;

use coracle_proto::codec::InField as _;
use coracle_proto::id::{ClusterId, InvocationId, NodeId};
use coracle_proto::pb::{self, call_frame, worker_server};
use coracle_proto::status::{Code, Refusal};
use http::Request;
use http_body::Body as _;
use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response, Status, Streaming};

use self::answer::{Answering, with_told};
use self::body::Inbound;
use self::carried::Carried;
use self::open::OpenAnswers;
use super::wire::{FRAME_BYTES_MAX, Head};
use super::{Executor, wire};
use crate::call::{Body, Call, CallError, Lease, Receipt};

/// A stream whose first frame does not come for so long is no call.
const HEAD_WAIT: Duration = Duration::from_secs(5);
/// What a call took is told when its guest is gone, which is a turn of it later than its answer at most, or not at all.
const SPENT_WAIT: Duration = Duration::from_millis(250);
/// The same of what it did in the platform, without which its end is none.
const GATHERED_WAIT: Duration = Duration::from_secs(1);

/// Serves `coracle.v1.Worker`.
#[derive(Debug, Clone)]
pub struct WorkerService {
    cluster: ClusterId,
    executor: Executor,
    /// Of the threads on which guests run.
    calls: Handle,
    open: OpenAnswers,
}

impl WorkerService {
    /// A service over an executor, whose guests run on the threads of `calls`.
    #[must_use]
    pub fn new(cluster: ClusterId, executor: Executor, calls: Handle) -> Self {
        Self { cluster, executor, calls, open: OpenAnswers::default() }
    }

    /// The service with its limits, for a tonic server. The server's own limit of streams on one connection is
    /// to be over the calls that a node takes: refusing them is the executor's.
    #[must_use]
    pub fn into_server(self) -> worker_server::WorkerServer<Self> {
        worker_server::WorkerServer::new(self)
            .max_decoding_message_size(FRAME_BYTES_MAX)
            .max_encoding_message_size(FRAME_BYTES_MAX)
    }

    /// An address may have changed hands since the caller learnt it.
    fn meant(&self, cluster: &[u8], node: u64) -> Result<(), Refusal> {
        let own = self.executor.node();
        if ClusterId::try_from(cluster) != Ok(self.cluster) {
            // Not 'wrong-cluster': the caller of a function did nothing wrong, and another replica may take the call.
            let said = format!("node {own} of the caller's view is now in cluster {}", self.cluster);
            return Err(Refusal::new(Code::StaleReplica, said));
        }
        if NodeId::new(node) != own {
            let said = format!("node {node} was meant, this is node {own}");
            return Err(Refusal::new(Code::StaleReplica, said));
        }
        Ok(())
    }

    async fn run(
        self,
        mut wire: pb::CallHead,
        inbound: Streaming<pb::CallFrame>,
        receipt: &Receipt,
    ) -> Result<Answering, CallError> {
        self.meant(&wire.cluster_id, wire.node).map_err(|refusal| CallError { refusal, cold: false })?;
        let first = std::mem::take(&mut wire.first_chunk);
        let body = if wire.end && first.is_empty() {
            Body::default()
        } else {
            Body::new(Inbound::new(first, (!wire.end).then_some(inbound)))
        };
        let head = Head::try_from(wire).map_err(|error| CallError { refusal: error.into(), cold: false })?;
        let version = self.executor.version(&head.version)?;
        let call = Call {
            version,
            epoch: head.epoch,
            invocation: head.invocation,
            attempt: head.attempt,
            trigger: head.trigger,
            head_timeout: head.head_timeout,
            request: Request::from_parts(head.request, body),
            lease: Lease::default(),
            receipt: receipt.clone(),
        };
        let attempt = (call.invocation, call.attempt);
        let answer = self.executor.execute(call).await?;
        let runs_on = answer.response.body().size_hint().exact().is_none();
        let open = runs_on.then(|| self.open.open(attempt));
        Ok(Answering::new(self.executor.clone(), answer, open, receipt.clone()))
    }
}

#[tonic::async_trait]
impl worker_server::Worker for WorkerService {
    type CallStream = Carried;

    /// When the caller leaves, tonic drops this future, or the stream that it made: either stops the guest.
    async fn call(
        &self,
        request: tonic::Request<Streaming<pb::CallFrame>>,
    ) -> Result<Response<Carried>, Status> {
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(HEAD_WAIT, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no head came"))??;
        let Some(pb::CallFrame { kind: Some(call_frame::Kind::Head(head)) }) = first else {
            return Err(Refusal::new(Code::InvalidArgument, "a call begins with its head").into());
        };
        let service = self.clone();
        let running = AbortOnDropHandle::new(self.calls.spawn(async move {
            let (calls, executor) = (service.calls.clone(), service.executor.clone());
            let receipt = match (head.gathers, head.receipt) {
                (true, _) => Receipt::gathering(),
                (false, true) => Receipt::wanted(),
                (false, false) => Receipt::default(),
            };
            let answering = match service.run(head, inbound, &receipt).await {
                Ok(answering) => answering,
                Err(error) => {
                    let frame = wire::error_frame(&error, executor.load());
                    Answering::error(match error.not_started() {
                        true => frame,
                        false => with_told(frame, receipt.told(SPENT_WAIT).await),
                    })
                }
            };
            // Made here, so that a guest whose caller leaves now is dropped here too.
            Carried::on(&calls, answering)
        }));
        let lost = |why: JoinError| Status::internal(format!("the call's task: {why}"));
        Ok(Response::new(running.await.map_err(lost)?))
    }

    async fn ping(
        &self,
        request: tonic::Request<pb::PingRequest>,
    ) -> Result<Response<pb::PingReply>, Status> {
        let request = request.into_inner();
        self.meant(&request.cluster_id, request.node)?;
        Ok(Response::new(pb::PingReply { load: Some(self.executor.load().into()) }))
    }

    async fn cancel(
        &self,
        request: tonic::Request<pb::CancelRequest>,
    ) -> Result<Response<pb::CancelReply>, Status> {
        let request = request.into_inner();
        self.meant(&request.cluster_id, request.node)?;
        let invocation = InvocationId::try_from(&request.invocation_id[..]).in_field("invocation_id");
        let invocation = invocation.map_err(|error| Status::from(Refusal::from(error)))?;
        self.open.cancel((invocation, request.attempt));
        Ok(Response::new(pb::CancelReply {}))
    }
}
