//! The one place where records enter and leave the state: tables, indexes and hash move together.

use std::sync::Arc;

use coracle_proto::id::{NodeId, VersionId};
use coracle_proto::key::Key;
use coracle_proto::record::{Record, Remembered, Replica};

use super::kept::{Encoded, Held, Kept};
use super::{ClusterState, hash};

impl ClusterState {
    /// Encodes the record and puts it in the place of the one under its key, and gives that one back.
    pub(super) fn put(&mut self, record: Record) -> Option<Held> {
        let encoded = Encoded::of(&record);
        self.put_held(Held::new(record, &encoded))
    }

    /// Puts a record that was encoded already.
    pub(super) fn put_held(&mut self, held: Held) -> Option<Held> {
        let added = hash::with(self.hash, held.hash());
        let old = match held {
            Held::Cluster(it) => self.cluster.replace(it).map(Held::Cluster),
            Held::Namespace(it) => self.namespaces.insert(it.record.name.clone(), it).map(Held::Namespace),
            Held::Node(it) => self.nodes.insert(it.record.id, it).map(Held::Node),
            Held::Function(it) => self.functions.insert(it.record.id.clone(), it).map(Held::Function),
            Held::Version(it) => self.versions.insert(it.record.id.clone(), it).map(Held::Version),
            Held::Route(it) => self.routes.insert(it.record.spec.clone(), it).map(Held::Route),
            Held::Replica(it) => self.put_replica(it).map(Held::Replica),
            Held::Remembered(it) => self.put_remembered(it).map(Held::Remembered),
            Held::Group(it) => self.groups.insert(it.record.id, it).map(Held::Group),
            Held::Slots(it) => self.slots.replace(it).map(Held::Slots),
        };
        self.hash = old.as_ref().map_or(added, |old| hash::without(added, old.hash()));
        old
    }

    /// Takes the record under the key away, and gives it back.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Held> {
        let old = match key {
            Key::Cluster => self.cluster.take().map(Held::Cluster),
            Key::Namespace(name) => self.namespaces.remove(name).map(Held::Namespace),
            Key::Node(id) => self.nodes.remove(id).map(Held::Node),
            Key::Function(id) => self.functions.remove(id).map(Held::Function),
            Key::Version(id) => self.versions.remove(id).map(Held::Version),
            Key::Route(spec) => self.routes.remove(spec).map(Held::Route),
            Key::Replica(version, node) => self.remove_replica(version, *node).map(Held::Replica),
            Key::Group(id) => self.groups.remove(id).map(Held::Group),
            Key::Slots => self.slots.take().map(Held::Slots),
            Key::Request(revision, _) => {
                let old = self.remembered.remove(revision);
                old.inspect(|old| {
                    self.requests.remove(&old.record.request);
                })
                .map(Held::Remembered)
            }
        };
        if let Some(old) = &old {
            self.hash = hash::without(self.hash, old.hash());
        }
        old
    }

    /// Whether this very record stands under its key.
    pub(super) fn has(&self, record: &Record) -> bool {
        match record {
            Record::Cluster(it) => self.cluster() == Some(it),
            Record::Namespace(it) => is(self.namespaces.get(&it.name), it),
            Record::Node(it) => is(self.nodes.get(&it.id), it),
            Record::Function(it) => is(self.functions.get(&it.id), it),
            Record::Version(it) => is(self.versions.get(&it.id), it),
            Record::Route(it) => is(self.routes.get(&it.spec), it),
            Record::Replica(it) => self.replica(&it.version, it.node) == Some(it),
            Record::Remembered(it) => is(self.remembered.get(&it.revision), it),
            Record::Group(it) => is(self.groups.get(&it.id), it),
            Record::Slots(it) => self.slots() == Some(it),
        }
    }

    fn put_replica(&mut self, kept: Arc<Kept<Replica>>) -> Option<Arc<Kept<Replica>>> {
        let (version, node) = (kept.record.version.clone(), kept.record.node);
        self.held_by.entry(node).or_default().insert(version.clone());
        self.replicas.insert((version, node), kept)
    }

    fn remove_replica(&mut self, version: &VersionId, node: NodeId) -> Option<Arc<Kept<Replica>>> {
        if let Some(held) = self.held_by.get_mut(&node) {
            held.remove(version);
            if held.is_empty() {
                self.held_by.remove(&node);
            }
        }
        self.replicas.remove(&(version.clone(), node))
    }

    fn put_remembered(&mut self, kept: Arc<Kept<Remembered>>) -> Option<Arc<Kept<Remembered>>> {
        self.requests.insert(kept.record.request, kept.record.revision);
        self.remembered.insert(kept.record.revision, kept)
    }
}

fn is<T: PartialEq>(kept: Option<&Arc<Kept<T>>>, record: &T) -> bool {
    kept.is_some_and(|kept| kept.record == *record)
}
