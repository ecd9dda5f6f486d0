//! The handle of a member: opens it, proposes, reads, tells how it is, shuts it down.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use tokio::time::{interval, sleep, timeout};

use crate::error::{Leader, OpenError, ProposeError};
use crate::host::Host;
use crate::member::Member;
use crate::network::{AddressBook, Hosted, RaftServer};
use crate::options::{COMMAND_BYTES_MAX, Options};
use crate::state_machine::{Observer, Position, State, StateMachine};
use crate::status::{Status, StoreStatus};
use crate::status_watch::StatusWatch;
use crate::types::{Command, Types};
use coracle_proto::id::StoreId;

/// How long a leader without answers is waited for before a write is refused for want of a quorum.
const LEASE_PATIENCE: Duration = Duration::from_millis(1_000);

/// Between two attempts of a read to find a leader.
const READ_RETRY: Duration = Duration::from_millis(50);

/// A running member of a group. Clones share it.
pub struct Raft<S: State> {
    pub(crate) member: Arc<Member<S>>,
    pub(crate) host: Host,
    /// The host was opened for this member, and ends with it.
    alone: bool,
}

impl<S: State> Clone for Raft<S> {
    fn clone(&self) -> Self {
        Self { member: Arc::clone(&self.member), host: self.host.clone(), alone: self.alone }
    }
}

impl<S: State> fmt::Debug for Raft<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft").field("identity", &self.member.identity).finish_non_exhaustive()
    }
}

impl<S: State> Raft<S> {
    pub(crate) fn new(member: Arc<Member<S>>, host: Host) -> Self {
        Self { member, host, alone: false }
    }

    /// Opens a host for one group, and starts its member.
    ///
    /// # Errors
    /// See [`Host::open`] and [`Host::start`].
    pub async fn open(
        options: Options,
        observer: Arc<dyn Observer<S>>,
        addresses: Arc<dyn AddressBook>,
    ) -> Result<Self, OpenError>
    where
        S: StateMachine,
    {
        let group = options.group();
        group.validate()?;
        let host = Host::open(options.host(), addresses).await?;
        match host.start(group, observer).await {
            Ok(raft) => Ok(Self { alone: true, ..raft }),
            Err(error) => {
                host.shutdown().await;
                Err(error)
            }
        }
    }

    /// The gRPC service by which the members of other hosts reach those of this one's host.
    #[must_use]
    pub fn service(&self) -> RaftServer {
        self.host.service()
    }

    /// Names the store of this member's host.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.host.store()
    }

    /// Replicates a command and answers with what applying it on this member answered.
    ///
    /// # Errors
    /// See [`ProposeError`], and [`ProposeError::nothing_happened`] before a retry.
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: command.len(), max: COMMAND_BYTES_MAX });
        }
        Ok(self.written(|| self.member.raft.client_write(Command(command.clone()))).await?.data.0)
    }

    /// Waits until this member's state is at least as new as any command that was answered before this call
    /// (ReadIndex, never a lease). Reads of [`Raft::state`] after it are linearizable. Any member may be asked.
    ///
    /// # Errors
    /// When no leader with a quorum is reached in time: the reason of the last attempt.
    pub async fn read_barrier(&self) -> Result<Position, ProposeError> {
        let wanted = self.read_index().await?;
        let after = self.member.limits.read;
        let reached = timeout(after, self.applied(wanted)).await;
        reached.unwrap_or(Err(ProposeError::TimedOut { after }))
    }

    /// Asks the leader what a read must have applied to be linearizable; it confirms with a quorum that it leads. The first
    /// half of [`Raft::read_barrier`].
    ///
    /// # Errors
    /// When no leader with a quorum is reached in time: the reason of the last attempt.
    pub async fn read_index(&self) -> Result<Position, ProposeError> {
        let after = self.member.limits.read;
        let mut last = ProposeError::TimedOut { after };
        let asked = async {
            let mut retry = interval(READ_RETRY);
            loop {
                retry.tick().await;
                match self.member.read_index().await {
                    // A leader is being elected, or was just heard of.
                    Err(error) if error.nothing_happened() => last = error,
                    answer => return answer,
                }
            }
        };
        let answer = timeout(after, asked).await;
        answer.unwrap_or(Err(last))
    }

    /// Waits until this member has applied an entry: for as long as it takes. Answers with the newest one that it has
    /// applied then.
    ///
    /// # Errors
    /// `Stopped` when Raft has ended.
    pub async fn applied(&self, wanted: Position) -> Result<Position, ProposeError> {
        let mut published = self.member.published.clone();
        let applied = published.wait_for(|now| now.applied.is_some_and(|at| at.index >= wanted.index)).await;
        let applied = applied.map_err(|_| self.member.stopped(&"raft has ended"))?;
        Ok(applied.applied.unwrap_or(wanted))
    }

    /// The state after the newest command that was applied here, or a view of it; as stale as this member is.
    #[must_use]
    pub fn state(&self) -> S {
        self.member.published.borrow().state.clone()
    }

    /// Who leads, as far as this member knows, and in which term. Costs nothing beside [`Raft::status`].
    #[must_use]
    pub fn leader(&self) -> (u64, Option<Leader>) {
        self.member.leader()
    }

    /// What this member knows now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.member.status()
    }

    /// Follows the status.
    #[must_use]
    pub fn watch(&self) -> StatusWatch<S> {
        StatusWatch::new(Arc::clone(&self.member))
    }

    /// Time since a majority last answered this leader; none when it does not lead, or none has answered yet.
    #[must_use]
    pub fn quorum_acked(&self) -> Option<Duration> {
        self.member.raft.data_metrics().borrow_watched().last_quorum_acked.map(|at| at.elapsed())
    }

    /// Whether this member leads others and a majority has not answered it for so long. Costs nothing beside
    /// [`Raft::status`].
    #[must_use]
    pub fn lost_majority(&self, after: Duration) -> bool {
        let leads_others = {
            let metrics = self.member.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.state.is_leader() && metrics.membership_config.membership().voter_ids().nth(1).is_some()
        };
        leads_others && self.quorum_acked().is_none_or(|ago| ago >= after)
    }

    /// The figures of the log that this group's entries are in, and the size of the whole store. Looks at the disk.
    #[must_use]
    pub fn store_status(&self) -> StoreStatus {
        StoreStatus { syncs: self.member.metrics.syncs(), bytes: bytes_of(self.host.0.dir()) }
    }

    /// Ends the streams that other members hold open here, which a gRPC server would else wait for when it ends.
    pub fn leave(&self) {
        self.member.stopping.send_replace(true);
    }

    /// Ends this member. When the host was opened for it alone: every task and thread too, and the store is closed; the
    /// folder can be opened again afterwards.
    pub async fn shutdown(&self) {
        if self.alone {
            return self.host.shutdown().await;
        }
        self.member.end().await;
        let (host, group) = (Arc::clone(&self.host.0), self.member.identity.group);
        let member: Arc<dyn Hosted> = Arc::clone(&self.member) as _;
        // A panic in there has ended the store, which says so itself.
        drop(tokio::task::spawn_blocking(move || host.remove(group, &member)).await);
    }

    /// Waits for a write, for as long as a write may take.
    async fn written<F>(&self, write: impl Fn() -> F) -> Result<ClientWriteResponse<Types>, ProposeError>
    where
        F: Future<Output = WriteResult>,
    {
        let after = self.member.limits.propose;
        timeout(after, self.write(write)).await.unwrap_or(Err(ProposeError::TimedOut { after }))
    }

    /// Waits for a write; asks again while the leader waits for the first answers of its followers.
    pub(crate) async fn write<F>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<ClientWriteResponse<Types>, ProposeError>
    where
        F: Future<Output = WriteResult>,
    {
        let member = &self.member;
        let mut acked = member.raft.metrics();
        let patience = sleep(LEASE_PATIENCE);
        tokio::pin!(patience);
        loop {
            match write().await.map_err(|error| member.write_error(error)) {
                Err(error @ ProposeError::NoQuorum { .. }) => tokio::select! {
                    // A new leader has its lease when a majority has answered it for the first time.
                    changed = acked.changed() => changed.map_err(|_| member.stopped(&"raft has ended"))?,
                    () = &mut patience => return Err(error),
                },
                result => return result,
            }
        }
    }
}

type WriteResult = Result<ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>>;

/// Bytes of all files below a folder.
fn bytes_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_of(&entry.path()),
        Ok(_) => entry.metadata().map_or(0, |file| file.len()),
        Err(_) => 0,
    });
    bytes.sum()
}
