//! One command at work: it reads the state as it stands and writes records, each write becoming a change.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::id::{Epoch, NodeId, Revision, VersionId};
use coracle_proto::key::Key;
use coracle_proto::record::{Cluster, Record};

use super::ClusterState;
use super::cluster::time_of;
use super::kept::{Encoded, Held};

/// A record that a command wrote or removed: what the store, the hash and watchers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The text of the record's key.
    pub key: Bytes,
    /// The record's message; none when it was removed.
    pub record: Option<Bytes>,
}

/// A state that is being changed, in place: a clone for each command would make each of them copy the way to what it
/// touches. [`Edit::undo`] puts back what was there.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    /// With what was written so far, but for the cluster's own record.
    pub(super) state: &'a mut ClusterState,
    /// That this command makes.
    pub(super) revision: Revision,
    /// The command's time, Unix milliseconds.
    pub(super) time_ms: u64,
    /// The cluster's record as it will be: every command writes it, some in steps, and it is encoded once.
    cluster: Option<Cluster>,
    written: BTreeMap<Key, Change>,
    /// What stood under each key before a write, in the order of writes.
    before: Vec<(Key, Option<Held>)>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(state: &'a mut ClusterState, stamp_ms: u64) -> Self {
        Self {
            revision: state.revision().next(),
            time_ms: time_of(state.cluster(), stamp_ms),
            cluster: state.cluster().cloned(),
            written: BTreeMap::new(),
            before: Vec::new(),
            state,
        }
    }

    /// Takes back whatever was written.
    pub(super) fn undo(&mut self) {
        while let Some((key, before)) = self.before.pop() {
            match before {
                Some(held) => self.state.put_held(held),
                None => self.state.remove(&key),
            };
        }
        self.written.clear();
        self.cluster = self.state.cluster().cloned();
    }

    pub(super) fn put(&mut self, record: Record) {
        if self.state.has(&record) {
            return;
        }
        let key = record.key();
        let encoded = Encoded::of(&record);
        let before = self.state.put_held(Held::new(record, &encoded));
        self.before.push((key.clone(), before));
        self.written.insert(key, Change { key: encoded.key, record: Some(encoded.value) });
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(before) = self.state.remove(&key) {
            self.before.push((key.clone(), Some(before)));
            let text = key.to_string().into();
            self.written.insert(key, Change { key: text, record: None });
        }
    }

    /// The cluster's record with what this command made of it so far.
    pub(super) const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Makes the cluster's record.
    pub(super) fn create_cluster(&mut self, cluster: Cluster) {
        self.cluster = Some(cluster);
    }

    /// Changes the cluster's record, if there is one.
    pub(super) fn update_cluster(&mut self, change: impl FnOnce(&mut Cluster)) {
        if let Some(cluster) = &mut self.cluster {
            change(cluster);
        }
    }

    /// The epoch of assignments that this command makes.
    pub(super) const fn epoch(&self) -> Epoch {
        Epoch::new(self.revision.get())
    }

    /// Ends every replica of the version.
    pub(super) fn drop_replicas_of(&mut self, version: &VersionId) {
        let nodes: Vec<_> = self.state.replicas_of(version).map(|replica| replica.node).collect();
        for node in nodes {
            self.remove(Key::Replica(version.clone(), node));
        }
    }

    /// Ends every replica on the node.
    pub(super) fn drop_replicas_on(&mut self, node: NodeId) {
        let versions: Vec<_> = self.state.replicas_on(node).map(|replica| replica.version.clone()).collect();
        for version in versions {
            self.remove(Key::Replica(version, node));
        }
    }

    /// Writes the cluster's record. What changed, in the order of keys.
    pub(super) fn finish(mut self) -> Vec<Change> {
        if let Some(cluster) = self.cluster.take() {
            self.put(Record::Cluster(cluster));
        }
        self.written.into_values().collect()
    }
}
