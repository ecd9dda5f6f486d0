//! What the leader wants each worker to hold and to delete. Decides only: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::{Digest, NodeId};
use coracle_proto::pb;
use coracle_proto::record::{Node, NodeState, Role};

use super::phases::held;
use super::{INTERVAL, Seen};
use crate::clock::millis;
use crate::model::ClusterState;

/// Addresses named to one worker: enough to find a copy, few enough for one message.
const SOURCES_MAX: usize = 16;

/// How artifacts are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrdersPolicy {
    /// Copies of each artifact, where there are so many workers.
    pub(crate) copies: usize,
    /// An artifact that no version names stays for so long after it was stored or renewed.
    pub(crate) grace: Duration,
    /// A worker that was silent for longer does not count as a holder.
    pub(crate) live_within: Duration,
}

/// Who holds what, among workers that are alive and reported lately.
#[derive(Debug)]
pub(crate) struct Copies<'a> {
    live: BTreeMap<NodeId, &'a Node>,
    holders: BTreeMap<Digest, BTreeSet<NodeId>>,
    wanted: usize,
}

impl Copies<'_> {
    /// How many copies each artifact should have now.
    pub(crate) const fn wanted(&self) -> usize {
        self.wanted
    }

    /// How many it has.
    pub(crate) fn of(&self, digest: &Digest) -> usize {
        self.holders.get(digest).map_or(0, BTreeSet::len)
    }

    /// The live workers.
    pub(crate) const fn live(&self) -> &BTreeMap<NodeId, &Node> {
        &self.live
    }

    /// Whether a node is among the holders.
    pub(crate) fn holds(&self, digest: &Digest, node: NodeId) -> bool {
        self.holders.get(digest).is_some_and(|holders| holders.contains(&node))
    }
}

/// Counts copies.
pub(crate) fn copies<'a>(
    state: &'a ClusterState,
    seen: &BTreeMap<NodeId, Seen>,
    policy: OrdersPolicy,
    now: Instant,
) -> Copies<'a> {
    let mut live = BTreeMap::new();
    let mut holders: BTreeMap<Digest, BTreeSet<NodeId>> = BTreeMap::new();
    for node in state.nodes().filter(|node| node.is(Role::Worker) && node.state == NodeState::Alive) {
        let Some(seen) = seen.get(&node.id) else { continue };
        if now.saturating_duration_since(seen.at) > policy.live_within {
            continue;
        }
        live.insert(node.id, node);
        for digest in held(&seen.status) {
            holders.entry(digest).or_default().insert(node.id);
        }
    }
    let wanted = live.len().min(policy.copies);
    Copies { live, holders, wanted }
}

/// The orders of every live worker. The same question has the same answer, so repeating it moves nothing.
pub(crate) fn compute(
    state: &ClusterState,
    seen: &BTreeMap<NodeId, Seen>,
    policy: OrdersPolicy,
    now: Instant,
) -> BTreeMap<NodeId, pb::Orders> {
    let copies = copies(state, seen, policy, now);
    let mut assigned: BTreeMap<Digest, BTreeSet<NodeId>> = BTreeMap::new();
    for version in state.versions() {
        assigned.entry(version.digest).or_default();
    }
    for replica in state.replicas() {
        if let Some(version) = state.version(&replica.version) {
            assigned.entry(version.digest).or_default().insert(replica.node);
        }
    }
    let mut holds: BTreeMap<NodeId, BTreeSet<Digest>> = BTreeMap::new();
    let mut fetches: BTreeMap<NodeId, BTreeSet<Digest>> = BTreeMap::new();
    for (digest, nodes) in &assigned {
        for node in nodes.iter().filter(|node| !copies.holds(digest, **node)) {
            fetches.entry(*node).or_default().insert(*digest);
        }
        for node in chosen(*digest, nodes, &copies) {
            holds.entry(node).or_default().insert(*digest);
            fetches.entry(node).or_default().insert(*digest);
        }
    }
    let order = |node: &NodeId| {
        let hold = holds.get(node).into_iter().flatten().map(|digest| digest.to_wire()).collect();
        let remove = match seen.get(node) {
            Some(seen) => removals(state, &seen.status, &assigned, policy.grace),
            None => Vec::new(),
        };
        let sources = sources(*node, fetches.get(node), &copies);
        pb::Orders { hold, remove, sources, interval_ms: interval_ms() }
    };
    copies.live.keys().map(|node| (*node, order(node))).collect()
}

/// Between two reports.
pub(super) fn interval_ms() -> u32 {
    u32::try_from(millis(INTERVAL)).unwrap_or(u32::MAX)
}

/// Who is to make the copies that are missing: nodes that run the artifact first (they fetch it anyway), then
/// in an order of the artifact's own, so that copies spread.
fn chosen(digest: Digest, assigned: &BTreeSet<NodeId>, copies: &Copies<'_>) -> Vec<NodeId> {
    let missing = copies.wanted.saturating_sub(copies.of(&digest));
    // Without any holder there is nobody to fetch from.
    if missing == 0 || copies.of(&digest) == 0 {
        return Vec::new();
    }
    let mut candidates: Vec<_> =
        copies.live.keys().copied().filter(|node| !copies.holds(&digest, *node)).collect();
    candidates.sort_by_key(|node| (!assigned.contains(node), rank(digest, *node)));
    candidates.truncate(missing);
    candidates
}

/// Rendezvous hashing (Thaler and Ravishankar, 1998): each artifact has its own order of nodes.
fn rank(digest: Digest, node: NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest.as_bytes()).update(&node.get().to_be_bytes());
    *hasher.finalize().as_bytes()
}

fn removals(
    state: &ClusterState,
    status: &pb::NodeStatus,
    named: &BTreeMap<Digest, BTreeSet<NodeId>>,
    grace: Duration,
) -> Vec<pb::Removal> {
    let old = status.artifacts.iter().filter(|held| held.age_ms >= millis(grace));
    let unnamed = old.filter(|held| match Digest::try_from(&held.digest[..]) {
        Ok(digest) => !named.contains_key(&digest),
        Err(_) => false,
    });
    unnamed
        .map(|held| pb::Removal {
            digest: held.digest.clone(),
            revision: state.revision().get(),
            older_than_ms: millis(grace),
        })
        .collect()
}

/// Where to fetch from: holders of what the node lacks first.
fn sources(node: NodeId, lacks: Option<&BTreeSet<Digest>>, copies: &Copies<'_>) -> Vec<String> {
    let holders = lacks.into_iter().flatten().filter_map(|digest| copies.holders.get(digest)).flatten();
    let mut named = BTreeSet::new();
    holders
        .chain(copies.live.keys())
        .filter(|other| **other != node && named.insert(**other))
        .filter_map(|other| copies.live.get(other))
        .map(|other| other.addresses.data.clone())
        .filter(|address| !address.is_empty())
        .take(SOURCES_MAX)
        .collect()
}

#[cfg(test)]
mod tests;
