//! One command at work: it reads the state as it stands and writes records, each write becoming a change.

use std::collections::BTreeMap;

use coracle_proto::id::{Epoch, NodeId, Revision, VersionId};
use coracle_proto::key::Key;
use coracle_proto::record::{Change, Cluster, Record};

use super::ClusterState;

/// A state that is being changed. Whoever drops it instead of calling [`Edit::finish`] has changed nothing.
#[derive(Debug)]
pub(super) struct Edit {
    /// With what was written so far.
    pub(super) state: ClusterState,
    /// That this command makes.
    pub(super) revision: Revision,
    /// The command's time, Unix milliseconds; never before that of an earlier one.
    pub(super) time_ms: u64,
    written: BTreeMap<Key, Option<Record>>,
}

impl Edit {
    /// Begins on a clone: cheap, for collections are persistent.
    pub(super) fn new(state: &ClusterState, time_ms: u64) -> Self {
        let before_ms = state.cluster().map_or(0, |cluster| cluster.time_ms);
        Self {
            state: state.clone(),
            revision: state.revision().next(),
            time_ms: time_ms.max(before_ms),
            written: BTreeMap::new(),
        }
    }

    pub(super) fn put(&mut self, record: Record) {
        let old = self.state.put(record.clone());
        if old.as_ref() != Some(&record) {
            self.written.insert(record.key(), Some(record));
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        if self.state.remove(&key).is_some() {
            self.written.insert(key, None);
        }
    }

    /// Writes the cluster's record with what `change` makes of it.
    pub(super) fn update_cluster(&mut self, change: impl FnOnce(&mut Cluster)) {
        if let Some(mut cluster) = self.state.cluster().cloned() {
            change(&mut cluster);
            self.put(Record::Cluster(cluster));
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

    /// The state and what changed, in the order of keys.
    pub(super) fn finish(self) -> (ClusterState, Vec<Change>) {
        let changes = self.written.into_iter().map(|(key, record)| Change { key, record });
        (self.state, changes.collect())
    }
}
