//! The driver of the state machine: applies committed entries in memory, publishes the new state, tells the observer,
//! then answers. The disk follows by itself.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, Snapshot};
use tokio::sync::watch;

use super::checkpoint::{Checkpoint, Group};
use super::snapshot::{SnapshotData, Staging};
use crate::codec::raft::position;
use crate::codec::record::AppliedState;
use crate::failure::Failure;
use crate::faults;
use crate::state_machine::{Applied, Change, Observer, Position, StateMachine};
use crate::types::{Entry, LogId, Reply, SnapshotMeta, StoredMembership, Types};

/// Entries that are applied before somebody is told: bounds how long an answer waits when a member catches up.
const APPLY_BATCH_MAX: usize = 512;

/// The state after the newest applied entry.
#[derive(Debug, Clone)]
pub(crate) struct Published<S> {
    pub(crate) applied: Option<Position>,
    pub(crate) state: S,
}

/// A state machine, its checkpoint, and who is told.
pub(crate) struct Machine<S> {
    pub(crate) state: S,
    /// How far the state is.
    pub(crate) at: AppliedState,
    pub(crate) group: Arc<Group>,
    pub(crate) checkpoint: Arc<Checkpoint>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) staging: Staging,
    pub(crate) published: watch::Sender<Published<S>>,
    pub(crate) observer: Arc<dyn Observer<S>>,
    /// Why the state machine stopped this member.
    pub(crate) halted: Arc<OnceLock<String>>,
}

/// Entries that are applied and not yet told of.
#[derive(Default)]
struct Pending {
    entries: usize,
    changes: Vec<(Position, Vec<Change>)>,
    answers: Vec<(ApplyResponder<Types>, Reply)>,
}

impl<S: StateMachine> Machine<S> {
    /// Applies one entry in memory.
    fn take(
        &mut self,
        entry: Entry,
        responder: Option<ApplyResponder<Types>>,
        to: &mut Pending,
    ) -> io::Result<()> {
        let mut reply = Bytes::new();
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.at.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Normal(command) => {
                let position = position(&entry.log_id);
                let Applied { reply: answer, changes } =
                    self.state.apply(position, &command.0).map_err(|halt| {
                        let reason = self.halted.get_or_init(|| halt.to_string());
                        io::Error::other(reason.clone())
                    })?;
                reply = answer;
                to.changes.push((position, changes));
            }
        }
        self.at.log_id = Some(entry.log_id);
        to.entries += 1;
        to.answers.extend(responder.map(|responder| (responder, Reply(reply))));
        Ok(())
    }

    /// Publishes the state, tells what changed, answers. The log is durable and can be applied again.
    async fn conclude(&mut self, pending: Pending) -> io::Result<()> {
        let Pending { entries, changes, answers } = pending;
        if entries == 0 {
            return Ok(());
        }
        if let Some(found) = self.failure.found() {
            return Err(io::Error::other(found.reason));
        }
        self.publish();
        if !changes.is_empty() {
            self.observer.applied(&self.state, &changes);
        }
        if !answers.is_empty() && !changes.is_empty() {
            let keys = changes.iter().flat_map(|(_, changes)| changes).map(|change| change.key.as_ref());
            faults::hit(faults::APPLIED_BEFORE_ANSWER, keys);
        }
        for (responder, reply) in answers {
            responder.send(reply);
        }
        self.group.gather(changes.into_iter().flat_map(|(_, changes)| changes), &self.at);
        self.checkpoint.changed();
        self.group.room(&self.failure).await;
        Ok(())
    }

    fn publish(&self) {
        let applied = self.at.log_id.as_ref().map(position);
        self.published.send_replace(Published { applied, state: self.state.clone() });
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.at.log_id, last_membership: self.at.membership.clone() }
    }

    /// Reads a snapshot, and puts it in the place of the state on the disk, synced. Gives the state. Blocks.
    fn installation(
        &self,
        at: AppliedState,
        snapshot: SnapshotData,
    ) -> impl FnOnce() -> io::Result<(S, AppliedState)> + Send + use<S> {
        let (staging, group) = (self.staging.clone(), Arc::clone(&self.group));
        let checkpoint = Arc::clone(&self.checkpoint);
        move || {
            let records = read(&staging, at.log_id, &snapshot)?;
            let state = S::restore(&mut records.iter().cloned()).map_err(io::Error::other)?;
            faults::hit(faults::SNAPSHOT_BEFORE_STATE, std::iter::empty());
            group.replace(Box::new(records.into_iter().map(Ok)), &at)?;
            checkpoint.sync()?;
            group.synced(&at);
            Ok((state, at))
        }
    }
}

/// The records of a snapshot, if it is the one announced. Blocks.
fn read(
    staging: &Staging,
    announced: Option<LogId>,
    snapshot: &SnapshotData,
) -> io::Result<Vec<(Bytes, Bytes)>> {
    match snapshot {
        SnapshotData::View(view) => Ok(view.records().collect()),
        SnapshotData::Received(file) => {
            let mut records = Vec::new();
            let found = staging.read(file, |key, value| records.push((key, value)))?;
            if found.last_log_id != announced {
                let reason = "the snapshot is not the one announced";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            Ok(records)
        }
    }
}

impl<S: StateMachine> RaftStateMachine<Types> for Machine<S> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.at.log_id, self.at.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut pending = Pending::default();
        while let Some((entry, responder)) = entries.try_next().await? {
            if let Err(halt) = self.take(entry, responder, &mut pending) {
                // What came before the entry is applied: it is kept.
                self.conclude(pending).await?;
                return Err(halt);
            }
            if pending.entries >= APPLY_BATCH_MAX {
                self.conclude(std::mem::take(&mut pending)).await?;
            }
        }
        self.conclude(pending).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { meta: self.meta(), view: SnapshotData::View(Arc::new(self.state.clone())) }
    }

    /// The state is on the disk, and synced, before this returns: the log forgets what it stands for.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let at = AppliedState { log_id: meta.last_log_id, membership: meta.last_membership.clone() };
        let installed = tokio::task::spawn_blocking(self.installation(at, snapshot)).await;
        (self.state, self.at) = installed.map_err(io::Error::other)??;
        self.publish();
        let end = self.at.log_id.as_ref().map(position).unwrap_or_default();
        self.observer.replaced(end, &self.state);
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
