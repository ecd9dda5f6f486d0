//! The handle of a member: opens it, proposes, reads, tells how it is, shuts it down.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use tokio::runtime::Runtime;
use tokio::time::{interval, sleep, timeout};

use crate::error::{Leader, OpenError, ProposeError};
use crate::member::Member;
use crate::network::{Peers, RaftServer, RaftService};
use crate::options::{COMMAND_BYTES_MAX, Options};
use crate::start::start;
use crate::state_machine::{Observer, Position, StateMachine};
use crate::status::{Status, StatusWatch, StoreStatus};
use crate::store::FlusherThread;
use crate::types::{Command, Types};

/// Threads of a group's own runtime: its core, and what applies, must not wait for anything else of the
/// process, nor for each other.
const THREADS: usize = 2;

/// How long tasks may take to end when a member shuts down.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// How long a leader without answers is waited for before a write is refused for want of a quorum.
const LEASE_PATIENCE: Duration = Duration::from_millis(1_000);

/// Between two attempts of a read to find a leader.
const READ_RETRY: Duration = Duration::from_millis(50);

/// A running member of a group. Clones share it.
pub struct Raft<S: StateMachine> {
    pub(crate) member: Arc<Member<S>>,
    background: Arc<Background>,
    dir: Arc<Path>,
}

impl<S: StateMachine> Clone for Raft<S> {
    fn clone(&self) -> Self {
        Self {
            member: Arc::clone(&self.member),
            background: Arc::clone(&self.background),
            dir: Arc::clone(&self.dir),
        }
    }
}

impl<S: StateMachine> fmt::Debug for Raft<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// The threads of a member. Dropped without a shutdown they end by themselves, some time later.
#[derive(Default)]
struct Background(Mutex<Option<(Runtime, Option<FlusherThread>)>>);

impl Background {
    fn take(&self) -> Option<(Runtime, Option<FlusherThread>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some((runtime, _)) = self.take() {
            // Waiting is not allowed here: this may run inside another runtime.
            runtime.shutdown_background();
        }
    }
}

impl<S: StateMachine> Raft<S> {
    /// Opens the member's store, or makes a new one, and starts the member. It follows until it hears of a
    /// leader; a new one waits for [`Raft::initialize`] or to be added by a leader.
    ///
    /// # Errors
    /// When the store is damaged, emptied, foreign or in use, or the options are wrong.
    pub async fn open(
        options: Options,
        observer: Arc<dyn Observer<S>>,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, OpenError> {
        options.validate()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(format!("raft-{}", options.identity.group))
            .enable_all()
            .build()
            .map_err(|source| OpenError::Io { what: "starting threads", dir: options.dir.clone(), source })?;
        let dir: Arc<Path> = options.dir.as_path().into();
        let starting = runtime.spawn(start(options, observer, peers));
        let background = Background(Mutex::new(Some((runtime, None))));
        let started = starting.await.map_err(|error| OpenError::Raft { reason: error.to_string() })?;
        let (member, flusher) = started?;
        if let Some((_, thread)) = &mut *background.0.lock().unwrap_or_else(PoisonError::into_inner) {
            *thread = Some(flusher);
        }
        Ok(Self { member, background: Arc::new(background), dir })
    }

    /// The gRPC service by which the other members reach this one.
    #[must_use]
    pub fn service(&self) -> RaftServer<S> {
        RaftService::server(Arc::clone(&self.member))
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
        let after = self.member.limits.read;
        let mut last = ProposeError::TimedOut { after };
        let reached = async {
            let mut retry = interval(READ_RETRY);
            let wanted = loop {
                retry.tick().await;
                match self.member.read_index().await {
                    // A leader is being elected, or was just heard of.
                    Err(error) if error.nothing_happened() => last = error,
                    answer => break answer?,
                }
            };
            let mut published = self.member.published.clone();
            let applied =
                published.wait_for(|now| now.applied.is_some_and(|at| at.index >= wanted.index)).await;
            let applied = applied.map_err(|_| self.member.stopped(&"raft has ended"))?;
            Ok(applied.applied.unwrap_or(wanted))
        };
        match timeout(after, reached).await {
            Ok(answer) => answer,
            Err(_) => Err(last),
        }
    }

    /// The state after the newest command that was applied here; as stale as this member is.
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

    /// The log store's figures. Looks at the disk.
    #[must_use]
    pub fn store_status(&self) -> StoreStatus {
        let length = |path: std::path::PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
        let files = |dir: &Path| {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.filter(|entry| entry.path().is_file()).map(|entry| length(entry.path())).sum::<u64>()
        };
        StoreStatus {
            syncs: self.member.metrics.syncs(),
            bytes: files(&self.dir) + files(&self.dir.join("store")) + files(&self.dir.join("store/blobs")),
        }
    }

    /// Ends the streams that other members hold open here, which a gRPC server would else wait for when it ends.
    pub fn leave(&self) {
        self.member.stopping.send_replace(true);
    }

    /// Ends every task and thread and closes the store; the folder can be opened again afterwards.
    pub async fn shutdown(&self) {
        self.leave();
        // An error means that the core has ended before.
        let _ = self.member.raft.shutdown().await;
        let Some((runtime, flusher)) = self.background.take() else { return };
        let channels = Arc::clone(&self.member.channels);
        let ended = tokio::task::spawn_blocking(move || {
            runtime.shutdown_timeout(SHUTDOWN_MAX);
            channels.close();
            flusher.map(FlusherThread::stop)
        });
        if ended.await.ok().flatten().is_some_and(|stopped| stopped.is_err()) {
            tracing::error!(dir = %self.dir.display(), "the flusher panicked");
        }
    }

    /// Waits for a write; asks again while the leader waits for the first answers of its followers.
    pub(crate) async fn written<F>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<ClientWriteResponse<Types>, ProposeError>
    where
        F: Future<Output = Result<ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>>>,
    {
        let member = &self.member;
        let after = member.limits.propose;
        let mut acked = member.raft.metrics();
        let written = async {
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
        };
        timeout(after, written).await.unwrap_or(Err(ProposeError::TimedOut { after }))
    }
}
