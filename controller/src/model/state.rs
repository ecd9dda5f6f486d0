//! What the cluster has agreed on, and the questions that can be asked of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use coracle_proto::id::{
    Digest, FunctionId, Namespace, NodeId, RequestId, Revision, StateHash, VersionId, VersionNumber,
};
use coracle_proto::record::{
    Cluster, Function, NamespaceRecord, Node, Record, Remembered, Replica, Route, Version,
};
use coracle_proto::route::RouteSpec;
use imbl::{OrdMap, OrdSet};

/// Outcomes that are remembered: at a hundred changes a second a client has a quarter of an hour for its retries.
pub const REMEMBERED_MAX: usize = 100_000;

/// The replicated state. A clone is cheap and shares all records.
#[derive(Debug, Clone, Default)]
pub struct ClusterState {
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) namespaces: OrdMap<Namespace, NamespaceRecord>,
    pub(super) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(super) functions: OrdMap<FunctionId, Arc<Function>>,
    pub(super) versions: OrdMap<VersionId, Arc<Version>>,
    pub(super) routes: OrdMap<RouteSpec, Route>,
    pub(super) replicas: OrdMap<(VersionId, NodeId), Replica>,
    pub(super) remembered: OrdMap<Revision, Arc<Remembered>>,
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
        self.cluster.as_deref()
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
        self.nodes.values().map(AsRef::as_ref)
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(AsRef::as_ref)
    }

    /// Every namespace, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceRecord> {
        self.namespaces.values()
    }

    /// Every function, by namespace and name.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.values().map(AsRef::as_ref)
    }

    /// One function.
    #[must_use]
    pub fn function(&self, id: &FunctionId) -> Option<&Function> {
        self.functions.get(id).map(AsRef::as_ref)
    }

    /// Every version of every function, the oldest of each first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.values().map(AsRef::as_ref)
    }

    /// The versions of one function, the oldest first.
    pub fn versions_of(&self, function: &FunctionId) -> impl DoubleEndedIterator<Item = &Version> + use<'_> {
        let [first, last] = bounds(function);
        self.versions.range(first..=last).map(|(_, version)| version.as_ref())
    }

    /// One version.
    #[must_use]
    pub fn version(&self, id: &VersionId) -> Option<&Version> {
        self.versions.get(id).map(AsRef::as_ref)
    }

    /// Every route, also those that functions have by their name.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }

    /// One route.
    #[must_use]
    pub fn route(&self, spec: &RouteSpec) -> Option<&Route> {
        self.routes.get(spec)
    }

    /// Every replica, by version and node.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.values()
    }

    /// One replica.
    #[must_use]
    pub fn replica(&self, version: &VersionId, node: NodeId) -> Option<&Replica> {
        self.replicas.get(&(version.clone(), node))
    }

    /// The replicas of one version, by node.
    pub fn replicas_of(&self, version: &VersionId) -> impl Iterator<Item = &Replica> + use<'_> {
        let first = (version.clone(), NodeId::new(u64::MIN));
        let last = (version.clone(), NodeId::new(u64::MAX));
        self.replicas.range(first..=last).map(|(_, replica)| replica)
    }

    /// The replicas of all versions of one function, by version and node.
    pub fn replicas_of_function(&self, function: &FunctionId) -> impl Iterator<Item = &Replica> + use<'_> {
        let [first, last] = bounds(function);
        let range = (first, NodeId::new(u64::MIN))..=(last, NodeId::new(u64::MAX));
        self.replicas.range(range).map(|(_, replica)| replica)
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
        self.remembered.get(revision).map(AsRef::as_ref)
    }

    /// Every record, in the order of its [`Key`](coracle_proto::key::Key).
    pub fn records(&self) -> impl Iterator<Item = Record> + Send + '_ {
        let cluster = self.cluster().cloned().map(Record::Cluster).into_iter();
        cluster
            .chain(self.functions.values().map(|it| Record::Function(Function::clone(it))))
            .chain(self.namespaces.values().map(|it| Record::Namespace(it.clone())))
            .chain(self.nodes.values().map(|it| Record::Node(Node::clone(it))))
            .chain(self.replicas.values().map(|it| Record::Replica(it.clone())))
            .chain(self.remembered.values().map(|it| Record::Remembered(Remembered::clone(it))))
            .chain(self.routes.values().map(|it| Record::Route(it.clone())))
            .chain(self.versions.values().map(|it| Record::Version(Version::clone(it))))
    }
}

/// The least and the greatest id that a version of the function can have.
fn bounds(function: &FunctionId) -> [VersionId; 2] {
    [u64::MIN, u64::MAX]
        .map(|number| VersionId { function: function.clone(), number: VersionNumber::new(number) })
}
