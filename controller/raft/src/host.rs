//! A host: what one process has for all of its groups. Two logs, one thread each; the state of all groups and the
//! thread that keeps it; connections to other hosts; threads for Raft's cores; the registry by which messages find
//! their member.

mod folder;
mod identity;
#[cfg(test)]
mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_proto::id::{GroupId, StoreId};
use tokio::runtime::{Handle, Runtime};

use self::folder::{Contents, DATA_LOG, Folder, META_LOG};
use crate::disk_machine::DiskMachine;
use crate::error::OpenError;
use crate::failure::{Failed, Failure};
use crate::log::{GroupLog, Log, LogStore, LogThread, LogWriter, Recovered, Restored, Start};
use crate::metrics::StoreMetrics;
use crate::network::{AddressBook, Channels, Hosted, RaftServer, RaftService, Registry, end_on_failure};
use crate::options::{GroupOptions, HostIdentity, HostOptions};
use crate::raft::Raft;
use crate::reader::View;
use crate::start;
use crate::state::{Checkpoint, CheckpointThread};
use crate::state_machine::{Observer, State, StateMachine};

/// Threads for the cores of all groups, and for what applies: they must not wait for anything else of the process, nor
/// for each other.
const THREADS: usize = 2;

/// How long tasks may take to end when a host shuts down.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// A log, open.
struct OpenLog {
    dir: PathBuf,
    writer: LogWriter,
    metrics: Arc<StoreMetrics>,
    /// What it holds, for as long as the host lives: a group may be started again.
    groups: BTreeMap<GroupId, Restored>,
}

/// The parts that end together.
struct Parts {
    logs: BTreeMap<&'static str, OpenLog>,
    log_threads: Vec<LogThread>,
    checkpoint_thread: CheckpointThread,
    runtime: Runtime,
    /// Groups that have a member here, or are getting one.
    taken: BTreeSet<GroupId>,
}

/// What is shared by the host's groups.
pub(crate) struct Shared {
    pub(crate) options: HostOptions,
    pub(crate) identity: HostIdentity,
    pub(crate) failure: Arc<Failure>,
    pub(crate) checkpoint: Arc<Checkpoint>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) tasks: Handle,
    parts: Mutex<Option<Parts>>,
}

/// A group's place in the stores of its host.
pub(crate) struct Place {
    pub(crate) log: LogStore,
    pub(crate) writer: LogWriter,
    pub(crate) metrics: Arc<StoreMetrics>,
    pub(crate) engine: Box<dyn crate::state::Engine>,
}

/// The stores and connections of one process. Clones share it.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<Shared>);

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("identity", &self.0.identity).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(parts) = self.take() {
            // Waiting is not allowed here: this may run inside another runtime.
            parts.runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn parts(&self) -> MutexGuard<'_, Option<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Parts> {
        self.parts().take()
    }

    /// Takes a group for a member: two of one group would vote twice.
    pub(crate) fn take_group(&self, group: GroupId) -> Result<(), OpenError> {
        self.check()?;
        if self.parts().as_mut().ok_or_else(ended)?.taken.insert(group) {
            return Ok(());
        }
        Err(OpenError::Raft { reason: format!("group {group} has a member here already") })
    }

    /// Refuses once the store has failed.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        self.failure.found().map_or(Ok(()), |Failed { reason, .. }| Err(OpenError::Raft { reason }))
    }

    /// Lets a group go whose member has ended, or was not made, after what it has is on the disk. Blocks.
    pub(crate) fn release_group(&self, group: GroupId) {
        self.checkpoint.remove(group);
        if let Some(parts) = &mut *self.parts() {
            parts.taken.remove(&group);
        }
    }

    /// Opens a group's part of the stores. Blocks.
    pub(crate) fn place(&self, group: GroupId) -> Result<Place, OpenError> {
        let folder = Folder(&self.options, &self.failure);
        let engine = self.checkpoint.engine(group).map_err(folder.io("opening the state"))?;
        let applied = engine.applied().map_err(folder.io("reading the state"))?.unwrap_or_default().log_id;
        let name = if group == GroupId::META { META_LOG } else { DATA_LOG };
        let mut parts = self.parts();
        let parts = parts.as_mut().ok_or_else(ended)?;
        if !parts.logs.contains_key(name) {
            let log = folder.create_data_log(&self.identity)?;
            let (log, thread) = self.open_log(name, log).map_err(folder.io("starting the log"))?;
            parts.logs.insert(name, log);
            parts.log_threads.push(thread);
        }
        let Some(log) = parts.logs.get_mut(name) else {
            return Err(OpenError::Raft { reason: format!("{name} is not open") });
        };
        let new = || Recovered::default().tail(applied).map(|tail| Arc::new(GroupLog::new(group, tail)));
        let part = log.groups.entry(group).or_insert_with(new).clone();
        let part = part.map_err(|reason| folder.damaged(reason))?;
        let store = LogStore::new(log.dir.clone(), part, log.writer.clone());
        Ok(Place { log: store, writer: log.writer.clone(), metrics: Arc::clone(&log.metrics), engine })
    }

    fn open_log(&self, name: &'static str, log: Log) -> std::io::Result<(OpenLog, LogThread)> {
        open_log(&self.options.dir, name, log, &self.checkpoint)
    }

    /// Forgets a member that has ended, once. Blocks.
    pub(crate) fn remove(&self, group: GroupId, member: &Arc<dyn Hosted>) {
        if self.registry.remove(group, member) {
            self.channels.group_removed();
            self.release_group(group);
        }
    }

    /// A state that cannot be read.
    pub(crate) fn read_error(&self, error: std::io::Error) -> OpenError {
        Folder(&self.options, &self.failure).io("reading the state")(error)
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.options.dir
    }
}

fn ended() -> OpenError {
    OpenError::Raft { reason: "the host has ended".to_owned() }
}

/// Every group in it is opened, whether it gets a member or not: one that rests for good must not hold the log.
fn open_log(
    dir: &Path,
    name: &'static str,
    mut log: Log,
    checkpoint: &Arc<Checkpoint>,
) -> std::io::Result<(OpenLog, LogThread)> {
    let applied = |group| Ok(checkpoint.engine(group)?.applied()?.unwrap_or_default().log_id);
    let groups = log.restore(applied)?;
    let whole = groups.iter().filter_map(|(id, group)| Some((*id, Arc::clone(group.as_ref().ok()?))));
    let (dir, metrics) = (dir.join(name), Arc::clone(&log.syncs.metrics));
    let waiting = Arc::clone(checkpoint);
    let (writer, thread) = LogThread::spawn(Start {
        dir: dir.clone(),
        name: name.to_owned(),
        identity: log.identity,
        written: log.written,
        groups: whole.collect(),
        syncs: log.syncs,
        full: Box::new(move || waiting.ask()),
    })?;
    Ok((OpenLog { dir, writer, metrics, groups }, thread))
}

impl Host {
    /// Opens the store of a node, or makes one.
    ///
    /// # Errors
    /// When the store is damaged, emptied, foreign, tainted or in use, or the options are wrong.
    pub async fn open(options: HostOptions, addresses: Arc<dyn AddressBook>) -> Result<Self, OpenError> {
        options.validate()?;
        let opened = tokio::task::spawn_blocking(move || open(options, addresses)).await;
        opened.map_err(|error| OpenError::Raft { reason: error.to_string() })?
    }

    /// Names the store: others know this node by it.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.0.identity.store
    }

    /// Returns when the store has failed: of a disk that is full, say. All of its members end then, and none is started any
    /// more, for the engines' own threads may have ended: it has to be opened anew, by the next process best.
    pub async fn failed(&self) -> Failed {
        let mut failure = self.0.failure.watch();
        let found = failure.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        match found {
            Some(failed) => failed,
            // What it watches lives as long as this does.
            None => std::future::pending().await,
        }
    }

    /// Starts this node's member of a group. It follows until it hears of a leader; a new one waits for
    /// [`Raft::initialize`] or to be added by a leader.
    ///
    /// # Errors
    /// When what the store holds of the group is damaged, or the options are wrong.
    pub async fn start<S: StateMachine>(
        &self,
        options: GroupOptions,
        observer: Arc<dyn Observer<S>>,
    ) -> Result<Raft<S>, OpenError> {
        self.start_with(options, observer, start::in_memory).await
    }

    /// The same of a group whose state is on the disk, for a host that was opened with [`States::OnDisk`](crate::States).
    ///
    /// # Errors
    /// When what the store holds of the group is damaged, or the options are wrong.
    pub async fn start_on_disk<M: DiskMachine>(
        &self,
        options: GroupOptions,
        observer: Arc<dyn Observer<View>>,
    ) -> Result<Raft<View>, OpenError> {
        self.start_with(options, observer, start::on_disk::<M>).await
    }

    async fn start_with<S: State>(
        &self,
        options: GroupOptions,
        observer: Arc<dyn Observer<S>>,
        open: start::Open<S>,
    ) -> Result<Raft<S>, OpenError> {
        options.validate()?;
        let starting = self.0.tasks.spawn(start::start(Arc::clone(&self.0), options, observer, open));
        let member = starting.await.map_err(|error| OpenError::Raft { reason: error.to_string() })??;
        Ok(Raft::new(member, self.clone()))
    }

    /// The gRPC service by which the members of other hosts reach those of this one.
    #[must_use]
    pub fn service(&self) -> RaftServer {
        RaftService::server(self.0.identity, Arc::clone(&self.0.registry))
    }

    /// Ends every member, task and thread, and closes the stores; the folder can be opened again afterwards.
    pub async fn shutdown(&self) {
        for member in self.0.registry.all() {
            member.end().await;
        }
        let Some(parts) = self.0.take() else { return };
        let channels = Arc::clone(&self.0.channels);
        let ended = tokio::task::spawn_blocking(move || {
            let Parts { logs, log_threads, checkpoint_thread, runtime, .. } = parts;
            runtime.shutdown_timeout(SHUTDOWN_MAX);
            channels.close();
            // The last checkpoint tells the logs what they may forget.
            let state = checkpoint_thread.stop();
            drop(logs);
            log_threads.into_iter().map(LogThread::stop).fold(state, Result::and)
        });
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::error!(dir = %self.0.dir().display(), "a thread of the store panicked");
        }
    }
}

/// Blocks.
fn open(options: HostOptions, addresses: Arc<dyn AddressBook>) -> Result<Host, OpenError> {
    let failure = Arc::new(Failure::new(&options.dir));
    let folder = Folder(&options, &failure);
    let Contents { identity, meta, data, state: engines, taint } = folder.open()?;
    // What a killed process had not synced is taken for acknowledged from now on.
    let checkpoint = Arc::new(Checkpoint::new(engines, Arc::clone(&failure)));
    checkpoint.sync().map_err(folder.io("syncing the state"))?;
    let (mut logs, mut log_threads) = (BTreeMap::new(), Vec::new());
    for (name, log) in [(META_LOG, Some(meta)), (DATA_LOG, data)] {
        let Some(log) = log else { continue };
        let opened = open_log(&options.dir, name, log, &checkpoint);
        let (log, thread) = opened.map_err(folder.io("starting the log"))?;
        logs.insert(name, log);
        log_threads.push(thread);
    }
    if let Some(reason) = taint {
        folder.forget_taint(&reason)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("raft")
        .enable_all()
        .build()
        .map_err(folder.io("starting threads"))?;
    // The last thing that can fail: the thread would keep the store open.
    let checkpoint_thread = CheckpointThread::spawn(Arc::clone(&checkpoint), "raft-state".to_owned());
    let checkpoint_thread = checkpoint_thread.map_err(folder.io("starting threads"))?;
    let tasks = runtime.handle().clone();
    let channels = Arc::new(Channels::new(identity, addresses));
    let parts =
        Mutex::new(Some(Parts { logs, log_threads, checkpoint_thread, runtime, taken: BTreeSet::new() }));
    let shared = Arc::new(Shared {
        options,
        identity,
        failure,
        checkpoint,
        channels,
        registry: Arc::default(),
        tasks,
        parts,
    });
    shared.tasks.spawn(end_on_failure(Arc::clone(&shared.registry), shared.failure.watch()));
    Ok(Host(shared))
}
