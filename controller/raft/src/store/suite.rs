//! openraft's own tests of a log store and a state machine, on ours; and what they leave out.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, NodeId};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};

use super::{LogStore, Machine, Opened, open};
use crate::codec::raft::log_id;
use crate::metrics::StoreMetrics;
use crate::options::{Identity, Options};
use crate::state_machine::{Applied, Change, Halt, Observer, Position, RestoreError, StateMachine};
use crate::types::{Entry, Types, Vote};

/// Keeps nothing.
#[derive(Clone)]
struct Void;

impl StateMachine for Void {
    fn restore(_records: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        Ok(Self)
    }

    fn apply(&mut self, _position: Position, _command: &[u8]) -> Result<Applied, Halt> {
        Ok(Applied::default())
    }

    fn records(&self) -> Box<dyn Iterator<Item = (Bytes, Bytes)> + Send + '_> {
        Box::new(std::iter::empty())
    }
}

/// Listens to nothing.
struct NoObserver;

impl Observer<Void> for NoObserver {
    fn applied(&self, _state: &Void, _batch: &[(Position, Vec<Change>)]) {}

    fn replaced(&self, _position: Position, _state: &Void) {}
}

struct Builder;

impl StoreBuilder<Types, LogStore, Machine<Void>, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, Machine<Void>), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("0");
        let Opened { log, machine, .. } = reopen(&path);
        Ok((dir, log, machine))
    }
}

fn identity() -> Identity {
    Identity { cluster: ClusterId::new(1), group: GroupId::META, node: NodeId::new(1) }
}

/// Opens the store of a folder, which must be closed.
fn reopen(dir: &Path) -> Opened<Void> {
    open(&Options::new(dir, identity()), Arc::new(NoObserver), Arc::new(StoreMetrics::default())).unwrap()
}

/// Closes a store; its folder can be opened again then.
fn close(opened: Opened<Void>) {
    let Opened { log, machine, flusher, .. } = opened;
    drop((log, machine));
    flusher.stop().unwrap();
}

fn entries(term: u64, indexes: RangeInclusive<u64>) -> Vec<Entry> {
    indexes.map(|index| Entry { log_id: log_id(term, index), payload: EntryPayload::Blank }).collect()
}

/// A follower whose entries conflict with the leader's cuts its log: that is no loss, at no moment.
#[tokio::test]
async fn a_truncated_log_is_not_below_its_mark() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = reopen(dir.path());
    opened.log.save_vote(&Vote::new(1, 1)).await.unwrap();
    opened.log.blocking_append(entries(1, 0..=20)).await.unwrap();
    close(opened);

    let mut opened = reopen(dir.path());
    opened.log.truncate_after(Some(log_id(1, 9))).await.unwrap();
    close(opened);

    let mut opened = reopen(dir.path());
    assert_eq!(opened.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 9)));
    opened.log.save_vote(&Vote::new(2, 1)).await.unwrap();
    opened.log.blocking_append(entries(2, 10..=12)).await.unwrap();
    opened.log.purge(log_id(1, 5)).await.unwrap();
    close(opened);

    let mut opened = reopen(dir.path());
    let state = opened.log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 5)), Some(log_id(2, 12))));
    let read = opened.log.try_get_log_entries(6..).await.unwrap();
    assert_eq!(read, [entries(1, 6..=9), entries(2, 10..=12)].concat());
    close(opened);
}

#[tokio::test]
async fn openraft_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
