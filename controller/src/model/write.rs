//! The one place where records enter and leave the state: tables, indexes and hash move together.

use std::sync::Arc;

use coracle_proto::id::{NodeId, VersionId};
use coracle_proto::key::Key;
use coracle_proto::record::{Record, Remembered, Replica};

use super::{ClusterState, hash};

impl ClusterState {
    /// Puts the record in the place of the one under its key, and gives that one back.
    pub(super) fn put(&mut self, record: Record) -> Option<Record> {
        let added = hash::with(self.hash, &record);
        let old = match record {
            Record::Cluster(it) => {
                self.cluster.replace(Arc::new(it)).map(Arc::unwrap_or_clone).map(Record::Cluster)
            }
            Record::Namespace(it) => self.namespaces.insert(it.name.clone(), it).map(Record::Namespace),
            Record::Node(it) => {
                self.nodes.insert(it.id, Arc::new(it)).map(Arc::unwrap_or_clone).map(Record::Node)
            }
            Record::Function(it) => {
                let old = self.functions.insert(it.id.clone(), Arc::new(it));
                old.map(Arc::unwrap_or_clone).map(Record::Function)
            }
            Record::Version(it) => {
                let old = self.versions.insert(it.id.clone(), Arc::new(it));
                old.map(Arc::unwrap_or_clone).map(Record::Version)
            }
            Record::Route(it) => self.routes.insert(it.spec.clone(), it).map(Record::Route),
            Record::Replica(it) => self.put_replica(it).map(Record::Replica),
            Record::Remembered(it) => self.put_remembered(it).map(Record::Remembered),
        };
        self.hash = old.as_ref().map_or(added, |old| hash::without(added, old));
        old
    }

    /// Takes the record under the key away, and gives it back.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Record> {
        let old = match key {
            Key::Cluster => self.cluster.take().map(Arc::unwrap_or_clone).map(Record::Cluster),
            Key::Namespace(name) => self.namespaces.remove(name).map(Record::Namespace),
            Key::Node(id) => self.nodes.remove(id).map(Arc::unwrap_or_clone).map(Record::Node),
            Key::Function(id) => self.functions.remove(id).map(Arc::unwrap_or_clone).map(Record::Function),
            Key::Version(id) => self.versions.remove(id).map(Arc::unwrap_or_clone).map(Record::Version),
            Key::Route(spec) => self.routes.remove(spec).map(Record::Route),
            Key::Replica(version, node) => self.remove_replica(version, *node).map(Record::Replica),
            Key::Request(revision, _) => {
                let old = self.remembered.remove(revision);
                old.inspect(|old| {
                    self.requests.remove(&old.request);
                })
                .map(Arc::unwrap_or_clone)
                .map(Record::Remembered)
            }
        };
        if let Some(old) = &old {
            self.hash = hash::without(self.hash, old);
        }
        old
    }

    fn put_replica(&mut self, replica: Replica) -> Option<Replica> {
        self.held_by.entry(replica.node).or_default().insert(replica.version.clone());
        self.replicas.insert((replica.version.clone(), replica.node), replica)
    }

    fn remove_replica(&mut self, version: &VersionId, node: NodeId) -> Option<Replica> {
        if let Some(held) = self.held_by.get_mut(&node) {
            held.remove(version);
            if held.is_empty() {
                self.held_by.remove(&node);
            }
        }
        self.replicas.remove(&(version.clone(), node))
    }

    fn put_remembered(&mut self, remembered: Remembered) -> Option<Remembered> {
        self.requests.insert(remembered.request, remembered.revision);
        let old = self.remembered.insert(remembered.revision, Arc::new(remembered));
        old.map(Arc::unwrap_or_clone)
    }
}
