//! What a member knows about itself and its group, for people and for metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::id::NodeId;
use openraft::{Instant as _, RaftMetrics, ServerState};

use crate::codec::raft::position;
use crate::error::Leader;
use crate::failure::Failed;
use crate::membership::Seat;
use crate::metrics::SyncHistogram;
use crate::state_machine::Position;
use crate::terms::AbsurdTerm;
use crate::types::Types;

/// What a member does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Replicates without a vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
}

/// A vote: for whom, in which term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteStatus {
    /// The term.
    pub term: u64,
    /// The node that has the vote.
    pub node: NodeId,
    /// Whether a quorum gave it theirs too: the node leads.
    pub committed: bool,
}

/// A member as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// The newest entry known to be there.
    pub matched: Option<Position>,
    /// Entries that the leader has more.
    pub lag: u64,
    /// Time since it last answered.
    pub heard: Option<Duration>,
}

/// A member's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Who says this.
    pub node: NodeId,
    /// What it does.
    pub role: Role,
    /// The current term.
    pub term: u64,
    /// Its vote.
    pub vote: VoteStatus,
    /// Who leads, as far as it knows.
    pub leader: Option<Leader>,
    /// The index of its newest entry.
    pub last_log_index: Option<u64>,
    /// The newest committed entry that it has.
    pub committed: Option<Position>,
    /// The newest applied entry.
    pub applied: Option<Position>,
    /// The end of its snapshot.
    pub snapshot: Option<Position>,
    /// The newest entry that was removed from the log.
    pub purged: Option<Position>,
    /// Voters and their addresses; during a change those of before and after.
    pub voters: BTreeMap<NodeId, Seat>,
    /// Learners and their addresses.
    pub learners: BTreeMap<NodeId, Seat>,
    /// Whether the newest membership is not committed yet, or joint.
    pub changing: bool,
    /// Whether both the voters of before and of after a change decide.
    pub joint: bool,
    /// The last term that was refused because no election can have led to it.
    pub absurd_term: Option<AbsurdTerm>,
    /// On the leader: the other members.
    pub followers: BTreeMap<NodeId, Follower>,
    /// On the leader: time since a majority last answered.
    pub quorum_acked: Option<Duration>,
    /// Why it has stopped.
    pub stopped: Option<String>,
    /// It stopped at a command that this build cannot read: started again it stops there again.
    pub halted: bool,
    /// It stopped because a sync failed: its store must not be used again.
    pub tainted: bool,
}

/// The log store's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// How long syncs took.
    pub syncs: SyncHistogram,
    /// Bytes of the group's folder.
    pub bytes: u64,
}

impl Status {
    pub(crate) fn new(
        metrics: &RaftMetrics<Types>,
        halted: Option<&String>,
        failed: Option<&Failed>,
    ) -> Self {
        let membership = metrics.membership_config.membership();
        let member = |id: u64| (NodeId::new(id), membership.get_node(&id).cloned().unwrap_or_default());
        let stopped = metrics.running_state.as_ref().err().map(ToString::to_string);
        let known = halted.or_else(|| failed.map(|failed| &failed.reason));
        let stopped = stopped.map(|reason| known.cloned().unwrap_or(reason));
        let vote = metrics.vote.leader_id;
        Self {
            node: NodeId::new(metrics.id),
            role: if stopped.is_some() { Role::Stopped } else { role(metrics.state) },
            term: metrics.current_term,
            vote: VoteStatus {
                term: vote.term,
                node: NodeId::new(vote.voted_for),
                committed: metrics.vote.committed,
            },
            leader: metrics.current_leader.map(|id| {
                let (node, seat) = member(id);
                Leader { node, address: seat.address }
            }),
            last_log_index: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(position),
            applied: metrics.last_applied.as_ref().map(position),
            snapshot: metrics.snapshot.as_ref().map(position),
            purged: metrics.purged.as_ref().map(position),
            voters: membership.voter_ids().map(member).collect(),
            learners: membership.learner_ids().map(member).collect(),
            changing: membership.get_joint_config().len() > 1
                || metrics.membership_config.log_id() != metrics.committed_membership_config.log_id(),
            joint: membership.get_joint_config().len() > 1,
            absurd_term: None,
            followers: followers(metrics),
            quorum_acked: metrics.last_quorum_acked.map(|at| at.elapsed()),
            stopped,
            halted: halted.is_some(),
            tainted: failed.is_some_and(|failed| failed.taints),
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn followers(metrics: &RaftMetrics<Types>) -> BTreeMap<NodeId, Follower> {
    let heard = |id: &u64| metrics.heartbeat.as_ref()?.get(id)?.as_ref().map(|at| at.elapsed());
    let end = metrics.last_log_index.map_or(0, |index| index + 1);
    let replication = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
    replication
        .map(|(id, matched)| {
            let lag = end.saturating_sub(matched.map_or(0, |id| id.index + 1));
            (NodeId::new(*id), Follower { matched: matched.as_ref().map(position), lag, heard: heard(id) })
        })
        .collect()
}
