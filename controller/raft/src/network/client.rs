//! openraft's calls to one member.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::codec::DecodeError;
use coracle_proto::id::NodeId;
use coracle_proto::pb::raft as pb;
use futures::{Stream, StreamExt as _, stream};
use openraft::alias::SnapshotOf;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{
    Backoff, NetAppend, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RPCTypes, stream_append_sequential,
};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Request, Status, Streaming};

use super::calls::Lines;
use super::channels::{Client, Lane};
use super::owed::Owed;
use crate::codec::message::{
    append_reply_from_wire, append_to_wire, transfer_reply_from_wire, transfer_to_wire, vote_reply_from_wire,
    vote_request_to_wire,
};
use crate::codec::raft::{log_id_to_wire, stored_membership_to_wire, vote_from_wire, vote_to_wire};
use crate::membership::Seat;
use crate::state::{SnapshotData, chunks};
use crate::types::{Types, Vote};

/// How long a stream of entries may take to open: it may have to connect first.
const OPEN_MAX: Duration = Duration::from_millis(2_000);

/// How long entries may be unanswered before their stream is given up and opened anew: some slow syncs.
const STALL_MAX: Duration = Duration::from_millis(3_000);

/// Makes the clients of each member.
#[derive(Debug, Clone)]
pub(crate) struct Connector(pub(crate) Lines);

impl Connector {
    fn member(&self, target: u64, seat: &Seat, lane: Lane) -> Member {
        let target = NodeId::new(target);
        self.0.channels.record(target, seat);
        Member { lines: self.0.clone(), target, lane }
    }
}

impl RaftNetworkFactory<Types> for Connector {
    type Network = Member;

    async fn new_client(&mut self, target: u64, node: &Seat) -> Member {
        self.member(target, node, Lane::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Seat) -> Member {
        self.member(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Seat) -> Member {
        self.member(target, node, Lane::Snapshot)
    }
}

/// One member, as openraft calls it. Votes and transfers always go by the control lane.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    lines: Lines,
    target: NodeId,
    lane: Lane,
}

type Rpc<T> = Result<T, RPCError<Types>>;

impl Member {
    fn client(&self, lane: Lane) -> Rpc<Client> {
        self.lines.client(self.target, lane).map_err(|status| unreachable(&status))
    }

    fn header(&self) -> pb::Header {
        self.lines.header(self.target)
    }

    fn request<M>(message: M, within: Duration) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(within);
        request
    }

    fn error(&self, action: RPCTypes, status: &Status, within: Duration) -> RPCError<Types> {
        match status.code() {
            // tonic reports its own deadline as cancelled.
            Code::DeadlineExceeded | Code::Cancelled => RPCError::Timeout(self.timeout(action, within)),
            _ => unreachable(status),
        }
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> Timeout<Types> {
        Timeout {
            action,
            id: self.lines.channels.identity.owner.node.get(),
            target: self.target.get(),
            timeout,
        }
    }

    /// A term that a member told may be none.
    fn check(&self, vote: &Vote) -> Rpc<()> {
        let checked = self.lines.terms.check(self.target, vote.leader_id.term);
        checked.map_err(|status| unreachable(&status))
    }

    fn check_result(&self, result: &StreamAppendResult<Types>) -> Rpc<()> {
        match result {
            Err(StreamAppendError::HigherVote(vote)) => self.check(vote),
            Err(StreamAppendError::Conflict(_)) | Ok(_) => Ok(()),
        }
    }

    fn read_vote(&self, reply: &pb::VoteReply) -> Rpc<VoteResponse<Types>> {
        let reply = vote_reply_from_wire(reply).map_err(|error| malformed(&error))?;
        self.check(&reply.vote)?;
        Ok(reply)
    }

    /// The bytes of a snapshot. One that was received is not sent on: whoever has installed it sends a view.
    fn chunks(
        &self,
        snapshot: SnapshotOf<Types, SnapshotData>,
    ) -> futures::stream::BoxStream<'static, Bytes> {
        let SnapshotData::View(view) = snapshot.snapshot else { return stream::empty().boxed() };
        let cluster = self.lines.channels.identity.owner.cluster;
        let mut made = chunks(cluster, self.lines.group(), snapshot.meta, view);
        stream::poll_fn(move |context| made.poll_recv(context)).boxed()
    }

    /// Entries one way, answers the other, as many under way as openraft likes.
    ///
    /// openraft waits after a failure inside `input`, before its first item: that one is taken before the call is
    /// opened, for a call to a member that is down fails without ever asking for one.
    async fn pipeline<S>(&self, mut input: S) -> Rpc<BoxStream<'static, Rpc<StreamAppendResult<Types>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let Some(first) = input.next().await else { return Ok(Box::pin(stream::empty())) };
        let input = stream::iter([first]).chain(input);
        let (mut client, header) = (self.client(Lane::Entries)?, self.header());
        let owed = Arc::new(Owed::default());
        let sent = Arc::clone(&owed);
        let requests = input.map(move |request| {
            sent.sent(now());
            append_to_wire(header.clone(), &request)
        });
        let replies = match timeout(OPEN_MAX, client.append(requests)).await {
            Ok(Ok(replies)) => replies.into_inner(),
            Ok(Err(status)) => return Err(self.error(RPCTypes::AppendEntries, &status, OPEN_MAX)),
            Err(_) => return Err(RPCError::Timeout(self.timeout(RPCTypes::AppendEntries, OPEN_MAX))),
        };
        let stalled = self.timeout(RPCTypes::AppendEntries, STALL_MAX);
        let member = self.clone();
        Ok(Box::pin(stream::unfold(Some(Replies { replies, owed, stalled, member }), |state| async move {
            let mut replies = state?;
            let answer = replies.next().await?;
            // The first error ends the stream.
            let go_on = matches!(answer, Ok(Ok(_)));
            Some((answer, go_on.then_some(replies)))
        })))
    }
}

/// The answers of one stream of entries, and what is still owed.
struct Replies {
    replies: Streaming<pb::AppendReply>,
    owed: Arc<Owed>,
    stalled: Timeout<Types>,
    member: Member,
}

impl Replies {
    async fn next(&mut self) -> Option<Rpc<StreamAppendResult<Types>>> {
        let patience = self.stalled.timeout;
        loop {
            match timeout_at(self.owed.deadline(now(), patience), self.replies.message()).await {
                Ok(Ok(Some(reply))) => {
                    self.owed.answered();
                    let result = append_reply_from_wire(&reply).map_err(|error| malformed(&error));
                    return Some(
                        result.and_then(|result| self.member.check_result(&result).map(|()| result)),
                    );
                }
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => return Some(Err(unreachable(&status))),
                Err(_) if self.owed.is_overdue(now(), patience) => {
                    return Some(Err(RPCError::Timeout(self.stalled.clone())));
                }
                // Nothing was asked, or not long ago.
                Err(_) => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "answers are waited for here")]
fn now() -> Instant {
    Instant::now()
}

/// The messages of a snapshot.
fn with_header(
    header: pb::Header,
    start: pb::SnapshotStart,
    chunks: futures::stream::BoxStream<'static, Bytes>,
) -> impl Stream<Item = pb::SnapshotChunk> + Send + 'static {
    use pb::snapshot_chunk::Part;
    let start = stream::iter([Part::Start(start)]);
    let parts = start.chain(chunks.map(Part::Data));
    parts.map(move |part| pb::SnapshotChunk { header: Some(header.clone()), part: Some(part) })
}

/// Everything but a time-out waits before it is tried again: nothing gets better by asking at once.
fn unreachable(status: &Status) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(status))
}

fn malformed(error: &DecodeError) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl NetBackoff<Types> for Member {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

impl NetAppend<Types> for Member {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        // openraft gives up after the hard limit itself; a busy machine needs all of it.
        let within = option.hard_ttl();
        let message = append_to_wire(self.header(), &request);
        let reply = self.lines.channels.beat(self.target, message, within).await;
        let reply = reply.map_err(|status| self.error(RPCTypes::AppendEntries, &status, within))?;
        let result = append_reply_from_wire(&reply).map_err(|error| malformed(&error))?;
        self.check_result(&result)?;
        Ok(match result {
            Ok(_) => AppendEntriesResponse::Success,
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }
}

impl NetStreamAppend<Types> for Member {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        match self.lane {
            Lane::Control => stream_append_sequential(self, input, option),
            Lane::Entries | Lane::Snapshot => Box::pin(async move {
                let replies: BoxStream<'s, _> = self.pipeline(input).await?;
                Ok(replies)
            }),
        }
    }
}

impl NetVote<Types> for Member {
    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        let within = option.soft_ttl();
        let message = Self::request(vote_request_to_wire(self.header(), &request), within);
        let reply = self.client(Lane::Control)?.vote(message).await;
        let reply = reply.map_err(|status| self.error(RPCTypes::Vote, &status, within))?;
        self.read_vote(&reply.into_inner())
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        let within = option.soft_ttl();
        let message = Self::request(vote_request_to_wire(self.header(), &request), within);
        let reply = self.client(Lane::Control)?.pre_vote(message).await;
        let reply = reply.map_err(|status| self.error(RPCTypes::Vote, &status, within))?;
        self.read_vote(&reply.into_inner())
    }
}

impl NetTransferLeader<Types> for Member {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        let within = option.soft_ttl();
        let message = Self::request(transfer_to_wire(self.header(), &request), within);
        let reply = self.client(Lane::Control)?.transfer_leader(message).await;
        let reply = reply.map_err(|status| self.error(RPCTypes::TransferLeader, &status, within))?;
        Ok(transfer_reply_from_wire(&request, reply.into_inner()))
    }
}

impl NetSnapshot<Types> for Member {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let within = option.soft_ttl();
        let start = pb::SnapshotStart {
            vote: Some(vote_to_wire(&vote)),
            last_log_id: snapshot.meta.last_log_id.as_ref().map(log_id_to_wire),
            membership: Some(stored_membership_to_wire(&snapshot.meta.last_membership)),
        };
        let chunks = with_header(self.header(), start, self.chunks(snapshot));
        let mut client = self.client(Lane::Snapshot)?;
        let call = client.install_snapshot(Self::request(chunks, within));
        let reply = tokio::select! {
            closed = cancel => return Err(closed.into()),
            reply = call => reply,
        };
        let reply =
            reply.map_err(|status| self.error(RPCTypes::InstallSnapshot, &status, within))?.into_inner();
        let vote = reply.vote.ok_or_else(|| malformed(&DecodeError::missing("vote")))?;
        let vote = vote_from_wire(&vote);
        self.check(&vote)?;
        Ok(SnapshotResponse::new(vote))
    }
}
