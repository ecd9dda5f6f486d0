//! What the handle, the service and the witness share: openraft's own handle and what stands around it.

use std::sync::{Arc, OnceLock};

use coracle_proto::id::{NodeId, StoreId};
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::{RaftMetrics, ReadPolicy, ServerState};
use tokio::sync::{Mutex, Semaphore, watch};
use tonic::{Code, Status as RpcStatus};

use crate::codec::raft::position;
use crate::error::{Leader, ProposeError};
use crate::failure::Failure;
use crate::metrics::StoreMetrics;
use crate::network::Lines;
use crate::options::{Limits, MemberId};
use crate::state::{Machine, Published, ReceivedFile, Staging};
use crate::state_machine::{Position, State};
use crate::status::Status;
use crate::types::{LogId, SnapshotMeta, Types, Vote};

/// A running member of a group.
pub(crate) struct Member<S: State> {
    pub(crate) raft: openraft::Raft<Types, Machine<S>>,
    pub(crate) identity: MemberId,
    pub(crate) limits: Limits,
    pub(crate) published: watch::Receiver<Published<S>>,
    pub(crate) staging: Staging,
    pub(crate) lines: Lines,
    pub(crate) store: StoreId,
    pub(crate) failure: Arc<Failure>,
    pub(crate) metrics: Arc<StoreMetrics>,
    pub(crate) halted: Arc<OnceLock<String>>,
    /// Bounds the snapshots that are received at a time.
    pub(crate) incoming: Semaphore,
    /// Held by a change of the members until both of its entries are committed.
    pub(crate) changing: Arc<Mutex<()>>,
    /// The vote of the leader that this member saw vanish.
    pub(crate) gone: watch::Sender<Option<Vote>>,
    /// True when the member leaves: what other members hold open here ends.
    pub(crate) stopping: watch::Sender<bool>,
}

impl<S: State> Member<S> {
    /// A leader whose process this member sees refuse leads nobody here: Raft itself goes on naming it until another one
    /// is elected, which in a minority is never.
    pub(crate) fn status(&self) -> Status {
        let metrics = self.metrics();
        let status = Status::new(&metrics, self.halted.get(), self.failure.found().as_ref());
        let gone = *self.gone.borrow() == Some(metrics.vote);
        let absurd_term = self.lines.terms.absurd();
        Status { leader: status.leader.filter(|_| !gone), absurd_term, ..status }
    }

    /// What Raft tells. It tells who leads and who is a member a moment before it tells everything.
    fn metrics(&self) -> RaftMetrics<Types> {
        let mut metrics = self.raft.metrics().borrow_watched().clone();
        if metrics.running_state.is_ok() {
            let server = self.raft.server_metrics().borrow_watched().clone();
            metrics.current_term = metrics.current_term.max(server.vote.leader_id.term);
            metrics.vote = server.vote;
            metrics.state = server.state;
            metrics.current_leader = server.current_leader;
            metrics.membership_config = server.membership_config;
            metrics.committed_membership_config = server.committed_membership_config;
        }
        metrics
    }

    /// The current term, and who leads: what a proposal needs of the status, without building all of it.
    pub(crate) fn leader(&self) -> (u64, Option<Leader>) {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let term = metrics.vote.leader_id.term;
        let gone = *self.gone.borrow() == Some(metrics.vote);
        let leader = metrics.current_leader.filter(|_| !gone).map(|id| {
            let node = metrics.membership_config.membership().get_node(&id);
            Leader {
                node: NodeId::new(id),
                address: node.map(|node| node.address.clone()).unwrap_or_default(),
            }
        });
        (term, leader)
    }

    /// Done when the member leaves.
    pub(crate) fn leaving(&self) -> impl Future<Output = ()> + Send + use<S> {
        let mut stopping = self.stopping.subscribe();
        // An error means that the member is gone altogether.
        async move { drop(stopping.wait_for(|stopping| *stopping).await) }
    }

    /// Done when the member leads, or when it does not: as wanted. Also when it has ended.
    pub(crate) fn leading(&self, wanted: bool) -> impl Future<Output = ()> + Send + use<S> {
        let mut metrics = self.raft.server_metrics();
        async move {
            while (metrics.borrow_watched().state == ServerState::Leader) != wanted {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Whether Raft's core has ended: what it was last it says for ever, that it leads too.
    pub(crate) fn has_ended(&self) -> bool {
        self.raft.metrics().borrow_watched().running_state.is_err()
    }

    /// The newest entry that was made durable since this process started.
    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.raft.watch_log_progress().get().and_then(|point| point.last_log_id)
    }

    /// What a read must have applied; only on the leader.
    pub(crate) async fn own_read_index(&self) -> Result<Position, ProposeError> {
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(position(linearizer.read_log_id().log_id())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(not_leader(&forward))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
                Err(ProposeError::NoQuorum { reason: error.to_string() })
            }
            Err(RaftError::Fatal(fatal)) => Err(self.stopped(&fatal)),
        }
    }

    /// The same, asked of the leader.
    pub(crate) async fn read_index(&self) -> Result<Position, ProposeError> {
        let leader = match self.own_read_index().await {
            Err(ProposeError::NotLeader { leader: Some(leader) }) if leader.node != self.identity.node => {
                leader
            }
            other => return other,
        };
        match self.lines.read_index(leader.node, self.limits.read).await {
            Ok(index) => Ok(index),
            Err(status) if status.code() == Code::FailedPrecondition => {
                Err(ProposeError::NotLeader { leader: None })
            }
            Err(status) => Err(ProposeError::NoQuorum {
                reason: format!("leader {} at {}: {}", leader.node, leader.address, status.message()),
            }),
        }
    }

    /// Reads a whole snapshot that was received, so that a damaged one is refused.
    pub(crate) async fn checked(
        &self,
        received: ReceivedFile,
        meta: &SnapshotMeta,
    ) -> Result<ReceivedFile, RpcStatus> {
        let staging = self.staging.clone();
        let read = move || staging.check(&received).map(|found| (found, received));
        let read = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| RpcStatus::internal(error.to_string()))?;
        let (found, received) = read.map_err(|error| RpcStatus::data_loss(error.to_string()))?;
        if found == *meta {
            Ok(received)
        } else {
            Err(RpcStatus::data_loss("the snapshot is not the one announced"))
        }
    }

    pub(crate) fn write_error(&self, error: RaftError<Types, ClientWriteError<Types>>) -> ProposeError {
        match error {
            RaftError::Fatal(fatal) => self.stopped(&fatal),
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => not_leader(&forward),
            RaftError::APIError(ClientWriteError::LogEntryDiscarded(forward)) => {
                ProposeError::OutcomeUnknown { reason: format!("the leader changed: {forward}") }
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
                ProposeError::Membership { reason: error.to_string() }
            }
            RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => {
                ProposeError::Membership { reason: error.to_string() }
            }
        }
    }

    pub(crate) fn stopped(&self, fatal: &impl std::fmt::Display) -> ProposeError {
        let failed = || self.failure.found().map(|found| found.reason);
        let reason = self.halted.get().cloned().or_else(failed).unwrap_or_else(|| fatal.to_string());
        ProposeError::Stopped { reason }
    }
}

fn not_leader(forward: &ForwardToLeader<Types>) -> ProposeError {
    let leader = forward.leader_id.map(|id| Leader {
        node: NodeId::new(id),
        address: forward.leader_node.as_ref().map(|node| node.address.clone()).unwrap_or_default(),
    });
    match forward.reason {
        ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => ProposeError::NotLeader { leader },
        ForwardReason::LeaseExpired => {
            ProposeError::NoQuorum { reason: "the leader's lease has ended without answers".to_owned() }
        }
    }
}
