//! What the leader wants each worker to hold and to delete. Decides only: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::{Digest, NodeId};
use coracle_proto::pb;
use coracle_proto::record::{Node, NodeState, Role};

use super::{INTERVAL, Seen};
use crate::clock::millis;
use crate::model::ClusterState;

/// Addresses named to one worker: enough to find a copy, few enough for one message.
const SOURCES_MAX: usize = 16;

/// Digests to fetch, and to remove, in one order: it is repeated until it is done, and then names the next.
const DIGESTS_MAX: usize = 1000;

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
        for digest in seen.holdings.artifacts.keys() {
            holders.entry(*digest).or_default().insert(node.id);
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
        let hold = holds.get(node).into_iter().flatten().take(DIGESTS_MAX);
        let hold = hold.map(|digest| digest.to_wire()).collect();
        let remove = match seen.get(node) {
            Some(seen) => removals(state, seen, &assigned, policy.grace, now),
            None => Vec::new(),
        };
        let sources = sources(*node, fetches.get(node), &copies);
        pb::Orders { hold, remove, sources, interval_ms: interval_ms(), whole: false }
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
    seen: &Seen,
    named: &BTreeMap<Digest, BTreeSet<NodeId>>,
    grace: Duration,
    now: Instant,
) -> Vec<pb::Removal> {
    let old = seen.holdings.artifacts.iter().filter(|(_, held)| held.age(now) >= grace);
    let unnamed = old.map(|(digest, _)| digest).filter(|digest| !named.contains_key(digest));
    let removal = |digest: &Digest| pb::Removal {
        digest: digest.to_wire(),
        revision: state.revision().get(),
        older_than_ms: millis(grace),
    };
    unnamed.take(DIGESTS_MAX).map(removal).collect()
}

/// Where to fetch from: holders of what the node lacks first.
fn sources(node: NodeId, lacks: Option<&BTreeSet<Digest>>, copies: &Copies<'_>) -> Vec<String> {
    // Who lacks nothing is told nothing: it would be most of what is sent.
    let Some(lacks) = lacks else { return Vec::new() };
    let holders = lacks.iter().filter_map(|digest| copies.holders.get(digest)).flatten();
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
