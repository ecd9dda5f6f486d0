//! What openraft drives: takes committed entries in batches, has them applied, publishes the new state, tells the observer,
//! then answers. Where the state is, and how it comes to the disk, it leaves to a [`Driver`].

use std::io;
use std::sync::{Arc, OnceLock};

use futures::{Stream, TryStreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, Snapshot};
use tokio::sync::watch;

use super::driver::{Driver, Outcome};
use super::snapshot::SnapshotData;
use crate::codec::raft::position;
use crate::codec::record::AppliedState;
use crate::disk_machine::Stop;
use crate::failure::Failure;
use crate::faults;
use crate::state_machine::{Observer, Position, State};
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, Types};

/// Entries that are applied before somebody is told: bounds how long an answer waits when a member catches up.
const BATCH_MAX: usize = 512;

/// Bytes of their commands: bounds what is in memory twice meanwhile, and what an engine writes at once.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The state after the newest applied entry.
#[derive(Debug, Clone)]
pub(crate) struct Published<S> {
    pub(crate) applied: Option<Position>,
    pub(crate) state: S,
}

/// A machine, and who is told of what it does.
pub(crate) struct Machine<S> {
    pub(crate) driver: Box<dyn Driver<S>>,
    /// How far the state is.
    pub(crate) at: AppliedState,
    pub(crate) failure: Arc<Failure>,
    pub(crate) published: watch::Sender<Published<S>>,
    pub(crate) observer: Arc<dyn Observer<S>>,
    /// Why the state machine stopped this member.
    pub(crate) halted: Arc<OnceLock<String>>,
}

/// Entries to apply, and who waits for their answers.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    responders: Vec<Option<ApplyResponder<Types>>>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, entry: Entry, responder: Option<ApplyResponder<Types>>) {
        if let EntryPayload::Normal(command) = &entry.payload {
            self.bytes += command.0.len();
        }
        self.entries.push(entry);
        self.responders.push(responder);
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

impl<S: State> Machine<S> {
    /// Applies a batch, publishes the state, tells what changed, answers. What came before an entry that ends the member is
    /// kept.
    async fn take(&mut self, batch: Batch) -> io::Result<()> {
        if batch.entries.is_empty() {
            return Ok(());
        }
        let Outcome { at, replies, changes, stop } =
            self.driver.apply(batch.entries, self.at.clone()).await?;
        if !replies.is_empty() {
            if let Some(found) = self.failure.found() {
                return Err(io::Error::other(found.reason));
            }
            self.at = at;
            let state = self.publish();
            if !changes.is_empty() {
                self.observer.applied(&state, &changes);
            }
            let answers = batch.responders.into_iter().zip(replies);
            let answers: Vec<_> = answers.filter_map(|(to, reply)| Some((to?, reply))).collect();
            if !answers.is_empty() && !changes.is_empty() {
                let keys = changes.iter().flat_map(|(_, changes)| changes).map(|change| change.key.as_ref());
                faults::hit(faults::APPLIED_BEFORE_ANSWER, keys);
            }
            for (responder, reply) in answers {
                responder.send(reply);
            }
            self.driver.told(changes, self.at.clone()).await;
        }
        stop.map_or(Ok(()), |stop| Err(self.stopped(stop)))
    }

    fn stopped(&self, stop: Stop) -> io::Error {
        match stop {
            Stop::Halt(halt) => io::Error::other(self.halted.get_or_init(|| halt.to_string()).clone()),
            Stop::Read(error) => io::Error::new(error.kind(), Stop::Read(error).to_string()),
        }
    }

    fn publish(&self) -> S {
        let (applied, state) = (self.at.log_id.as_ref().map(position), self.driver.state());
        self.published.send_replace(Published { applied, state: state.clone() });
        state
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.at.log_id, last_membership: self.at.membership.clone() }
    }
}

impl<S: State> RaftStateMachine<Types> for Machine<S> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.at.log_id, self.at.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some((entry, responder)) = entries.try_next().await? {
            batch.add(entry, responder);
            if batch.is_full() {
                self.take(std::mem::take(&mut batch)).await?;
            }
        }
        self.take(batch).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { meta: self.meta(), view: self.driver.snapshot() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let at = AppliedState { log_id: meta.last_log_id, membership: meta.last_membership.clone() };
        self.driver.install(at.clone(), snapshot).await?;
        self.at = at;
        let state = self.publish();
        let end = self.at.log_id.as_ref().map(position).unwrap_or_default();
        self.observer.replaced(end, &state);
        Ok(())
    }

    /// The state as it is: there is always one, and it is the newest.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<StateSnapshot>> {
        if self.at.log_id.is_none() {
            return Ok(None);
        }
        self.get_snapshot_builder().await.build_snapshot().await.map(Some)
    }
}

type StateSnapshot = openraft::alias::SnapshotOf<Types, SnapshotData>;

/// A view of the state between two applies.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    view: SnapshotData,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<StateSnapshot> {
        Ok(Snapshot { meta: self.meta.clone(), snapshot: self.view.clone() })
    }
}
