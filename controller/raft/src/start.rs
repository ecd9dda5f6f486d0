//! Starts a member on its own threads: its store, Raft's core, the witness.

use std::sync::Arc;
use std::time::Duration;

use openraft::SnapshotPolicy;
use tokio::sync::watch;

use crate::error::OpenError;
use crate::member::Member;
use crate::metrics::StoreMetrics;
use crate::network::{CHUNK_BYTES, Channels, Connector, Peers};
use crate::options::Options;
use crate::state_machine::{Observer, StateMachine};
use crate::store::{FlusherThread, Opened, open};
use crate::witness;

/// Entries in one message to a follower; their bytes are bounded too.
const ENTRIES_MAX: u64 = 512;

/// Between two attempts to reach a member that does not answer: soon at first, a second at most.
const BACKOFF: &str = "100ms 200ms 400ms ...1s";

/// Runs on the member's own threads.
pub(crate) async fn start<S: StateMachine>(
    options: Options,
    observer: Arc<dyn Observer<S>>,
    peers: Arc<dyn Peers>,
) -> Result<(Arc<Member<S>>, FlusherThread), OpenError> {
    let failed = |reason: String| OpenError::Raft { reason };
    let config = config(&options).validate().map_err(|error| failed(error.to_string()))?;
    let metrics = Arc::new(StoreMetrics::default());
    let Opened { log, machine, published, flusher } = open(&options, observer, Arc::clone(&metrics))?;
    let (snapshots, halted) = (machine.snapshots.clone(), Arc::clone(&machine.halted));
    let channels = Arc::new(Channels::new(options.identity, peers));
    let connector = Connector(Arc::clone(&channels));
    let id = options.identity.node.get();
    let raft = openraft::Raft::new(id, Arc::new(config), connector, log, machine);
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
        identity: options.identity,
        limits: options.limits,
        published,
        snapshots,
        channels,
        metrics,
        halted,
        gone: watch::Sender::new(None),
        stopping: watch::Sender::new(false),
    });
    tokio::spawn(witness::run(Arc::clone(&member)));
    Ok((member, flusher))
}

fn config(options: &Options) -> openraft::Config {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (timing, limits) = (options.timing, options.limits);
    openraft::Config {
        cluster_name: options.identity.cluster.to_string(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        enable_pre_vote: Some(true),
        // A restarted leader asks for votes: its state may be behind what it had answered before.
        enable_leader_restore: Some(false),
        max_payload_entries: ENTRIES_MAX,
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
