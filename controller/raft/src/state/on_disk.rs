//! Drives a machine whose state is on the disk: applies commands to drafts over the newest view, writes what a batch of
//! them changed, and publishes the view that this makes. All of it is on threads that may wait for a disk.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::checkpoint::{Checkpoint, Group};
use super::driver::{Driver, Outcome};
use super::snapshot::{SnapshotData, Staging};
use crate::codec::record::AppliedState;
use crate::disk_machine::DiskMachine;
use crate::draft::Draft;
use crate::failure::Failure;
use crate::reader::View;
use crate::state_machine::{Applied, Change, Position};
use crate::types::Entry;

/// A machine, and the view that it sees.
pub(crate) struct OnDisk<M> {
    pub(crate) view: View,
    pub(crate) group: Arc<Group>,
    pub(crate) checkpoint: Arc<Checkpoint>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) staging: Staging,
    pub(crate) machine: PhantomData<fn() -> M>,
}

/// Applies entries to drafts, each command to one of its own: one that ends the member leaves nothing behind.
fn drafted<M: DiskMachine>(view: &View, entries: Vec<Entry>, at: AppliedState) -> (Outcome, Vec<Change>) {
    let mut all = Draft::over(view);
    let outcome = Outcome::of(entries, at, |position, command| {
        let mut draft = Draft::over(&all);
        let reply = M::apply(&mut draft, position, command)?;
        let changes: Vec<_> = draft.into_changes().collect();
        all.take(&changes);
        Ok(Applied { reply, changes })
    });
    (outcome, all.into_changes().collect())
}

impl<M: DiskMachine> Driver<View> for OnDisk<M> {
    fn apply(&mut self, entries: Vec<Entry>, at: AppliedState) -> BoxFuture<'_, io::Result<Outcome>> {
        let (view, group) = (self.view.clone(), Arc::clone(&self.group));
        let failure = Arc::clone(&self.failure);
        let applying = spawn_blocking(move || {
            let (outcome, changes) = drafted::<M>(&view, entries, at);
            if outcome.replies.is_empty() {
                return Ok((outcome, view));
            }
            let changes = changes.into_iter().map(|Change { key, value }| (key, value)).collect();
            let written = group.write_through(changes, &outcome.at);
            let view = written.inspect_err(|error| failure.write_failed("the state", error))?;
            Ok((outcome, view))
        });
        async {
            let applied: io::Result<_> = applying.await.map_err(io::Error::other)?;
            let (outcome, view) = applied?;
            self.view = view;
            self.checkpoint.changed();
            Ok(outcome)
        }
        .boxed()
    }

    /// It is written already.
    fn told(&mut self, _changes: Vec<(Position, Vec<Change>)>, _at: AppliedState) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn state(&self) -> View {
        self.view.clone()
    }

    fn snapshot(&self) -> SnapshotData {
        SnapshotData::View(Arc::new(self.view.clone()))
    }

    fn install(&mut self, at: AppliedState, snapshot: SnapshotData) -> BoxFuture<'_, io::Result<()>> {
        let (staging, group) = (self.staging.clone(), Arc::clone(&self.group));
        let checkpoint = Arc::clone(&self.checkpoint);
        let installing = spawn_blocking(move || {
            group.replace(staging.records(&snapshot, at.log_id)?, &at)?;
            checkpoint.sync()?;
            group.synced(&at);
            group.view()
        });
        async {
            self.view = installing.await.map_err(io::Error::other)??;
            Ok(())
        }
        .boxed()
    }
}
