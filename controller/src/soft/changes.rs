//! What changed in nodes' lists lately, for whoever follows: bounded, and told to all in the same words.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use coracle_proto::frame::encode_status;
use coracle_proto::id::NodeId;
use coracle_proto::pb::NodeStatus;
use coracle_proto::soft::cut;

use super::holdings::{Changed, fill, fill_changed, phase_to_wire};
use super::table::{AsOf, Seen};

/// Items of all changes that are kept: a follower that was away for longer is told everything.
const ITEMS_MAX: usize = 100_000;
/// What a change costs beside its items, so that empty ones are bounded too.
const STEP_ITEMS: usize = 4;

/// Bytes of one part for gateways. A thousand of them may be sent all phases at once, and each has some in its buffers.
pub(super) const PHASES_BYTES_MAX: usize = 16 << 10;

/// One node's change.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its place in the table's sequence.
    pub(super) place: u64,
    pub(super) node: NodeId,
    /// All that changed, for controllers.
    pub(super) full: Arc<NodeStatus>,
    /// The phases that changed, encoded once for all gateways; empty where none did.
    pub(super) phases: Vec<Bytes>,
    items: usize,
}

/// The last changes, in order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    steps: VecDeque<Step>,
    items: usize,
    /// Who has seen this place, or a later one, can go on from the steps.
    floor: u64,
    /// The place of the last change of a phase.
    phases_at: u64,
    /// The number of each node's last change of a phase: others in between are no gap for a gateway.
    phased: BTreeMap<NodeId, u64>,
}

impl Changes {
    /// Takes over what changed in a node's lists since a number; without one they are told as a whole.
    pub(super) fn push(
        &mut self,
        place: u64,
        seen: &Seen,
        since: Option<u64>,
        changed: &Changed,
        now: Instant,
    ) {
        let node = NodeId::new(seen.status.node);
        let mut full = NodeStatus::clone(&seen.status);
        match since {
            Some(since) => {
                fill_changed(&mut full, changed, now);
                full.since = since;
            }
            None => fill(&mut full, &seen.holdings, now),
        }
        let phases = match since {
            None => phases_of(seen, AsOf::of(&seen.status)),
            Some(_) if changed.replicas.is_empty() => Vec::new(),
            Some(since) => {
                let replicas = changed.replicas.iter().map(|(id, told)| phase_to_wire(id, told.as_ref()));
                let since = self.phased.get(&node).copied().unwrap_or(since).min(since);
                let of = for_gateways(seen, AsOf::of(&seen.status));
                encoded(NodeStatus { replicas: replicas.collect(), since, ..of })
            }
        };
        if !phases.is_empty() {
            self.phases_at = place;
            self.phased.insert(node, seen.status.changes);
        }
        let items = STEP_ITEMS + full.replicas.len() + full.artifacts.len() + changed.items();
        self.items += items;
        self.steps.push_back(Step { place, node, full: Arc::new(full), phases, items });
        while self.items > ITEMS_MAX
            && let Some(oldest) = self.steps.pop_front()
        {
            self.items = self.items.saturating_sub(oldest.items);
            self.floor = oldest.place;
        }
    }

    /// The place of the last change of a phase.
    pub(super) const fn phases_at(&self) -> u64 {
        self.phases_at
    }

    /// The changes after a place, or nothing where they do not reach back so far.
    pub(super) fn since(&self, after: u64) -> Option<impl Iterator<Item = &Step> + Clone> {
        if after < self.floor {
            return None;
        }
        let first = self.steps.partition_point(|step| step.place <= after);
        Some(self.steps.range(first..))
    }

    /// Forgets nodes that there are no more.
    pub(super) fn retain(&mut self, known: impl Fn(NodeId) -> bool) {
        self.phased.retain(|node, _| known(*node));
    }
}

/// All phases of a node, as of the number that they have, for gateways: encoded when the first one asks.
pub(super) fn phases_of(seen: &Seen, of: AsOf) -> Vec<Bytes> {
    let encode = || {
        let replicas =
            seen.holdings.replicas.iter().map(|(id, told)| phase_to_wire(id, Some(told))).collect();
        encoded(NodeStatus { replicas, since: 0, ..for_gateways(seen, of) })
    };
    seen.phases.get_or_init(encode).clone()
}

fn encoded(status: NodeStatus) -> Vec<Bytes> {
    let encoded = |part: &NodeStatus| {
        let mut bytes = Vec::new();
        encode_status(part, &mut bytes);
        bytes.into()
    };
    cut(status, PHASES_BYTES_MAX).iter().map(encoded).collect()
}

fn for_gateways(seen: &Seen, of: AsOf) -> NodeStatus {
    NodeStatus {
        node: seen.status.node,
        sequence: seen.status.sequence,
        incarnation: of.incarnation,
        changes: of.changes,
        ..NodeStatus::default()
    }
}
