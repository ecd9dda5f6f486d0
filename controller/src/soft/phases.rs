//! What nodes say of their replicas, as the planner wants to know it.

use std::collections::BTreeMap;
use std::time::Instant;

use coracle_proto::id::{Digest, Epoch, FunctionId, NodeId, VersionId, VersionNumber};
use coracle_proto::pb::{NodeStatus, ReplicaPhase, ReplicaStatus};

use super::Seen;
use crate::liveness::detector::POLICY;
use crate::model::ClusterState;
use crate::reconcile::plan::{NodeSoft, Phase, ReplicaSoft, Soft};

/// Every node's last word.
pub(crate) fn told(seen: &BTreeMap<NodeId, Seen>, now: Instant) -> Soft {
    let told = |seen: &Seen| NodeSoft {
        suspect: now.saturating_duration_since(seen.at) >= POLICY.suspect_after,
        in_flight: seen.status.load.map_or(0, |load| load.in_flight),
        replicas: replicas(&seen.status),
        artifacts: held(&seen.status).collect(),
    };
    seen.iter().map(|(node, seen)| (*node, told(seen))).collect()
}

/// The artifacts that a node says it has.
pub(super) fn held(status: &NodeStatus) -> impl Iterator<Item = Digest> {
    status.artifacts.iter().filter_map(|held| Digest::try_from(&held.digest[..]).ok())
}

fn replicas(status: &NodeStatus) -> BTreeMap<VersionId, ReplicaSoft> {
    status.replicas.iter().filter_map(replica).collect()
}

fn replica(status: &ReplicaStatus) -> Option<(VersionId, ReplicaSoft)> {
    let function = FunctionId::parse(&status.namespace, &status.name).ok()?;
    let version = VersionId { function, number: VersionNumber::new(status.version) };
    let phase = match status.phase() {
        ReplicaPhase::Unspecified | ReplicaPhase::Fetching | ReplicaPhase::Compiling => Phase::Preparing,
        ReplicaPhase::Ready => Phase::Ready,
        ReplicaPhase::Failed => Phase::Failed,
    };
    Some((version, ReplicaSoft { epoch: Epoch::new(status.epoch), phase, attempts: status.attempts }))
}

/// How many of the assigned replicas are ready.
pub(crate) fn ready_replicas(state: &ClusterState, seen: &BTreeMap<NodeId, Seen>) -> u64 {
    let ready_on = |(node, seen): (&NodeId, &Seen)| {
        let told = replicas(&seen.status);
        let assigned = state.replicas_on(*node);
        assigned
            .filter(|replica| {
                let told = told.get(&replica.version);
                told.is_some_and(|told| told.epoch == replica.epoch && told.phase == Phase::Ready)
            })
            .count()
    };
    u64::try_from(seen.iter().map(ready_on).sum::<usize>()).unwrap_or(u64::MAX)
}
