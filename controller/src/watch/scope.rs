//! What a follower is shown of the state.

use coracle_proto::id::NodeId;
use coracle_proto::key::Key;
use coracle_proto::pb::{self, record::Value, scope::Kind};
use prost::Message as _;

/// Which part of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What a gateway needs, data groups too: everything but environment, arguments and granted hosts of versions.
    Gateway,
    /// What one node holds, with whole specs, and the nodes.
    Node(NodeId),
    /// Everything.
    All,
}

impl Scope {
    pub(crate) fn from_wire(wire: Option<pb::Scope>) -> Option<Self> {
        Some(match wire?.kind? {
            Kind::Gateway(_) => Self::Gateway,
            Kind::Node(node) => Self::Node(NodeId::new(node)),
            Kind::All(_) => Self::All,
        })
    }

    /// The change as this scope sees it, if it does. The version that a replica names is not looked up here.
    pub(super) fn filter(self, change: &pb::Change) -> Option<pb::Change> {
        match self {
            Self::All => Some(change.clone()),
            Self::Gateway if change.key.starts_with("request/") => None,
            Self::Gateway => stripped(change),
            Self::Node(node) => self.node_sees(node, change).then(|| change.clone()),
        }
    }

    fn node_sees(self, node: NodeId, change: &pb::Change) -> bool {
        let kind = change.key.split('/').next().unwrap_or_default();
        match kind {
            "node" => true,
            "replica" => replica_node(change) == Some(node),
            // Puts come with the replica that needs them; a removal harms nobody.
            "version" => change.record.is_none(),
            _ => false,
        }
    }

    /// Whether a follower of this scope is told loads and phases: a node needs only its own.
    pub(crate) const fn has_soft(self) -> bool {
        match self {
            Self::Gateway | Self::All => true,
            Self::Node(_) => false,
        }
    }
}

fn replica_node(change: &pb::Change) -> Option<NodeId> {
    match change.key.parse::<Key>().ok()? {
        Key::Replica(_, node) => Some(node),
        Key::Cluster
        | Key::Function(_)
        | Key::Group(_)
        | Key::Namespace(_)
        | Key::Node(_)
        | Key::Request(..)
        | Key::Route(_)
        | Key::Slots
        | Key::Version(_) => None,
    }
}

/// Without what may be secret or long and what no gateway uses: only versions have that, all others are passed on as
/// they were stored. Nothing of a version that cannot be read.
fn stripped(change: &pb::Change) -> Option<pb::Change> {
    let Some(record) = change.record.as_ref().filter(|_| change.key.starts_with("version/")) else {
        return Some(change.clone());
    };
    let mut record = pb::Record::decode(record.clone()).ok()?;
    let Some(Value::Version(version)) = &mut record.value else { return None };
    version.trace.clear();
    if let Some(spec) = &mut version.spec {
        spec.env.clear();
        spec.args.clear();
        spec.hosts.clear();
    }
    Some(pb::Change { key: change.key.clone(), record: Some(record.encode_to_vec().into()) })
}
