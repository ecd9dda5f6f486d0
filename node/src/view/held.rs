//! What this node was assigned, with whole specs.

use std::sync::Arc;

use coracle_proto::id::{Epoch, NodeId, VersionId};
use coracle_proto::key::Key;
use coracle_proto::record::{Change, Node, Record, Replica, Version};
use imbl::OrdMap;

use super::Content;

/// A version that this node is to hold ready.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Since which decision.
    pub epoch: Epoch,
    /// What is to be held, with its whole spec.
    pub version: Arc<Version>,
}

/// One node's scope.
#[derive(Debug, Clone, Default)]
pub struct Held {
    nodes: OrdMap<NodeId, Arc<Node>>,
    replicas: OrdMap<VersionId, (NodeId, Epoch)>,
    versions: OrdMap<VersionId, Arc<Version>>,
}

impl Held {
    /// Every node of the cluster.
    #[must_use]
    pub fn nodes(&self) -> &OrdMap<NodeId, Arc<Node>> {
        &self.nodes
    }

    /// What is to be held.
    pub fn assignments(&self) -> impl Iterator<Item = Assignment> + '_ {
        self.replicas.keys().filter_map(|version| self.assignment(version))
    }

    /// Whether nothing was assigned or taken away in between: the very same collections, so it costs nothing to ask.
    #[must_use]
    pub fn assigns_the_same(&self, other: &Self) -> bool {
        self.replicas.ptr_eq(&other.replicas) && self.versions.ptr_eq(&other.versions)
    }

    /// Whether, and since when, a version is to be held.
    #[must_use]
    pub fn assignment(&self, version: &VersionId) -> Option<Assignment> {
        let (_, epoch) = self.replicas.get(version)?;
        let version = Arc::clone(self.versions.get(version)?);
        Some(Assignment { epoch: *epoch, version })
    }
}

impl Content for Held {
    const WHOLE_SINCE: u32 = 1;

    fn apply(&mut self, change: Change) {
        match change.record {
            Some(Record::Node(it)) => drop(self.nodes.insert(it.id, Arc::new(it))),
            Some(Record::Version(it)) => drop(self.versions.insert(it.id.clone(), Arc::new(it))),
            Some(Record::Replica(it)) => drop(self.replicas.insert(it.version, (it.node, it.epoch))),
            Some(
                Record::Cluster(_)
                | Record::Namespace(_)
                | Record::Function(_)
                | Record::Route(_)
                | Record::Remembered(_)
                | Record::Group(_)
                | Record::Slots(_),
            ) => {}
            None => self.remove(&change.key),
        }
    }

    fn records(&self) -> Vec<Record> {
        let mut records: Vec<_> = self.nodes.values().map(|it| Record::Node(Node::clone(it))).collect();
        records.extend(self.versions.values().map(|it| Record::Version(Version::clone(it))));
        records.extend(self.replicas.iter().map(|(version, (node, epoch))| {
            Record::Replica(Replica { version: version.clone(), node: *node, epoch: *epoch })
        }));
        records
    }

    fn is_same(&self, other: &Self) -> bool {
        self.nodes.ptr_eq(&other.nodes) && self.assigns_the_same(other)
    }

    fn is_whole(&self) -> bool {
        true
    }
}

impl Held {
    fn remove(&mut self, key: &Key) {
        match key {
            Key::Node(id) => drop(self.nodes.remove(id)),
            Key::Version(id) => drop(self.versions.remove(id)),
            Key::Replica(version, _) => {
                self.replicas.remove(version);
                // A new assignment brings its version again.
                self.versions.remove(version);
            }
            Key::Cluster
            | Key::Function(_)
            | Key::Group(_)
            | Key::Namespace(_)
            | Key::Request(..)
            | Key::Route(_)
            | Key::Slots => {}
        }
    }
}
