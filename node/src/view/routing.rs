//! What a gateway routes by: functions, versions, routes, replicas, nodes.

use std::sync::Arc;

use coracle_proto::id::{Epoch, FunctionId, GroupId, Namespace, NodeId, VersionId};
use coracle_proto::key::Key;
use coracle_proto::record::{
    Change, Cluster, DataGroup, Function, Node, Record, Replica, Role, SlotTable, Version,
};
use imbl::OrdMap;

use super::{Content, Routes};

/// Where a version is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaAt {
    /// By whom.
    pub node: NodeId,
    /// Since which assignment.
    pub epoch: Epoch,
}

/// The gateway's scope. Its versions come without environment, arguments and hosts.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    cluster: Option<Arc<Cluster>>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    functions: OrdMap<FunctionId, Arc<Function>>,
    versions: OrdMap<VersionId, Arc<Version>>,
    replicas: OrdMap<VersionId, Arc<[ReplicaAt]>>,
    routes: Routes,
    groups: OrdMap<GroupId, Arc<DataGroup>>,
    slots: Option<Arc<SlotTable>>,
}

impl Routing {
    /// About the cluster.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_deref()
    }

    /// Every node.
    #[must_use]
    pub fn nodes(&self) -> &OrdMap<NodeId, Arc<Node>> {
        &self.nodes
    }

    /// Every function.
    #[must_use]
    pub fn functions(&self) -> &OrdMap<FunctionId, Arc<Function>> {
        &self.functions
    }

    /// Every version.
    #[must_use]
    pub fn versions(&self) -> &OrdMap<VersionId, Arc<Version>> {
        &self.versions
    }

    /// Every route.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Where a version is held, by node.
    #[must_use]
    pub fn replicas(&self, version: &VersionId) -> &[ReplicaAt] {
        self.replicas.get(version).map_or(&[], |replicas| replicas)
    }

    /// Every data group.
    #[must_use]
    pub fn groups(&self) -> &OrdMap<GroupId, Arc<DataGroup>> {
        &self.groups
    }

    /// The data group that has what a namespace has; none where nobody keeps anything, or what is known of it is not whole yet.
    #[must_use]
    pub fn group_of(&self, namespace: &Namespace) -> Option<&Arc<DataGroup>> {
        self.groups.get(&self.slots.as_ref()?.group_of(namespace)?)
    }

    fn set_replica(&mut self, version: VersionId, node: NodeId, epoch: Option<Epoch>) {
        let mut replicas = self.replicas(&version).to_vec();
        replicas.retain(|replica| replica.node != node);
        replicas.extend(epoch.map(|epoch| ReplicaAt { node, epoch }));
        replicas.sort_by_key(|replica| replica.node);
        if replicas.is_empty() {
            self.replicas.remove(&version);
        } else {
            self.replicas.insert(version, replicas.into());
        }
    }

    fn put(&mut self, record: Record) {
        match record {
            Record::Cluster(it) => self.cluster = Some(Arc::new(it)),
            Record::Node(it) => drop(self.nodes.insert(it.id, Arc::new(it))),
            Record::Function(it) => drop(self.functions.insert(it.id.clone(), Arc::new(it))),
            Record::Version(it) => drop(self.versions.insert(it.id.clone(), Arc::new(it))),
            Record::Route(it) => self.routes.put(it),
            Record::Replica(it) => self.set_replica(it.version, it.node, Some(it.epoch)),
            Record::Group(it) => drop(self.groups.insert(it.id, Arc::new(it))),
            Record::Slots(it) => self.slots = Some(Arc::new(it)),
            Record::Namespace(_) | Record::Remembered(_) => {}
        }
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Cluster => self.cluster = None,
            Key::Node(id) => drop(self.nodes.remove(id)),
            Key::Function(id) => drop(self.functions.remove(id)),
            Key::Version(id) => drop(self.versions.remove(id)),
            Key::Route(spec) => self.routes.remove(spec),
            Key::Replica(version, node) => self.set_replica(version.clone(), *node, None),
            Key::Group(id) => drop(self.groups.remove(id)),
            Key::Slots => self.slots = None,
            Key::Namespace(_) | Key::Request(..) => {}
        }
    }
}

impl Content for Routing {
    /// Data groups and slots came with it.
    const WHOLE_SINCE: u32 = 2;

    fn apply(&mut self, change: Change) {
        match change.record {
            Some(record) => self.put(record),
            None => self.remove(&change.key),
        }
    }

    fn records(&self) -> Vec<Record> {
        let replicas = self.replicas.iter().flat_map(|(version, held)| {
            held.iter().map(|at| Replica { version: version.clone(), node: at.node, epoch: at.epoch })
        });
        let mut records: Vec<_> = self.cluster.iter().map(|it| Record::Cluster(Cluster::clone(it))).collect();
        records.extend(self.nodes.values().map(|it| Record::Node(Node::clone(it))));
        records.extend(self.functions.values().map(|it| Record::Function(Function::clone(it))));
        records.extend(self.versions.values().map(|it| Record::Version(Version::clone(it))));
        records.extend(self.routes.all().iter().map(|it| Record::Route((**it).clone())));
        records.extend(replicas.map(Record::Replica));
        records.extend(self.groups.values().map(|it| Record::Group(DataGroup::clone(it))));
        records.extend(self.slots.iter().map(|it| Record::Slots(SlotTable::clone(it))));
        records
    }

    fn is_same(&self, other: &Self) -> bool {
        self.cluster.as_ref().map(Arc::as_ptr) == other.cluster.as_ref().map(Arc::as_ptr)
            && self.nodes.ptr_eq(&other.nodes)
            && self.functions.ptr_eq(&other.functions)
            && self.versions.ptr_eq(&other.versions)
            && self.replicas.ptr_eq(&other.replicas)
            && self.routes.is_same(&other.routes)
            && self.groups.ptr_eq(&other.groups)
            && self.slots.as_ref().map(Arc::as_ptr) == other.slots.as_ref().map(Arc::as_ptr)
    }

    /// Where there are stores there are slots.
    fn is_whole(&self) -> bool {
        self.slots.is_some() || !self.nodes.values().any(|node| node.is(Role::Store))
    }
}
