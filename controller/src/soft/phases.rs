//! What nodes say of their replicas.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{Epoch, FunctionId, NodeId, VersionId, VersionNumber};
use coracle_proto::pb::{ReplicaPhase, ReplicaStatus};

use super::Seen;
use crate::model::ClusterState;

/// Which assignment of which version to which node.
pub(crate) type Assignment = (VersionId, NodeId, Epoch);

/// Every assignment that is in this phase, as its node said last.
pub(crate) fn in_phase(seen: &BTreeMap<NodeId, Seen>, phase: ReplicaPhase) -> BTreeMap<Assignment, u32> {
    let of_node = |(node, seen): (&NodeId, &Seen)| {
        let node = *node;
        let statuses = seen.status.replicas.iter().filter(|status| status.phase() == phase);
        statuses.filter_map(|status| Some((assignment(node, status)?, status.attempts))).collect::<Vec<_>>()
    };
    seen.iter().flat_map(of_node).collect()
}

fn assignment(node: NodeId, status: &ReplicaStatus) -> Option<Assignment> {
    let function = FunctionId::parse(&status.namespace, &status.name).ok()?;
    let version = VersionId { function, number: VersionNumber::new(status.version) };
    Some((version, node, Epoch::new(status.epoch)))
}

/// How many of the assigned replicas are ready.
pub(crate) fn ready_replicas(state: &ClusterState, seen: &BTreeMap<NodeId, Seen>) -> u64 {
    let ready: BTreeSet<_> = in_phase(seen, ReplicaPhase::Ready).into_keys().collect();
    let is_ready = |replica: &&coracle_proto::record::Replica| {
        ready.contains(&(replica.version.clone(), replica.node, replica.epoch))
    };
    u64::try_from(state.replicas().filter(is_ready).count()).unwrap_or(u64::MAX)
}
