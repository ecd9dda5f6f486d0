//! What a gateway has seen of each node.

use std::collections::{BTreeMap, BTreeSet};
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
/// Between two looks for those: each goes through all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// In-flight counts, health and latencies of the nodes and replicas that this gateway calls.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    nodes: BTreeMap<NodeId, Seen>,
    /// Nodes that are not [`Health::Up`]: where there are none, a pick need not ask for each.
    aside: BTreeSet<NodeId>,
    versions: BTreeMap<VersionId, Replicas>,
    /// When there were too many versions, and room was looked for.
    swept: Option<Duration>,
}

/// The replicas of one version, and those that are not [`Health::Up`].
#[derive(Debug, Clone, Default)]
struct Replicas {
    known: BTreeMap<NodeId, Replica>,
    aside: BTreeSet<NodeId>,
}

impl Replicas {
    fn set_health(&mut self, node: NodeId, health: impl FnOnce(Health) -> Health) {
        if let Some(replica) = self.known.get_mut(&node) {
            replica.health = health(replica.health);
            put(&mut self.aside, node, replica.health);
        }
    }

    fn retain(&mut self, keep: impl Fn(NodeId, &Replica) -> bool) {
        self.known.retain(|node, replica| keep(*node, replica));
        self.aside.retain(|node| self.known.contains_key(node));
    }
}

fn put(aside: &mut BTreeSet<NodeId>, node: NodeId, health: Health) {
    if health.is_up() {
        aside.remove(&node);
    } else {
        aside.insert(node);
    }
}

/// What was seen of one version, and of the nodes: what a pick asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfVersion<'a> {
    loads: &'a Loads,
    replicas: Option<&'a Replicas>,
    now: Duration,
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
        self.nodes.entry(node).or_default().count(1);
        if probe {
            self.set_health(node, |health| health.probing(now));
            if let Some(replicas) = self.versions.get_mut(version) {
                replicas.set_health(node, |health| health.probing(now));
            }
        }
    }

    fn set_health(&mut self, node: NodeId, health: impl FnOnce(Health) -> Health) {
        let seen = self.nodes.entry(node).or_default();
        seen.health = health(seen.health);
        put(&mut self.aside, node, seen.health);
    }

    /// A call ended, however it did. Each [`Self::started`] has one.
    pub fn ended(&mut self, node: NodeId) {
        if let Some(seen) = self.nodes.get_mut(&node) {
            seen.count(-1);
        }
    }

    /// A node answered: with a head after `latency`, or with a refusal.
    pub fn answered(&mut self, version: &VersionId, node: NodeId, latency: Option<Duration>, now: Duration) {
        self.set_health(node, |_| Health::Up);
        let known = self.versions.get(version).is_some_and(|replicas| replicas.known.contains_key(&node));
        if latency.is_none() && !known {
            return;
        }
        let Some(replicas) = self.replica(version, node, now) else { return };
        replicas.set_health(node, |_| Health::Up);
        if let (Some(replica), Some(latency)) = (replicas.known.get_mut(&node), latency) {
            match &mut replica.latency {
                Some(known) => known.add(latency, now),
                None => replica.latency = Some(Decayed::new(latency, now)),
            }
        }
    }

    /// A node answered, but the platform there cannot run this version.
    pub fn faulted(&mut self, version: &VersionId, node: NodeId, now: Duration) {
        self.set_health(node, |_| Health::Up);
        if let Some(replicas) = self.replica(version, node, now) {
            replicas.set_health(node, |health| health.failed(now));
        }
    }

    /// A node was not reached, or was lost.
    pub fn failed(&mut self, node: NodeId, now: Duration) {
        self.set_health(node, |health| health.failed(now));
    }

    /// The replicas of a version, this one seen now among them; none where too many versions were called lately.
    fn replica(&mut self, version: &VersionId, node: NodeId, now: Duration) -> Option<&mut Replicas> {
        if !self.versions.contains_key(version) {
            let due = self.swept.is_none_or(|swept| swept.saturating_add(SWEEP_EVERY) <= now);
            if self.versions.len() >= VERSIONS_MAX && due {
                self.swept = Some(now);
                self.versions.retain(|_, replicas| {
                    replicas.retain(|_, replica| replica.at.saturating_add(REPLICA_MAX) > now);
                    !replicas.known.is_empty()
                });
            }
            if self.versions.len() >= VERSIONS_MAX {
                return None;
            }
            self.versions.insert(version.clone(), Replicas::default());
        }
        let replicas = self.versions.get_mut(version)?;
        let new = Replica { latency: None, health: Health::Up, at: now };
        replicas.known.entry(node).or_insert(new).at = now;
        Some(replicas)
    }

    /// What a node told about itself with an answer.
    pub fn reported(&mut self, node: NodeId, load: Load, now: Duration) {
        self.nodes.entry(node).or_default().reported = Some(Reported { load, at: now, since: 0 });
    }

    /// Forgets nodes and replicas that the view no longer has; nodes not while calls to them are open.
    pub fn retain(&mut self, node: impl Fn(NodeId) -> bool, version: impl Fn(&VersionId) -> bool) {
        self.nodes.retain(|id, seen| seen.own > 0 || node(*id));
        self.aside.retain(|id| self.nodes.contains_key(id));
        self.versions.retain(|id, replicas| {
            replicas.retain(|id, _| node(id));
            !replicas.known.is_empty() && version(id)
        });
    }

    /// What was seen of a version.
    pub(super) fn of<'a>(&'a self, version: &VersionId, now: Duration) -> OfVersion<'a> {
        OfVersion { loads: self, replicas: self.versions.get(version), now }
    }

    /// Whether the node answers, and runs this version.
    #[must_use]
    pub fn health(&self, version: &VersionId, node: NodeId) -> Health {
        self.of(version, Duration::ZERO).health(node)
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
}

impl OfVersion<'_> {
    /// Whether all nodes answer, and run this version, as far as is known.
    pub(super) fn is_steady(&self) -> bool {
        self.loads.aside.is_empty() && self.replicas.is_none_or(|replicas| replicas.aside.is_empty())
    }

    /// Whether the node answers, and runs this version.
    pub(super) fn health(&self, node: NodeId) -> Health {
        let of_node = self.loads.nodes.get(&node).map(|seen| seen.health).unwrap_or_default();
        of_node.and(self.replica(node).map(|replica| replica.health).unwrap_or_default())
    }

    /// How busy a node would be with one more call: calls for each of its slots.
    pub(super) fn busy(&self, node: NodeId) -> f64 {
        self.loads.busy(node, self.now)
    }

    /// How long the version took on a node lately, microseconds; none where it was not called.
    pub(super) fn latency(&self, node: NodeId) -> Option<f64> {
        Some(self.replica(node)?.latency?.micros(self.now))
    }

    fn replica(&self, node: NodeId) -> Option<&Replica> {
        self.replicas?.known.get(&node)
    }
}
