//! Drives a state machine in memory. What it changes is gathered for the engine, which may be late.

use std::io;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::checkpoint::{Checkpoint, Group};
use super::driver::{Driver, Outcome};
use super::snapshot::{SnapshotData, Staging};
use crate::codec::record::AppliedState;
use crate::disk_machine::Stop;
use crate::failure::Failure;
use crate::faults;
use crate::state_machine::{Change, Position, StateMachine};
use crate::types::Entry;

/// A state machine and its checkpoint.
pub(crate) struct InMemory<S> {
    pub(crate) state: S,
    pub(crate) group: Arc<Group>,
    pub(crate) checkpoint: Arc<Checkpoint>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) staging: Staging,
}

impl<S: StateMachine> InMemory<S> {
    /// Reads a snapshot, and puts it in the place of the state on the disk, synced. Gives the state. Blocks.
    fn installation(
        &self,
        at: AppliedState,
        snapshot: SnapshotData,
    ) -> impl FnOnce() -> io::Result<S> + Send + use<S> {
        let (staging, group) = (self.staging.clone(), Arc::clone(&self.group));
        let checkpoint = Arc::clone(&self.checkpoint);
        move || {
            let records = staging.records(&snapshot, at.log_id)?.collect::<io::Result<Vec<_>>>()?;
            let state = S::restore(&mut records.iter().cloned()).map_err(io::Error::other)?;
            faults::hit(faults::SNAPSHOT_BEFORE_STATE, std::iter::empty());
            group.replace(Box::new(records.into_iter().map(Ok)), &at)?;
            checkpoint.sync()?;
            group.synced(&at);
            Ok(state)
        }
    }
}

impl<S: StateMachine> Driver<S> for InMemory<S> {
    fn apply(&mut self, entries: Vec<Entry>, at: AppliedState) -> BoxFuture<'_, io::Result<Outcome>> {
        let apply = |position, command: &[u8]| self.state.apply(position, command).map_err(Stop::Halt);
        std::future::ready(Ok(Outcome::of(entries, at, apply))).boxed()
    }

    /// The log is durable and can be applied again: the engine follows.
    fn told(&mut self, changes: Vec<(Position, Vec<Change>)>, at: AppliedState) -> BoxFuture<'_, ()> {
        self.group.gather(changes.into_iter().flat_map(|(_, changes)| changes), &at);
        self.checkpoint.changed();
        self.group.room(&self.failure).boxed()
    }

    fn state(&self) -> S {
        self.state.clone()
    }

    fn snapshot(&self) -> SnapshotData {
        SnapshotData::View(Arc::new(self.state.clone()))
    }

    fn install(&mut self, at: AppliedState, snapshot: SnapshotData) -> BoxFuture<'_, io::Result<()>> {
        let installing = tokio::task::spawn_blocking(self.installation(at, snapshot));
        async {
            self.state = installing.await.map_err(io::Error::other)??;
            Ok(())
        }
        .boxed()
    }
}
