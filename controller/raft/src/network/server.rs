//! The members' calls to this one. Each message is checked to be meant for this cluster, group and node.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_proto::codec::DecodeError;
use coracle_proto::pb::raft as pb;
use coracle_proto::pb::raft::raft_transport_server::{RaftTransport, RaftTransportServer};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use openraft::Snapshot;
use openraft::raft::StreamAppendError;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::MESSAGE_BYTES_MAX;
use crate::codec::message::{
    append_from_wire, append_reply_to_wire, transfer_from_wire, transfer_reply_to_wire, vote_reply_to_wire,
    vote_request_from_wire,
};
use crate::codec::raft::{log_id_to_wire, snapshot_meta, vote_from_wire, vote_to_wire};
use crate::error::ProposeError;
use crate::member::Member;
use crate::options::Identity;
use crate::state_machine::StateMachine;
use crate::store::SnapshotFile;

/// Snapshots received at a time: an old leader's last one and the new leader's.
const INCOMING_MAX: usize = 2;

/// How long a member may take to notice by itself what another one asks it about: that the leader is gone, for both
/// see the same connections end, or that it leads; within a scheduler's delay of each other.
const NOTICE_MAX: Duration = Duration::from_millis(150);

/// The service of one group, ready for a gRPC server's router.
pub type RaftServer<S> = RaftTransportServer<RaftService<S>>;

/// What answers the members of one group, on the controller's gRPC port.
pub struct RaftService<S: StateMachine> {
    member: Arc<Member<S>>,
    incoming: Semaphore,
}

impl<S: StateMachine> std::fmt::Debug for RaftService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftService").finish_non_exhaustive()
    }
}

impl<S: StateMachine> RaftService<S> {
    pub(crate) fn server(member: Arc<Member<S>>) -> RaftServer<S> {
        RaftTransportServer::new(Self { member, incoming: Semaphore::new(INCOMING_MAX) })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn check(&self, header: Option<&pb::Header>) -> Result<(), Status> {
        check(&self.member.identity, header)
    }

    /// Receives the file of a snapshot.
    async fn receive(
        &self,
        chunks: &mut Streaming<pb::SnapshotChunk>,
        bytes: u64,
    ) -> Result<SnapshotFile, Status> {
        let mut snapshot = self.member.snapshots.create().map_err(disk)?;
        let mut missing = bytes;
        while let Some(chunk) = chunks.message().await? {
            self.check(chunk.header.as_ref())?;
            let Some(pb::snapshot_chunk::Part::Data(data)) = chunk.part else {
                return Err(Status::invalid_argument("only data follows the start of a snapshot"));
            };
            missing = missing
                .checked_sub(data.len() as u64)
                .ok_or_else(|| Status::invalid_argument(format!("more than the {bytes} bytes announced")))?;
            snapshot.file.write_all(&data).map_err(disk)?;
        }
        if missing > 0 {
            return Err(Status::data_loss(format!("{missing} of {bytes} bytes are missing")));
        }
        Ok(snapshot)
    }
}

fn check(own: &Identity, header: Option<&pb::Header>) -> Result<(), Status> {
    let header = header.ok_or_else(|| DecodeError::missing("header"))?;
    let meant_for_us = header.cluster == own.cluster.to_wire()
        && header.group == own.group.get()
        && header.to == own.node.get();
    if meant_for_us {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "for node {} of group {}; this is node {} of group {} of cluster {}",
        header.to, header.group, own.node, own.group, own.cluster
    )))
}

fn disk(error: std::io::Error) -> Status {
    Status::internal(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft has stopped: {error}"))
}

#[tonic::async_trait]
impl<S: StateMachine> RaftTransport for RaftService<S> {
    type AppendStream = BoxStream<'static, Result<pb::AppendReply, Status>>;
    type AttendStream = BoxStream<'static, Result<pb::AttendReply, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let own = self.member.identity;
        let leaving = self.member.leaving();
        // What ended the requests early is the last answer.
        let refused = Arc::new(Mutex::new(None));
        let refuse = Arc::clone(&refused);
        let requests = request.into_inner().take_until(leaving).map(move |message| {
            let message = message?;
            check(&own, message.header.as_ref())?;
            append_from_wire(message).map_err(Status::from)
        });
        let requests = requests.scan((), move |(), request| {
            let request = request.map_err(|status| {
                *refuse.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
            });
            futures::future::ready(request.ok())
        });
        let replies = self.member.raft.stream_append(requests).map(|result| match result {
            Ok(result) => Ok(append_reply_to_wire(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        let last = stream::once(async move { refused.lock().unwrap_or_else(PoisonError::into_inner).take() });
        let replies = replies.chain(last.filter_map(|status| futures::future::ready(status.map(Err))));
        Ok(Response::new(replies.boxed()))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::AppendRequest>,
    ) -> Result<Response<pb::AppendReply>, Status> {
        let message = request.into_inner();
        self.check(message.header.as_ref())?;
        let request = append_from_wire(message)?;
        let previous = request.prev_log_id;
        let reply = self.member.raft.append_entries(request).await.map_err(stopped)?;
        // openraft asks for the position of a conflict: it is the one that was sent. Without one there is none.
        let result = match (reply, previous) {
            (openraft::raft::AppendEntriesResponse::Conflict, Some(at)) => {
                Err(StreamAppendError::Conflict(at))
            }
            (openraft::raft::AppendEntriesResponse::HigherVote(vote), _) => {
                Err(StreamAppendError::HigherVote(vote))
            }
            (_, previous) => Ok(previous),
        };
        Ok(Response::new(append_reply_to_wire(&result)))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let message = request.into_inner();
        self.check(message.header.as_ref())?;
        let reply = self.member.raft.vote(vote_request_from_wire(&message)?).await.map_err(stopped)?;
        Ok(Response::new(vote_reply_to_wire(&reply)))
    }

    async fn pre_vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let message = request.into_inner();
        self.check(message.header.as_ref())?;
        let reply = self.member.raft.pre_vote(vote_request_from_wire(&message)?).await.map_err(stopped)?;
        Ok(Response::new(vote_reply_to_wire(&reply)))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<pb::TransferReply>, Status> {
        let message = request.into_inner();
        self.check(message.header.as_ref())?;
        let request = transfer_from_wire(&message)?;
        let reply = self.member.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(Response::new(transfer_reply_to_wire(reply)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::SnapshotReply>, Status> {
        let _permit = self.incoming.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("{INCOMING_MAX} snapshots are being received"))
        })?;
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.ok_or_else(|| DecodeError::missing("start"))?;
        self.check(first.header.as_ref())?;
        let Some(pb::snapshot_chunk::Part::Start(start)) = first.part else {
            return Err(DecodeError::missing("start").into());
        };
        let vote = vote_from_wire(start.vote.as_ref().ok_or_else(|| DecodeError::missing("vote"))?);
        let meta = snapshot_meta(start.last_log_id.as_ref(), start.membership)?;
        let snapshot = self.receive(&mut chunks, start.bytes).await?;
        // A file that arrived damaged is refused here: openraft would stop for it.
        let snapshot = self.member.checked(snapshot, &meta).await?;
        let reply = self.member.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
        let reply = reply.map_err(stopped)?;
        Ok(Response::new(pb::SnapshotReply { vote: Some(vote_to_wire(&reply.vote)) }))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexReply>, Status> {
        self.check(request.into_inner().header.as_ref())?;
        let index = self.member.own_read_index().await.map_err(|error| match error {
            ProposeError::NotLeader { .. } => Status::failed_precondition(error.to_string()),
            other => Status::unavailable(other.to_string()),
        })?;
        Ok(Response::new(pb::ReadIndexReply {
            log_id: Some(pb::LogId { term: index.term, index: index.index }),
        }))
    }

    async fn attend(
        &self,
        request: Request<pb::AttendRequest>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        self.check(request.into_inner().header.as_ref())?;
        // One that was just elected may see it a moment after those who elected it.
        let leads = timeout(NOTICE_MAX, self.member.leading(true)).await.is_ok();
        if !leads || self.member.has_ended() {
            let sentence = format!("node {} does not lead", self.member.identity.node);
            return Err(Status::failed_precondition(sentence));
        }
        let (leaving, leads_no_more) = (self.member.leaving(), self.member.leading(false));
        let end = async move {
            tokio::select! {
                () = leaving => {}
                () = leads_no_more => {}
            }
        };
        let greeting = stream::once(async { Ok(pb::AttendReply {}) });
        let silence = stream::once(end).filter_map(|()| futures::future::ready(None));
        Ok(Response::new(greeting.chain(silence).boxed()))
    }

    async fn gone(&self, request: Request<pb::GoneRequest>) -> Result<Response<pb::GoneReply>, Status> {
        let message = request.into_inner();
        self.check(message.header.as_ref())?;
        let vote =
            vote_from_wire(message.leader_vote.as_ref().ok_or_else(|| DecodeError::missing("leader_vote"))?);
        let mut seen = self.member.gone.subscribe();
        let gone = timeout(NOTICE_MAX, seen.wait_for(|gone| *gone == Some(vote))).await;
        let last_log_id = self.member.last_log_id().as_ref().map(log_id_to_wire);
        Ok(Response::new(pb::GoneReply { gone: matches!(gone, Ok(Ok(_))), last_log_id }))
    }
}
