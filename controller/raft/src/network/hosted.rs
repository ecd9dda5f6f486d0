//! What one member answers the other members of its group.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_proto::codec::DecodeError;
use coracle_proto::id::{NodeId, StoreId};
use coracle_proto::pb::raft as pb;
use futures::{StreamExt as _, stream};
use openraft::Snapshot;
use openraft::raft::{AppendEntriesResponse, StreamAppendError};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::registry::{Appended, Attended, Hosted};
use crate::codec::message::{
    append_from_wire, append_reply_to_wire, snapshot_from_wire, transfer_from_wire, transfer_reply_to_wire,
    vote_reply_to_wire, vote_request_from_wire,
};
use crate::codec::raft::{log_id_to_wire, vote_from_wire, vote_to_wire};
use crate::error::ProposeError;
use crate::member::Member;
use crate::state::{ReceivedFile, SnapshotData};
use crate::state_machine::State;
use crate::terms::Terms;

/// Snapshots received at a time: an old leader's last one and the new leader's.
const INCOMING_MAX: usize = 2;

/// How long a member may take to notice by itself what another one asks it about: that the leader is gone, for both
/// see the same connections end, or that it leads; within a scheduler's delay of each other.
const NOTICE_MAX: Duration = Duration::from_millis(150);

impl<S: State> Member<S> {
    pub(crate) fn incoming() -> Semaphore {
        Semaphore::new(INCOMING_MAX)
    }

    fn check_vote(&self, header: Option<&pb::Header>, vote: Option<&pb::Vote>) -> Result<(), Status> {
        check_vote(&self.lines.terms, header, vote)
    }

    /// Receives a snapshot into a file.
    async fn receive(&self, chunks: &mut Streaming<pb::SnapshotChunk>) -> Result<ReceivedFile, Status> {
        let received = self.staging.create().map_err(disk)?;
        while let Some(chunk) = chunks.message().await? {
            let Some(pb::snapshot_chunk::Part::Data(data)) = chunk.part else {
                return Err(Status::invalid_argument("only data follows the start of a snapshot"));
            };
            (&received.file).write_all(&data).map_err(disk)?;
        }
        Ok(received)
    }
}

/// Refuses a term that no election could have led to.
fn check_vote(terms: &Terms, header: Option<&pb::Header>, vote: Option<&pb::Vote>) -> Result<(), Status> {
    let from = NodeId::new(header.map_or(0, |header| header.from));
    vote.map_or(Ok(()), |vote| terms.check(from, vote.term))
}

fn disk(error: std::io::Error) -> Status {
    Status::internal(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft has stopped: {error}"))
}

#[tonic::async_trait]
impl<S: State> Hosted for Member<S> {
    fn check(&self, header: &pb::Header) -> Result<(), Status> {
        let from = NodeId::new(header.from);
        let (known, told) = (self.lines.channels.store_of(from), StoreId::new(header.from_store));
        if known == StoreId::UNKNOWN || known == told {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "node {from} is the one with store {known}, this one has {told}: what it had is gone, it must rejoin as a new node"
        )))
    }

    fn append(
        &self,
        first: pb::AppendRequest,
        rest: Streaming<pb::AppendRequest>,
    ) -> Result<Appended, Status> {
        let (group, leaving) = (first.header.as_ref().map(|header| header.group), self.leaving());
        // What ended the requests early is the last answer.
        let refused = Arc::new(Mutex::new(None));
        let refuse = Arc::clone(&refused);
        let requests = stream::once(async { Ok(first) }).chain(rest).take_until(leaving);
        let terms = Arc::clone(&self.lines.terms);
        let requests = requests.map(move |message| {
            let message = message?;
            if message.header.as_ref().map(|header| header.group) != group {
                return Err(Status::invalid_argument("a stream of entries is of one group"));
            }
            check_vote(&terms, message.header.as_ref(), message.vote.as_ref())?;
            append_from_wire(message).map_err(Status::from)
        });
        let requests = requests.scan((), move |(), request| {
            let request = request.map_err(|status| {
                *refuse.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
            });
            futures::future::ready(request.ok())
        });
        let replies = self.raft.stream_append(requests).map(|result| match result {
            Ok(result) => Ok(append_reply_to_wire(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        let last = stream::once(async move { refused.lock().unwrap_or_else(PoisonError::into_inner).take() });
        let replies = replies.chain(last.filter_map(|status| futures::future::ready(status.map(Err))));
        Ok(replies.boxed())
    }

    async fn heartbeat(&self, message: pb::AppendRequest) -> Result<pb::AppendReply, Status> {
        self.check_vote(message.header.as_ref(), message.vote.as_ref())?;
        let request = append_from_wire(message)?;
        let previous = request.prev_log_id;
        let reply = self.raft.append_entries(request).await.map_err(stopped)?;
        // openraft asks for the position of a conflict: it is the one that was sent. Without one there is none.
        let result = match (reply, previous) {
            (AppendEntriesResponse::Conflict, Some(at)) => Err(StreamAppendError::Conflict(at)),
            (AppendEntriesResponse::HigherVote(vote), _) => Err(StreamAppendError::HigherVote(vote)),
            (_, previous) => Ok(previous),
        };
        Ok(append_reply_to_wire(&result))
    }

    async fn vote(&self, message: pb::VoteRequest) -> Result<pb::VoteReply, Status> {
        self.check_vote(message.header.as_ref(), message.vote.as_ref())?;
        let reply = self.raft.vote(vote_request_from_wire(&message)?).await.map_err(stopped)?;
        Ok(vote_reply_to_wire(&reply))
    }

    async fn pre_vote(&self, message: pb::VoteRequest) -> Result<pb::VoteReply, Status> {
        self.check_vote(message.header.as_ref(), message.vote.as_ref())?;
        let reply = self.raft.pre_vote(vote_request_from_wire(&message)?).await.map_err(stopped)?;
        Ok(vote_reply_to_wire(&reply))
    }

    async fn transfer_leader(&self, message: pb::TransferRequest) -> Result<pb::TransferReply, Status> {
        self.check_vote(message.header.as_ref(), message.from_leader.as_ref())?;
        let request = transfer_from_wire(&message)?;
        let reply = self.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(transfer_reply_to_wire(reply))
    }

    async fn install_snapshot(
        &self,
        header: Option<pb::Header>,
        start: pb::SnapshotStart,
        mut chunks: Streaming<pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotReply, Status> {
        self.check_vote(header.as_ref(), start.vote.as_ref())?;
        let _permit = self.incoming.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("{INCOMING_MAX} snapshots are being received"))
        })?;
        let (vote, meta) = snapshot_from_wire(start)?;
        let received = self.receive(&mut chunks).await?;
        // A file that arrived damaged is refused here: openraft would stop for it.
        let received = self.checked(received, &meta).await?;
        let snapshot = SnapshotData::Received(Arc::new(received));
        let reply = self.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
        let reply = reply.map_err(stopped)?;
        Ok(pb::SnapshotReply { vote: Some(vote_to_wire(&reply.vote)) })
    }

    async fn read_index(&self) -> Result<pb::ReadIndexReply, Status> {
        let index = self.own_read_index().await.map_err(|error| match error {
            ProposeError::NotLeader { .. } => Status::failed_precondition(error.to_string()),
            other => Status::unavailable(other.to_string()),
        })?;
        Ok(pb::ReadIndexReply { log_id: Some(pb::LogId { term: index.term, index: index.index }) })
    }

    async fn attend(&self) -> Result<Attended, Status> {
        // One that was just elected may see it a moment after those who elected it.
        let leads = timeout(NOTICE_MAX, self.leading(true)).await.is_ok();
        if !leads || self.has_ended() {
            let sentence = format!("node {} does not lead", self.identity.node);
            return Err(Status::failed_precondition(sentence));
        }
        let (leaving, leads_no_more) = (self.leaving(), self.leading(false));
        let end = async move {
            tokio::select! {
                () = leaving => {}
                () = leads_no_more => {}
            }
        };
        let greeting = stream::once(async { Ok(pb::AttendReply {}) });
        let silence = stream::once(end).filter_map(|()| futures::future::ready(None));
        Ok(greeting.chain(silence).boxed())
    }

    async fn gone(&self, message: pb::GoneRequest) -> Result<pb::GoneReply, Status> {
        let vote =
            vote_from_wire(message.leader_vote.as_ref().ok_or_else(|| DecodeError::missing("leader_vote"))?);
        let mut seen = self.gone.subscribe();
        let gone = timeout(NOTICE_MAX, seen.wait_for(|gone| *gone == Some(vote))).await;
        let last_log_id = self.last_log_id().as_ref().map(log_id_to_wire);
        Ok(pb::GoneReply { gone: matches!(gone, Ok(Ok(_))), last_log_id })
    }

    async fn end(&self) {
        self.stopping.send_replace(true);
        // An error means that the core has ended before.
        let _ = self.raft.shutdown().await;
    }
}
