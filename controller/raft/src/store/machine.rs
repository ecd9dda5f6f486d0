//! The driver of the state machine: applies committed entries, writes their changes with the applied position
//! in one batch, publishes the new state, then answers.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, Snapshot};
use tokio::sync::watch;

use super::flusher::Flusher;
use super::snapshot::{SnapshotFile, Snapshots, is_damage};
use super::{APPLIED, RECORD, Trees, sled_error};
use crate::codec::frame::seal;
use crate::codec::raft::position;
use crate::codec::record::{AppliedState, Stored as _};
use crate::faults;
use crate::state_machine::{Applied, Change, Observer, Position, StateMachine};
use crate::types::{Entry, LogId, Reply, SnapshotMeta, StoredMembership, Types};

/// Entries whose changes are written in one batch: bounds its size when a member catches up.
const APPLY_BATCH_MAX: usize = 512;

/// The state after the newest applied entry.
#[derive(Debug, Clone)]
pub(crate) struct Published<S> {
    pub(crate) applied: Option<Position>,
    pub(crate) state: S,
}

/// A state machine, its records in the store, and who is told.
pub(crate) struct Machine<S> {
    pub(crate) trees: Trees,
    pub(crate) flusher: Flusher,
    pub(crate) snapshots: Snapshots,
    pub(crate) state: S,
    /// How far the state is.
    pub(crate) at: AppliedState,
    pub(crate) published: watch::Sender<Published<S>>,
    pub(crate) observer: Arc<dyn Observer<S>>,
    /// Why the state machine stopped this member.
    pub(crate) halted: Arc<OnceLock<String>>,
}

/// Entries that are applied in memory and not yet written.
#[derive(Default)]
struct Pending {
    entries: usize,
    batch: sled::Batch,
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
                for change in &changes {
                    let key = record_key(&change.key);
                    match &change.value {
                        Some(value) => to.batch.insert(&key[..], seal(&key, value)),
                        None => to.batch.remove(key),
                    }
                }
                reply = answer;
                to.changes.push((position, changes));
            }
        }
        self.at.log_id = Some(entry.log_id);
        to.entries += 1;
        to.answers.extend(responder.map(|responder| (responder, Reply(reply))));
        Ok(())
    }

    /// Writes what is pending, publishes the state, answers. Nothing is flushed: the log is durable and can
    /// be applied again.
    fn commit(&mut self, pending: Pending) -> io::Result<()> {
        let Pending { entries, mut batch, changes, answers } = pending;
        if entries == 0 {
            return Ok(());
        }
        batch.insert(APPLIED, self.at.seal(APPLIED));
        self.trees.state.apply_batch(batch).map_err(sled_error)?;
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
        Ok(())
    }

    fn publish(&self) {
        let applied = self.at.log_id.as_ref().map(position);
        self.published.send_replace(Published { applied, state: self.state.clone() });
    }

    /// Replaces every stored record in one batch.
    fn replace(&self, records: &[(Bytes, Bytes)]) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for key in self.trees.state.scan_prefix([RECORD]).keys() {
            batch.remove(key.map_err(sled_error)?);
        }
        // A later operation on a key wins over an earlier one of the same batch.
        for (key, value) in records {
            let key = record_key(key);
            batch.insert(&key[..], seal(&key, value));
        }
        batch.insert(APPLIED, self.at.seal(APPLIED));
        self.trees.state.apply_batch(batch).map_err(sled_error)
    }
}

/// The key of a state machine's record in the store.
fn record_key(key: &[u8]) -> Vec<u8> {
    [&[RECORD], key].concat()
}

impl<S: StateMachine> RaftStateMachine<Types> for Machine<S> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder<S>;

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
                self.commit(pending)?;
                return Err(halt);
            }
            if pending.entries >= APPLY_BATCH_MAX {
                self.commit(std::mem::take(&mut pending))?;
            }
        }
        self.commit(pending)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<S> {
        Builder {
            snapshots: self.snapshots.clone(),
            state: self.state.clone(),
            meta: SnapshotMeta { last_log_id: self.at.log_id, last_membership: self.at.membership.clone() },
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, mut snapshot: SnapshotFile) -> io::Result<()> {
        let (found, records) = self.snapshots.read(&mut snapshot)?;
        if found.last_log_id != meta.last_log_id {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is not the one announced"));
        }
        let state = S::restore(&mut records.iter().cloned()).map_err(io::Error::other)?;
        // First the file: after a crash in between, openraft installs it again at the next start.
        self.snapshots.adopt(&snapshot, found.last_log_id).await?;
        faults::hit(faults::SNAPSHOT_BEFORE_STATE, std::iter::empty());
        self.state = state;
        self.at = AppliedState { log_id: found.last_log_id, membership: found.last_membership };
        self.replace(&records)?;
        self.flusher.barrier().await?;
        self.publish();
        let end = self.at.log_id.as_ref().map(position).unwrap_or_default();
        self.observer.replaced(end, &self.state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<StateSnapshot>> {
        match self.snapshots.current().await {
            Ok(current) => Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot })),
            Err(error) if is_damage(&error) => {
                tracing::warn!(%error, "the snapshot is damaged and made anew");
                self.get_snapshot_builder().await.build_snapshot().await.map(Some)
            }
            Err(error) => Err(error),
        }
    }
}

type StateSnapshot = openraft::alias::SnapshotOf<Types, SnapshotFile>;

/// A state between two applies, to be written to a file beside further applies.
pub(crate) struct Builder<S> {
    snapshots: Snapshots,
    state: S,
    meta: SnapshotMeta,
}

impl<S: StateMachine> RaftSnapshotBuilder<Types> for Builder<S> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<StateSnapshot> {
        let (snapshots, state, meta) = (self.snapshots.clone(), self.state.clone(), self.meta.clone());
        let write = move || snapshots.write(&meta, &mut state.records());
        let snapshot = tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
        self.snapshots.adopt(&snapshot, self.meta.last_log_id).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}
