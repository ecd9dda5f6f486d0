//! What a gateway has seen of each node.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::id::{NodeId, VersionId};

use crate::balance::{Decayed, Health};
use crate::load::Load;

/// What a node said longer ago tells nothing about now.
const REPORT_MAX: Duration = Duration::from_secs(5);
/// Versions whose replicas are remembered. Beyond it those that were not called lately go.
const VERSIONS_MAX: usize = 10_000;
/// Lately.
const REPLICA_MAX: Duration = Duration::from_secs(60);

/// In-flight counts, health and latencies of the nodes and replicas that this gateway calls.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    nodes: BTreeMap<NodeId, Seen>,
    replicas: BTreeMap<VersionId, BTreeMap<NodeId, Replica>>,
}

/// One version on one node. Its health is its own: unreadable code of one function says nothing about others there.
#[derive(Debug, Clone, Copy)]
struct Replica {
    latency: Option<Decayed>,
    health: Health,
    /// When something was last seen of it.
    at: Duration,
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
    /// A call is sent to a node; `probe` when it is to try whether the node, or the version there, is back.
    pub fn started(&mut self, version: &VersionId, node: NodeId, probe: bool, now: Duration) {
        let seen = self.nodes.entry(node).or_default();
        seen.count(1);
        if probe {
            seen.health = seen.health.probing(now);
            if let Some(replica) = self.known(version, node) {
                replica.health = replica.health.probing(now);
            }
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
        if latency.is_none() && self.known(version, node).is_none() {
            return;
        }
        let Some(replica) = self.replica(version, node, now) else { return };
        replica.health = Health::Up;
        replica.at = now;
        if let Some(latency) = latency {
            match &mut replica.latency {
                Some(known) => known.add(latency, now),
                None => replica.latency = Some(Decayed::new(latency, now)),
            }
        }
    }

    /// A node answered, but the platform there cannot run this version.
    pub fn faulted(&mut self, version: &VersionId, node: NodeId, now: Duration) {
        self.nodes.entry(node).or_default().health = Health::Up;
        if let Some(replica) = self.replica(version, node, now) {
            replica.health = replica.health.failed(now);
            replica.at = now;
        }
    }

    /// A node was not reached, or was lost.
    pub fn failed(&mut self, node: NodeId, now: Duration) {
        let seen = self.nodes.entry(node).or_default();
        seen.health = seen.health.failed(now);
    }

    fn known(&mut self, version: &VersionId, node: NodeId) -> Option<&mut Replica> {
        self.replicas.get_mut(version)?.get_mut(&node)
    }

    /// A replica, known from now on; none where too many were called lately.
    fn replica(&mut self, version: &VersionId, node: NodeId, now: Duration) -> Option<&mut Replica> {
        if !self.replicas.contains_key(version) {
            if self.replicas.len() >= VERSIONS_MAX {
                self.replicas.retain(|_, nodes| {
                    nodes.retain(|_, replica| replica.at.saturating_add(REPLICA_MAX) > now);
                    !nodes.is_empty()
                });
            }
            if self.replicas.len() >= VERSIONS_MAX {
                return None;
            }
            self.replicas.insert(version.clone(), BTreeMap::new());
        }
        let new = Replica { latency: None, health: Health::Up, at: now };
        Some(self.replicas.get_mut(version)?.entry(node).or_insert(new))
    }

    /// What a node told about itself with an answer.
    pub fn reported(&mut self, node: NodeId, load: Load, now: Duration) {
        self.nodes.entry(node).or_default().reported = Some(Reported { load, at: now, since: 0 });
    }

    /// Forgets nodes and replicas that the view no longer has; nodes not while calls to them are open.
    pub fn retain(&mut self, node: impl Fn(NodeId) -> bool, version: impl Fn(&VersionId) -> bool) {
        self.nodes.retain(|id, seen| seen.own > 0 || node(*id));
        self.replicas.retain(|id, nodes| {
            nodes.retain(|id, _| node(*id));
            !nodes.is_empty() && version(id)
        });
    }

    /// Whether the node answers, and runs this version.
    #[must_use]
    pub fn health(&self, version: &VersionId, node: NodeId) -> Health {
        let of_node = self.nodes.get(&node).map(|seen| seen.health).unwrap_or_default();
        let replica = self.replicas.get(version).and_then(|nodes| nodes.get(&node));
        of_node.and(replica.map(|replica| replica.health).unwrap_or_default())
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
        Some(self.replicas.get(version)?.get(&node)?.latency?.micros(now))
    }
}
