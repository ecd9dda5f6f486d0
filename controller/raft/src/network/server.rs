//! The calls of other hosts to this one: each message is checked to be meant for this cluster and node, then handed to
//! the member of its group.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::codec::DecodeError;
use coracle_proto::id::GroupId;
use coracle_proto::pb::raft as pb;
use coracle_proto::pb::raft::raft_transport_server::{RaftTransport, RaftTransportServer};
use futures::future::join_all;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::registry::{Appended, Attended, Hosted, Registry};
use super::{MESSAGE_BYTES_MAX, beats};
use crate::options::HostIdentity;

/// How long one group may take to answer its heartbeat: the others' answers go with it.
const BEAT_MAX: Duration = Duration::from_millis(60);

/// The service of one host, ready for a gRPC server's router.
pub type RaftServer = RaftTransportServer<RaftService>;

/// What answers other hosts, on the controller's gRPC port.
#[derive(Debug)]
pub struct RaftService {
    identity: HostIdentity,
    registry: Arc<Registry>,
}

impl RaftService {
    pub(crate) fn server(identity: HostIdentity, registry: Arc<Registry>) -> RaftServer {
        RaftTransportServer::new(Self { identity, registry })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Whom a message is meant for.
    fn member(&self, header: Option<&pb::Header>) -> Result<Arc<dyn Hosted>, Status> {
        let header = header.ok_or_else(|| DecodeError::missing("header"))?;
        let HostIdentity { owner, store } = self.identity;
        if header.cluster != owner.cluster.to_wire() || header.to != owner.node.get() {
            return Err(Status::failed_precondition(format!(
                "for node {}; this is node {} of cluster {}",
                header.to, owner.node, owner.cluster
            )));
        }
        if header.to_store != 0 && header.to_store != store.get() {
            return Err(Status::failed_precondition(format!(
                "for node {} with store {:016x}; its store is {store}: what it had is gone, it must rejoin as a new node",
                header.to, header.to_store
            )));
        }
        let member = self.registry.get(GroupId::new(header.group)).ok_or_else(|| {
            Status::failed_precondition(format!("node {} is no member of group {}", owner.node, header.group))
        })?;
        member.check(header)?;
        Ok(member)
    }

    async fn beat_one(&self, message: pb::AppendRequest) -> Result<pb::AppendReply, Status> {
        self.member(message.header.as_ref())?.heartbeat(message).await
    }

    /// The same, in a message with others.
    async fn beat_among(&self, message: pb::AppendRequest) -> Result<pb::AppendReply, Status> {
        let answered = timeout(BEAT_MAX, self.beat_one(message)).await;
        answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("the member is busy")))
    }
}

#[tonic::async_trait]
impl RaftTransport for RaftService {
    type AppendStream = Appended;
    type AttendStream = Attended;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.ok_or_else(|| DecodeError::missing("header"))?;
        let member = self.member(first.header.as_ref())?;
        Ok(Response::new(member.append(first, requests)?))
    }

    async fn beat(&self, request: Request<pb::Beats>) -> Result<Response<pb::BeatReplies>, Status> {
        let beats = request.into_inner().beats;
        // One alone holds up nobody: its sender knows how long it waits.
        let replies = if beats.len() > 1 {
            join_all(beats.into_iter().map(|message| self.beat_among(message))).await
        } else {
            join_all(beats.into_iter().map(|message| self.beat_one(message))).await
        };
        let replies = replies.into_iter().map(beats::reply).collect();
        Ok(Response::new(pb::BeatReplies { replies }))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let message = request.into_inner();
        let member = self.member(message.header.as_ref())?;
        Ok(Response::new(member.vote(message).await?))
    }

    async fn pre_vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let message = request.into_inner();
        let member = self.member(message.header.as_ref())?;
        Ok(Response::new(member.pre_vote(message).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<pb::TransferReply>, Status> {
        let message = request.into_inner();
        let member = self.member(message.header.as_ref())?;
        Ok(Response::new(member.transfer_leader(message).await?))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::SnapshotReply>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.ok_or_else(|| DecodeError::missing("start"))?;
        let member = self.member(first.header.as_ref())?;
        let Some(pb::snapshot_chunk::Part::Start(start)) = first.part else {
            return Err(DecodeError::missing("start").into());
        };
        Ok(Response::new(member.install_snapshot(first.header, start, chunks).await?))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexReply>, Status> {
        let member = self.member(request.into_inner().header.as_ref())?;
        Ok(Response::new(member.read_index().await?))
    }

    async fn attend(
        &self,
        request: Request<pb::AttendRequest>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let member = self.member(request.into_inner().header.as_ref())?;
        Ok(Response::new(member.attend().await?))
    }

    async fn gone(&self, request: Request<pb::GoneRequest>) -> Result<Response<pb::GoneReply>, Status> {
        let message = request.into_inner();
        let member = self.member(message.header.as_ref())?;
        Ok(Response::new(member.gone(message).await?))
    }
}
