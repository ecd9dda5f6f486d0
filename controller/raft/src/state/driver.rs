//! What differs between a state in memory and one on the disk: how entries become a state, and where that is kept.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::EntryPayload;

use super::snapshot::SnapshotData;
use crate::codec::raft::position;
use crate::codec::record::AppliedState;
use crate::disk_machine::Stop;
use crate::state_machine::{Applied, Change, Position};
use crate::types::{Entry, Reply, StoredMembership};

/// Applies entries to a state of type `S`, and keeps what comes of it.
pub(crate) trait Driver<S>: Send + Sync + 'static {
    /// Applies entries to a state that is as far as `at`, in order, until one ends the member.
    fn apply(&mut self, entries: Vec<Entry>, at: AppliedState) -> BoxFuture<'_, io::Result<Outcome>>;

    /// Everybody was told of what was applied.
    fn told(&mut self, changes: Vec<(Position, Vec<Change>)>, at: AppliedState) -> BoxFuture<'_, ()>;

    /// The state after the last entry.
    fn state(&self) -> S;

    /// The same, to be sent to another member.
    fn snapshot(&self) -> SnapshotData;

    /// Puts a snapshot in the place of the state, here and on the disk, synced: the log forgets what it stands for.
    fn install(&mut self, at: AppliedState, snapshot: SnapshotData) -> BoxFuture<'_, io::Result<()>>;
}

/// What came of applying entries.
pub(crate) struct Outcome {
    /// How far the state is.
    pub(crate) at: AppliedState,
    /// One for each entry that was applied.
    pub(crate) replies: Vec<Reply>,
    /// Of each command.
    pub(crate) changes: Vec<(Position, Vec<Change>)>,
    /// Why the others were not applied.
    pub(crate) stop: Option<Stop>,
}

impl Outcome {
    /// Applies entries in order, until one cannot be.
    pub(super) fn of(
        entries: Vec<Entry>,
        at: AppliedState,
        mut apply: impl FnMut(Position, &[u8]) -> Result<Applied, Stop>,
    ) -> Self {
        let replies = Vec::with_capacity(entries.len());
        let mut outcome = Self { at, replies, changes: Vec::new(), stop: None };
        for entry in entries {
            let mut answer = Bytes::new();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    outcome.at.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
                EntryPayload::Normal(command) => {
                    let position = position(&entry.log_id);
                    match apply(position, &command.0) {
                        Ok(Applied { reply, changes }) => {
                            answer = reply;
                            outcome.changes.push((position, changes));
                        }
                        Err(stop) => {
                            outcome.stop = Some(stop);
                            return outcome;
                        }
                    }
                }
            }
            outcome.at.log_id = Some(entry.log_id);
            outcome.replies.push(Reply(answer));
        }
        outcome
    }
}
