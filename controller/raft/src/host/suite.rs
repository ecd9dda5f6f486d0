//! openraft's own tests of a log store and a state machine, on ours; and what they leave out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, NodeId, StoreId};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};

use super::Host;
use crate::codec::raft::log_id;
use crate::log::LogStore;
use crate::membership::Seat;
use crate::network::RecordedAddresses;
use crate::options::{GroupOptions, HostOptions, MemberId, Owner, States};
use crate::state::Machine;
use crate::state_machine::{Applied, Change, Halt, Observer, Position, RestoreError, StateMachine};
use crate::status::Role;
use crate::types::{Entry, Membership, Types, Vote};

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

impl StoreBuilder<Types, LogStore, Machine<Void>, (tempfile::TempDir, Host)> for Builder {
    async fn build(
        &self,
    ) -> Result<((tempfile::TempDir, Host), LogStore, Machine<Void>), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let (host, log, machine) = reopen(&dir.path().join("0")).await;
        Ok(((dir, host), log, machine))
    }
}

/// Opens the store of a folder, which must be closed.
async fn reopen(dir: &Path) -> (Host, LogStore, Machine<Void>) {
    let owner = Owner { cluster: ClusterId::new(1), node: NodeId::new(1) };
    let options = HostOptions {
        dir: dir.to_owned(),
        owner,
        must_exist: false,
        accept_taint: false,
        states: States::InMemory,
    };
    let host = Host::open(options, Arc::new(RecordedAddresses)).await.unwrap();
    let identity = MemberId { cluster: owner.cluster, group: GroupId::META, node: owner.node };
    let (parts, machine, _) = crate::start::in_memory(&host.0, identity, Arc::new(NoObserver)).unwrap();
    (host, parts.log, machine)
}

fn entries(term: u64, indexes: RangeInclusive<u64>) -> Vec<Entry> {
    indexes.map(|index| Entry { log_id: log_id(term, index), payload: EntryPayload::Blank }).collect()
}

/// A follower whose entries conflict with the leader's cuts its log: that is no loss, at no moment.
#[tokio::test]
async fn a_log_is_the_same_after_each_start() {
    let dir = tempfile::tempdir().unwrap();
    let (host, mut log, _) = reopen(dir.path()).await;
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    log.blocking_append(entries(1, 0..=20)).await.unwrap();
    host.shutdown().await;

    let (host, mut log, _) = reopen(dir.path()).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(1, 1)));
    log.truncate_after(Some(log_id(1, 9))).await.unwrap();
    host.shutdown().await;

    let (host, mut log, _) = reopen(dir.path()).await;
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 9)));
    log.save_vote(&Vote::new(2, 1)).await.unwrap();
    log.save_committed(Some(log_id(1, 7))).await.unwrap();
    log.blocking_append(entries(2, 10..=12)).await.unwrap();
    log.purge(log_id(1, 5)).await.unwrap();
    host.shutdown().await;

    // The state on the disk has nothing: what was purged is there again, for it to be applied.
    let (host, mut log, _) = reopen(dir.path()).await;
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (None, Some(log_id(2, 12))));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 7)));
    let read = log.try_get_log_entries(0..).await.unwrap();
    assert_eq!(read, [entries(1, 0..=9), entries(2, 10..=12)].concat());
    host.shutdown().await;
}

#[tokio::test]
async fn openraft_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}

/// A member knows the stores of the others before it takes a message.
#[tokio::test]
async fn stores_are_known_when_a_member_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let (host, mut log, _) = reopen(dir.path()).await;
    let seat = |store| Seat { address: "127.0.0.1:1".to_owned(), store: StoreId::new(store) };
    let nodes = BTreeMap::from([(1, seat(host.store().get())), (2, seat(0xbeef))]);
    let membership = Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap();
    log.save_vote(&Vote::new(1, 2)).await.unwrap();
    log.blocking_append([Entry { log_id: log_id(1, 0), payload: EntryPayload::Membership(membership) }])
        .await
        .unwrap();
    host.shutdown().await;
    let owner = Owner { cluster: ClusterId::new(1), node: NodeId::new(1) };
    let options = HostOptions {
        dir: dir.path().to_owned(),
        owner,
        must_exist: true,
        accept_taint: false,
        states: States::InMemory,
    };
    let host = Host::open(options, Arc::new(RecordedAddresses)).await.unwrap();
    let started = host.start::<Void>(GroupOptions::new(GroupId::META), Arc::new(NoObserver)).await;
    assert_eq!(host.0.channels.store_of(NodeId::new(2)), StoreId::new(0xbeef));
    drop(started.unwrap());
    host.shutdown().await;
}

/// A change that waited for another one for too long is not made later, when nobody waits for it.
#[tokio::test]
async fn a_change_of_the_members_waits_for_another_one_only_so_long() {
    let dir = tempfile::tempdir().unwrap();
    let (host, _, _) = reopen(dir.path()).await;
    let mut options = GroupOptions::new(GroupId::new(1));
    options.limits.propose = Duration::from_millis(200);
    let raft = host.start::<Void>(options, Arc::new(NoObserver)).await.unwrap();
    raft.initialize(BTreeMap::from([(NodeId::new(1), "127.0.0.1:1")])).await.unwrap();
    raft.watch().until(|status| status.role == Role::Leader).await.unwrap();
    let another = raft.member.changing.lock().await;
    let refused = raft.add_learner(NodeId::new(2), "127.0.0.1:2").await.unwrap_err();
    assert!(refused.nothing_happened() && refused.to_string().contains("under way"), "{refused}");
    drop(another);
    drop(raft.member.changing.lock().await);
    while raft.add_learner(NodeId::new(3), "127.0.0.1:3").await.is_err() {}
    assert!(raft.status().learners.keys().eq(&[NodeId::new(3)]), "{:#?}", raft.status());
    host.shutdown().await;
}
