//! The nodes as one round sees them: what is assigned, what was told, and what the round itself decided so far.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{Digest, NodeId, VersionId};
use coracle_proto::record::{Node, NodeState, Replica, Role};

use super::{ATTEMPTS_MAX, Readiness, Soft};
use crate::model::ClusterState;
use crate::placer::{Candidate, Policy, Standing, fill};

#[derive(Debug)]
pub(super) struct Survey<'a> {
    soft: &'a Soft,
    nodes: BTreeMap<NodeId, (&'a Node, u32)>,
    /// Workers that are alive.
    pub(super) workers: usize,
    /// Zones in which these stand.
    pub(super) zones: usize,
}

impl<'a> Survey<'a> {
    pub(super) fn new(state: &'a ClusterState, soft: &'a Soft) -> Self {
        let held = |node: &Node| u32::try_from(state.replicas_on(node.id).count()).unwrap_or(u32::MAX);
        let nodes = state.nodes().map(|node| (node.id, (node, held(node)))).collect();
        let live = || state.nodes().filter(|node| takes(node));
        let zones = live().map(|node| &node.zone).collect::<BTreeSet<_>>().len();
        Self { soft, nodes, workers: live().count(), zones }
    }

    /// How a replica's node stands to its version.
    pub(super) fn standing(&self, replica: &Replica) -> Standing {
        let told = self.soft.get(&replica.node).and_then(|node| node.replicas.get(&replica.version));
        match told.filter(|told| told.epoch == replica.epoch) {
            Some(told) if told.readiness == Readiness::Ready => Standing::Ready,
            Some(told) if told.readiness == Readiness::Failed && told.attempts >= ATTEMPTS_MAX => {
                Standing::Failed
            }
            Some(_) | None => Standing::Pending,
        }
    }

    /// Whether calls can be sent to the replica.
    pub(super) fn answers(&self, replica: &Replica) -> bool {
        let node = replica.node;
        self.takes(node) && self.standing(replica) == Standing::Ready && !self.suspect(node)
    }

    /// Whether the node takes replicas.
    pub(super) fn takes(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|(node, _)| takes(node))
    }

    /// Whether the node reported lately.
    pub(super) fn suspect(&self, node: NodeId) -> bool {
        self.soft.get(&node).is_none_or(|node| node.suspect)
    }

    /// The zone in which the node stands.
    pub(super) fn zone(&self, node: NodeId) -> &'a str {
        self.nodes.get(&node).map_or("", |(node, _)| node.zone.as_str())
    }

    /// Every node, as it stands to the version.
    pub(super) fn candidates(&self, state: &ClusterState, version: &VersionId) -> Vec<Candidate<'a>> {
        let digest = state.version(version).map(|version| version.digest);
        let has = |node: &NodeId, digest: &Digest| {
            self.soft.get(node).is_some_and(|soft| soft.artifacts.contains(digest))
        };
        let candidate = |(id, (node, held)): (&NodeId, &(&'a Node, u32))| Candidate {
            node: *id,
            zone: &node.zone,
            worker: node.is(Role::Worker),
            state: node.state,
            suspect: self.suspect(*id),
            slots: node.slots,
            in_flight: self.soft.get(id).map_or(0, |soft| soft.in_flight),
            held: *held,
            has_artifact: digest.as_ref().is_some_and(|digest| has(id, digest)),
            standing: state.replica(version, *id).map_or(Standing::Free, |replica| self.standing(replica)),
        };
        self.nodes.iter().map(candidate).collect()
    }

    /// Nodes that have more to hold for their size than the emptiest by the margin, the fullest of them first.
    pub(super) fn crowded(&self, policy: &Policy) -> Vec<NodeId> {
        let live = || self.nodes.iter().filter(|(_, (node, _))| takes(node));
        let emptiest = live().map(|(_, (node, held))| fill(held.saturating_add(1), node.slots)).min();
        let mut crowded: Vec<_> = live()
            .map(|(id, (node, held))| (fill(held.saturating_sub(1), node.slots), *id))
            .filter(|(without_one, _)| emptiest.is_some_and(|it| policy.is_fuller(*without_one, it)))
            .collect();
        crowded.sort_unstable_by(|one, other| other.cmp(one));
        crowded.into_iter().map(|(_, id)| id).collect()
    }

    /// The round gave the node a replica.
    pub(super) fn given(&mut self, node: NodeId) {
        if let Some((_, held)) = self.nodes.get_mut(&node) {
            *held = held.saturating_add(1);
        }
    }

    /// The round took a replica from the node, or will when another one is ready.
    pub(super) fn taken(&mut self, node: NodeId) {
        if let Some((_, held)) = self.nodes.get_mut(&node) {
            *held = held.saturating_sub(1);
        }
    }
}

fn takes(node: &Node) -> bool {
    node.is(Role::Worker) && node.state == NodeState::Alive
}
