//! What nodes say of their replicas, as the planner wants to know it.

use std::collections::BTreeMap;
use std::time::Instant;

use coracle_proto::id::NodeId;
use coracle_proto::pb::ReplicaPhase;

use super::Seen;
use super::holdings::ReplicaTold;
use crate::liveness::detector::POLICY;
use crate::model::ClusterState;
use crate::reconcile::plan::{NodeSoft, Readiness, ReplicaSoft, Soft};

/// Every node's last word, made anew only where a node's lists changed: they are long, and most rounds find them
/// as they were.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    soft: Soft,
    changed: BTreeMap<NodeId, u64>,
}

impl Heard {
    /// Takes over what is known at `now`.
    pub(crate) fn refresh(&mut self, seen: &BTreeMap<NodeId, Seen>, now: Instant) -> &Soft {
        self.soft.retain(|node, _| seen.contains_key(node));
        self.changed.retain(|node, _| seen.contains_key(node));
        for (node, seen) in seen {
            let soft = self.soft.entry(*node).or_default();
            if self.changed.insert(*node, seen.changed) != Some(seen.changed) {
                *soft = lists(seen);
            }
            soft.suspect = now.saturating_duration_since(seen.at) >= POLICY.suspect_after;
            soft.in_flight = seen.status.load.map_or(0, |load| load.in_flight);
        }
        &self.soft
    }
}

fn lists(seen: &Seen) -> NodeSoft {
    NodeSoft {
        replicas: seen.holdings.replicas.iter().map(|(id, told)| (id.clone(), replica(told))).collect(),
        artifacts: seen.holdings.artifacts.keys().copied().collect(),
        ..NodeSoft::default()
    }
}

fn replica(told: &ReplicaTold) -> ReplicaSoft {
    let readiness = match told.phase {
        ReplicaPhase::Unspecified | ReplicaPhase::Fetching | ReplicaPhase::Compiling => Readiness::Preparing,
        ReplicaPhase::Ready => Readiness::Ready,
        ReplicaPhase::Failed => Readiness::Failed,
    };
    ReplicaSoft { epoch: told.epoch, readiness, attempts: told.attempts }
}

/// How many of the assigned replicas are ready.
pub(crate) fn ready_replicas(state: &ClusterState, seen: &BTreeMap<NodeId, Seen>) -> u64 {
    let ready_on = |(node, seen): (&NodeId, &Seen)| {
        let assigned = state.replicas_on(*node);
        assigned
            .filter(|replica| {
                let told = seen.holdings.replicas.get(&replica.version);
                told.is_some_and(|told| told.epoch == replica.epoch && told.phase == ReplicaPhase::Ready)
            })
            .count()
    };
    u64::try_from(seen.iter().map(ready_on).sum::<usize>()).unwrap_or(u64::MAX)
}
