//! What a gateway has seen of each node.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::id::{NodeId, VersionId};

use crate::balance::{Decayed, Health};
use crate::load::Load;

/// What a node said longer ago tells nothing about now.
const REPORT_MAX: Duration = Duration::from_secs(5);
/// Versions whose latencies are remembered. Beyond it those that were not called lately go.
const VERSIONS_MAX: usize = 10_000;
/// Lately.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// In-flight counts, health and latencies of the nodes that this gateway calls.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    nodes: BTreeMap<NodeId, Seen>,
    latencies: BTreeMap<VersionId, BTreeMap<NodeId, Decayed>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Calls of this gateway.
    own: u32,
    reported: Option<Reported>,
    health: Health,
}

#[derive(Debug, Clone, Copy)]
struct Reported {
    load: Load,
    at: Duration,
    /// This gateway's calls begun since, less those ended since.
    since: i64,
}

impl Seen {
    fn count(&mut self, by: i64) {
        self.own = if by < 0 { self.own.saturating_sub(1) } else { self.own.saturating_add(1) };
        if let Some(reported) = &mut self.reported {
            reported.since = reported.since.saturating_add(by);
        }
    }
}

impl Loads {
    /// A call is sent to a node; `probe` when it is to try whether the node is back.
    pub fn started(&mut self, node: NodeId, probe: bool, now: Duration) {
        let seen = self.nodes.entry(node).or_default();
        seen.count(1);
        if probe {
            seen.health = seen.health.probing(now);
        }
    }

    /// A call ended, however it did. Each [`Self::started`] has one.
    pub fn ended(&mut self, node: NodeId) {
        if let Some(seen) = self.nodes.get_mut(&node) {
            seen.count(-1);
        }
    }

    /// A node answered: with a head after `latency`, or with a refusal.
    pub fn answered(&mut self, version: &VersionId, node: NodeId, latency: Option<Duration>, now: Duration) {
        self.nodes.entry(node).or_default().health = Health::Up;
        let Some(latency) = latency else { return };
        if let Some(of_version) = self.latencies.get_mut(version) {
            match of_version.get_mut(&node) {
                Some(known) => known.add(latency, now),
                None => drop(of_version.insert(node, Decayed::new(latency, now))),
            }
            return;
        }
        if self.latencies.len() >= VERSIONS_MAX {
            self.latencies.retain(|_, nodes| {
                nodes.retain(|_, known| known.at().saturating_add(LATENCY_MAX) > now);
                !nodes.is_empty()
            });
        }
        if self.latencies.len() < VERSIONS_MAX {
            let first = BTreeMap::from([(node, Decayed::new(latency, now))]);
            self.latencies.insert(version.clone(), first);
        }
    }

    /// A node was not reached, or was lost.
    pub fn failed(&mut self, node: NodeId, now: Duration) {
        let seen = self.nodes.entry(node).or_default();
        seen.health = seen.health.failed(now);
    }

    /// What a node told about itself with an answer.
    pub fn reported(&mut self, node: NodeId, load: Load, now: Duration) {
        self.nodes.entry(node).or_default().reported = Some(Reported { load, at: now, since: 0 });
    }

    /// Forgets nodes that the view no longer has, unless calls to them are open.
    pub fn retain(&mut self, known: impl Fn(NodeId) -> bool) {
        self.nodes.retain(|node, seen| seen.own > 0 || known(*node));
    }

    /// Whether the node answers.
    #[must_use]
    pub fn health(&self, node: NodeId) -> Health {
        self.nodes.get(&node).map(|seen| seen.health).unwrap_or_default()
    }

    /// Calls of this gateway that the node runs.
    #[must_use]
    pub fn own(&self, node: NodeId) -> u32 {
        self.nodes.get(&node).map_or(0, |seen| seen.own)
    }

    /// How busy a node would be with one more call: calls for each of its slots.
    #[must_use]
    pub fn busy(&self, node: NodeId, now: Duration) -> f64 {
        let Some(seen) = self.nodes.get(&node) else { return 1.0 };
        let fresh = seen.reported.filter(|reported| reported.at.saturating_add(REPORT_MAX) > now);
        let (told, slots) = fresh.map_or((0, 1), |reported| {
            (i64::from(reported.load.in_flight).saturating_add(reported.since), reported.load.slots.max(1))
        });
        let in_flight = u32::try_from(told).unwrap_or(0).max(seen.own);
        // A node with a free slot is not slower for having others busy.
        ((f64::from(in_flight) + 1.0) / f64::from(slots)).max(1.0)
    }

    /// How long a version took on a node lately, microseconds; none where it was not called.
    #[must_use]
    pub fn latency(&self, version: &VersionId, node: NodeId, now: Duration) -> Option<f64> {
        Some(self.latencies.get(version)?.get(&node)?.micros(now))
    }
}
