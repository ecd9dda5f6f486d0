//! What the cluster has agreed on, and the questions that can be asked of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use coracle_proto::id::{
    Digest, FunctionId, GroupId, Namespace, NodeId, RequestId, Revision, StateHash, VersionId, VersionNumber,
};
use coracle_proto::record::{
    Cluster, DataGroup, Function, NamespaceRecord, Node, Record, Remembered, Replica, Route, SlotTable,
    Version,
};
use coracle_proto::route::RouteSpec;
use imbl::{OrdMap, OrdSet};

use super::kept::Kept;

/// Outcomes that are remembered: at a hundred changes a second a client has a quarter of an hour for its retries.
pub const REMEMBERED_MAX: usize = 100_000;

type Table<K, T> = OrdMap<K, Arc<Kept<T>>>;

/// The replicated state. A clone is cheap and shares all records.
#[derive(Debug, Clone, Default)]
pub struct ClusterState {
    pub(super) cluster: Option<Arc<Kept<Cluster>>>,
    pub(super) namespaces: Table<Namespace, NamespaceRecord>,
    pub(super) nodes: Table<NodeId, Node>,
    pub(super) functions: Table<FunctionId, Function>,
    pub(super) versions: Table<VersionId, Version>,
    pub(super) routes: Table<RouteSpec, Route>,
    pub(super) replicas: Table<(VersionId, NodeId), Replica>,
    pub(super) remembered: Table<Revision, Remembered>,
    pub(super) groups: Table<GroupId, DataGroup>,
    pub(super) slots: Option<Arc<Kept<SlotTable>>>,
    pub(super) hash: StateHash,
    // Indexes: made of the above, in no record.
    pub(super) held_by: OrdMap<NodeId, OrdSet<VersionId>>,
    pub(super) requests: OrdMap<RequestId, Revision>,
}

impl ClusterState {
    /// Before the cluster is made: nothing is in it, and its revision is zero.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// About the cluster itself, once it is made.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_deref().map(|kept| &kept.record)
    }

    /// How many commands were applied.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.cluster().map_or(Revision::ZERO, |cluster| cluster.revision)
    }

    /// The sum of the hashes of all records.
    #[must_use]
    pub const fn hash(&self) -> StateHash {
        self.hash
    }

    /// Every node, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(|kept| &kept.record)
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(|kept| &kept.record)
    }

    /// Whether no node's record was written in between: the very same table, so it costs nothing to ask.
    pub(crate) fn has_nodes_of(&self, other: &Self) -> bool {
        self.nodes.ptr_eq(&other.nodes)
    }

    /// Every data group, by id.
    pub fn groups(&self) -> impl Iterator<Item = &DataGroup> {
        self.groups.values().map(|kept| &kept.record)
    }

    /// One data group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&DataGroup> {
        self.groups.get(&id).map(|kept| &kept.record)
    }

    /// Which data group has what, once there is one.
    #[must_use]
    pub fn slots(&self) -> Option<&SlotTable> {
        self.slots.as_deref().map(|kept| &kept.record)
    }

    /// Every namespace, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceRecord> {
        self.namespaces.values().map(|kept| &kept.record)
    }

    /// Every function, by namespace and name.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.values().map(|kept| &kept.record)
    }

    /// One function.
    #[must_use]
    pub fn function(&self, id: &FunctionId) -> Option<&Function> {
        self.functions.get(id).map(|kept| &kept.record)
    }

    /// Every version of every function, the oldest of each first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.values().map(|kept| &kept.record)
    }

    /// The versions of one function, the oldest first.
    pub fn versions_of(&self, function: &FunctionId) -> impl DoubleEndedIterator<Item = &Version> + use<'_> {
        let [first, last] = bounds(function);
        self.versions.range(first..=last).map(|(_, kept)| &kept.record)
    }

    /// One version.
    #[must_use]
    pub fn version(&self, id: &VersionId) -> Option<&Version> {
        self.versions.get(id).map(|kept| &kept.record)
    }

    /// Every route, also those that functions have by their name.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().map(|kept| &kept.record)
    }

    /// One route.
    #[must_use]
    pub fn route(&self, spec: &RouteSpec) -> Option<&Route> {
        self.routes.get(spec).map(|kept| &kept.record)
    }

    /// Every replica, by version and node.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.values().map(|kept| &kept.record)
    }

    /// One replica.
    #[must_use]
    pub fn replica(&self, version: &VersionId, node: NodeId) -> Option<&Replica> {
        self.replicas.get(&(version.clone(), node)).map(|kept| &kept.record)
    }

    /// The replicas of one version, by node.
    pub fn replicas_of(&self, version: &VersionId) -> impl Iterator<Item = &Replica> + use<'_> {
        let first = (version.clone(), NodeId::new(u64::MIN));
        let last = (version.clone(), NodeId::new(u64::MAX));
        self.replicas.range(first..=last).map(|(_, kept)| &kept.record)
    }

    /// The replicas of all versions of one function, by version and node.
    pub fn replicas_of_function(&self, function: &FunctionId) -> impl Iterator<Item = &Replica> + use<'_> {
        let [first, last] = bounds(function);
        let range = (first, NodeId::new(u64::MIN))..=(last, NodeId::new(u64::MAX));
        self.replicas.range(range).map(|(_, kept)| &kept.record)
    }

    /// The replicas that one node holds, by version.
    pub fn replicas_on(&self, node: NodeId) -> impl Iterator<Item = &Replica> {
        let held = self.held_by.get(&node).into_iter().flatten();
        held.filter_map(move |version| self.replica(version, node))
    }

    /// The artifacts that versions name: all others may go.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        self.versions().map(|version| version.digest).collect()
    }

    /// The first answer to a request that was applied not too long ago.
    #[must_use]
    pub fn remembered(&self, request: RequestId) -> Option<&Remembered> {
        let revision = self.requests.get(&request)?;
        self.remembered.get(revision).map(|kept| &kept.record)
    }

    /// Every record, in the order of its [`Key`](coracle_proto::key::Key).
    pub fn records(&self) -> impl Iterator<Item = Record> + Send + '_ {
        let cluster = self.cluster().cloned().map(Record::Cluster).into_iter();
        cluster
            .chain(self.functions().cloned().map(Record::Function))
            .chain(self.groups().cloned().map(Record::Group))
            .chain(self.namespaces().cloned().map(Record::Namespace))
            .chain(self.nodes().cloned().map(Record::Node))
            .chain(self.replicas().cloned().map(Record::Replica))
            .chain(self.remembered.values().map(|it| Record::Remembered(it.record.clone())))
            .chain(self.routes().cloned().map(Record::Route))
            .chain(self.slots().cloned().map(Record::Slots))
            .chain(self.versions().cloned().map(Record::Version))
    }
}

/// The least and the greatest id that a version of the function can have.
fn bounds(function: &FunctionId) -> [VersionId; 2] {
    [u64::MIN, u64::MAX]
        .map(|number| VersionId { function: function.clone(), number: VersionNumber::new(number) })
}
