//! Starts a member on its host's threads: its part of the stores, Raft's core, what attends to it.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::SnapshotPolicy;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;

use crate::codec::raft::position;
use crate::disk_machine::DiskMachine;
use crate::error::OpenError;
use crate::host::{Place, Shared};
use crate::log::LogStore;
use crate::member::Member;
use crate::metrics::StoreMetrics;
use crate::network::{CHUNK_BYTES, Connector, Hosted, Lines};
use crate::options::{GroupOptions, MemberId};
use crate::reader::View;
use crate::state::{Driver, Engine, Group, InMemory, Machine, OnDisk, Published, Staging};
use crate::state_machine::{Observer, State, StateMachine};
use crate::{joint, witness};

/// Entries in one message to a follower; their bytes are bounded too.
const ENTRIES_MAX: u64 = 512;

/// Between two attempts to reach a member that does not answer: soon at first, a second at most.
const BACKOFF: &str = "100ms 200ms 400ms ...1s";

/// Opens a group's part of the stores, and its state. Blocks.
pub(crate) type Open<S> = fn(&Shared, MemberId, Arc<dyn Observer<S>>) -> Result<Opened<S>, OpenError>;

/// Starts the one member of a group. Runs on the host's own threads.
pub(crate) async fn start<S: State>(
    host: Arc<Shared>,
    options: GroupOptions,
    observer: Arc<dyn Observer<S>>,
    open: Open<S>,
) -> Result<Arc<Member<S>>, OpenError> {
    let group = options.group;
    host.take_group(group)?;
    let begun = begin(Arc::clone(&host), options, observer, open).await;
    if begun.is_err() {
        // A panic in there has ended the store, which says so itself.
        drop(tokio::task::spawn_blocking(move || host.release_group(group)).await);
    }
    begun
}

async fn begin<S: State>(
    host: Arc<Shared>,
    options: GroupOptions,
    observer: Arc<dyn Observer<S>>,
    open: Open<S>,
) -> Result<Arc<Member<S>>, OpenError> {
    let failed = |reason: String| OpenError::Raft { reason };
    let owner = host.identity.owner;
    let identity = MemberId { cluster: owner.cluster, group: options.group, node: owner.node };
    let config = config(&identity, &options).validate().map_err(|error| failed(error.to_string()))?;
    let opening = Arc::clone(&host);
    let opened = tokio::task::spawn_blocking(move || open(&opening, identity, observer)).await;
    let (place, machine, published) = opened.map_err(|error| failed(error.to_string()))??;
    let (staging, halted) = (place.staging, Arc::clone(&machine.halted));
    let own_term = place.log.group.tail().vote.map_or(0, |vote| vote.leader_id.term);
    let lines = Lines::new(Arc::clone(&host.channels), options.group, own_term);
    let id = identity.node.get();
    let raft = openraft::Raft::new(id, Arc::new(config), Connector(lines.clone()), place.log, machine);
    // What is committed is applied before Raft starts, and may be what stopped it last time.
    let ended = |error: String| match halted.get() {
        Some(reason) => OpenError::Halted { reason: reason.clone() },
        None => failed(error),
    };
    let raft = raft.await.map_err(|error| ended(error.to_string()))?;
    // The core publishes what the store holds before it takes its first request.
    raft.with_raft_state(|_| ()).await.map_err(|error| ended(error.to_string()))?;
    let member = Arc::new(Member {
        raft,
        identity,
        limits: options.limits,
        published,
        staging,
        lines,
        store: host.identity.store,
        failure: Arc::clone(&host.failure),
        metrics: place.metrics,
        halted,
        incoming: Member::<S>::incoming(),
        gone: watch::Sender::new(None),
        stopping: watch::Sender::new(false),
        changing: Arc::default(),
    });
    // Whoever comes under an old id with a new store is known from the first message on.
    host.channels.record_all(member.raft.server_metrics().borrow_watched().membership_config.membership());
    host.channels.group_added();
    let hosted = Arc::clone(&member) as Arc<dyn Hosted>;
    host.registry.add(options.group, Arc::clone(&hosted));
    // What failed before it was among those that end then.
    if let Err(failed) = host.check() {
        hosted.end().await;
        host.registry.remove(options.group, &hosted);
        return Err(failed);
    }
    host.tasks.spawn(witness::run(Arc::clone(&member)));
    host.tasks.spawn(joint::settle(Arc::clone(&member)));
    Ok(member)
}

/// What a member is started from.
pub(crate) type Opened<S> = (Parts, Machine<S>, watch::Receiver<Published<S>>);

/// What of it Raft's core and the handle take.
pub(crate) struct Parts {
    pub(crate) log: LogStore,
    pub(crate) metrics: Arc<StoreMetrics>,
    pub(crate) staging: Staging,
}

/// Opens a group whose state is in memory, and restores that. Blocks.
pub(crate) fn in_memory<S: StateMachine>(
    host: &Shared,
    identity: MemberId,
    observer: Arc<dyn Observer<S>>,
) -> Result<Opened<S>, OpenError> {
    let place = host.place(identity.group)?;
    let state: S = restore(host, place.engine.as_ref())?;
    finish(host, identity, observer, place, state.clone(), |group, staging| {
        let (checkpoint, failure) = (Arc::clone(&host.checkpoint), Arc::clone(&host.failure));
        Box::new(InMemory { state, group, checkpoint, failure, staging })
    })
}

/// Opens a group whose state is on the disk. Blocks.
pub(crate) fn on_disk<M: DiskMachine>(
    host: &Shared,
    identity: MemberId,
    observer: Arc<dyn Observer<View>>,
) -> Result<Opened<View>, OpenError> {
    let place = host.place(identity.group)?;
    let view = place.engine.view().map_err(|error| host.read_error(error))?;
    finish(host, identity, observer, place, view.clone(), |group, staging| {
        let (checkpoint, failure) = (Arc::clone(&host.checkpoint), Arc::clone(&host.failure));
        Box::new(OnDisk::<M> { view, group, checkpoint, failure, staging, machine: PhantomData })
    })
}

/// What both have in common: the group is known to who syncs, and the observer to what there is.
fn finish<S: State>(
    host: &Shared,
    identity: MemberId,
    observer: Arc<dyn Observer<S>>,
    place: Place,
    state: S,
    driver: impl FnOnce(Arc<Group>, Staging) -> Box<dyn Driver<S>>,
) -> Result<Opened<S>, OpenError> {
    let Place { log, writer, metrics, engine } = place;
    let at = engine.applied().map_err(|error| host.read_error(error))?.unwrap_or_default();
    let staging = Staging::new(host.dir(), identity.cluster, identity.group);
    let driver = driver(host.checkpoint.add(engine, Arc::clone(&log.group), writer), staging.clone());
    let applied = at.log_id.as_ref().map(position);
    observer.replaced(applied.unwrap_or_default(), &state);
    let (published, publications) = watch::channel(Published { applied, state });
    let failure = Arc::clone(&host.failure);
    let machine = Machine { driver, at, failure, published, observer, halted: Arc::new(OnceLock::new()) };
    Ok((Parts { log, metrics, staging }, machine, publications))
}

/// The state, rebuilt from its records.
fn restore<S: StateMachine>(host: &Shared, engine: &dyn Engine) -> Result<S, OpenError> {
    let mut failed = None;
    let mut records = engine.records().map_while(|record| record.map_err(|error| failed = Some(error)).ok());
    let state = S::restore(&mut records);
    drop(records);
    if let Some(error) = failed {
        return Err(host.read_error(error));
    }
    state.map_err(|source| OpenError::Restore { dir: host.dir().to_owned(), source })
}

fn config(identity: &MemberId, options: &GroupOptions) -> openraft::Config {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (timing, limits) = (options.timing, options.limits);
    openraft::Config {
        cluster_name: identity.cluster.to_string(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        enable_pre_vote: Some(true),
        // A restarted leader asks for votes: its state may be behind what it had answered before.
        enable_leader_restore: Some(false),
        max_payload_entries: ENTRIES_MAX,
        // Costs nothing: a snapshot is a view. It lets the log forget what the state has.
        snapshot_policy: SnapshotPolicy::LogsSinceLast(limits.snapshot_every),
        max_in_snapshot_log_to_keep: limits.keep_entries,
        // Beyond what a log holds, so that it is the log that decides.
        replication_lag_threshold: limits.snapshot_every + limits.keep_entries,
        snapshot_max_chunk_size: CHUNK_BYTES as u64,
        install_snapshot_timeout: ms(limits.snapshot_transfer),
        backoff: BACKOFF.to_owned(),
        ..openraft::Config::default()
    }
}
