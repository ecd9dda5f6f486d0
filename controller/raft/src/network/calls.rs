//! Calls between members that openraft does not know: read indexes, attendance, and whether a leader is gone.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::pb::raft as pb;
use tonic::{Request, Status, Streaming};

use super::channels::{Channels, Client, Lane};
use crate::codec::raft::{log_id_from_wire, log_id_to_wire, vote_to_wire};
use crate::state_machine::Position;
use crate::terms::Terms;
use crate::types::{LogId, Vote};

/// A stream that the leader holds open for as long as it lives.
pub(crate) struct Attendance(Streaming<pb::AttendReply>);

impl Attendance {
    /// Waits for its end; true when the leader had greeted before.
    pub(crate) async fn ended(mut self) -> bool {
        let mut greeted = false;
        while let Ok(Some(pb::AttendReply {})) = self.0.message().await {
            greeted = true;
        }
        greeted
    }
}

/// What a voter says about a leader that may be gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Testimony {
    pub(crate) gone: bool,
    pub(crate) last_log_id: Option<LogId>,
}

/// One group's way to its other members.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) channels: Arc<Channels>,
    pub(crate) terms: Arc<Terms>,
    group: GroupId,
}

impl Lines {
    pub(crate) fn new(channels: Arc<Channels>, group: GroupId, own_term: u64) -> Self {
        Self { channels, terms: Arc::new(Terms::new(own_term)), group }
    }

    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// From whom a message is, and for whom it is meant.
    pub(crate) fn header(&self, to: NodeId) -> pb::Header {
        self.channels.header(self.group, to)
    }

    /// A client of a member.
    pub(crate) fn client(&self, to: NodeId, lane: Lane) -> Result<Client, Status> {
        self.channels.client(to, lane)
    }

    /// Asks the leader what a linearizable read must have applied.
    pub(crate) async fn read_index(&self, leader: NodeId, within: Duration) -> Result<Position, Status> {
        let mut request = Request::new(pb::ReadIndexRequest { header: Some(self.header(leader)) });
        request.set_timeout(within);
        let reply = self.client(leader, Lane::Control)?.read_index(request).await?.into_inner();
        let id = reply.log_id.ok_or_else(|| Status::internal("the leader named no index"))?;
        Ok(Position { term: id.term, index: id.index })
    }

    /// Attends a leader.
    pub(crate) async fn attend(&self, leader: NodeId) -> Result<Attendance, Status> {
        let request = pb::AttendRequest { header: Some(self.header(leader)) };
        Ok(Attendance(self.client(leader, Lane::Control)?.attend(request).await?.into_inner()))
    }

    /// Asks a voter whether it sees the leader of this vote as gone.
    pub(crate) async fn gone(
        &self,
        voter: NodeId,
        leader_vote: &Vote,
        last: Option<LogId>,
        within: Duration,
    ) -> Result<Testimony, Status> {
        let mut request = Request::new(pb::GoneRequest {
            header: Some(self.header(voter)),
            leader_vote: Some(vote_to_wire(leader_vote)),
            last_log_id: last.as_ref().map(log_id_to_wire),
        });
        request.set_timeout(within);
        let reply = self.client(voter, Lane::Control)?.gone(request).await?.into_inner();
        Ok(Testimony { gone: reply.gone, last_log_id: reply.last_log_id.as_ref().map(log_id_from_wire) })
    }
}
