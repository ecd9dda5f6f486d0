//! The last status of each node, with the time at which it came and what it holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::NodeId;
use coracle_proto::pb;
use coracle_proto::soft::{Parts, without_lists};
use tokio::sync::watch;

use super::changes::Changes;
use super::holdings::{Holdings, fill};
use super::relays::Relays;

/// A status that was not renewed for so long tells nothing any more.
const EXPIRES_AFTER: Duration = Duration::from_secs(60);
/// Statuses are of nodes that the state knows; this bounds the table against a peer that invents ids.
const NODES_MAX: usize = 10_000;

/// How a status came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// From the node itself: this controller tells the others.
    Report,
    /// The same, the first of a stream: whoever opened it is the node's data plane from now on, also when the
    /// count of its starts was set back, with its data folder.
    NewReport,
    /// From another controller.
    Exchange(NodeId),
}

impl Via {
    const fn relay(self) -> Option<NodeId> {
        match self {
            Self::Report | Self::NewReport => None,
            Self::Exchange(relay) => Some(relay),
        }
    }
}

/// What became of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is not newer than what is known.
    Stale,
    /// The rest of it is still to come.
    Part,
    /// It goes on where this table is not: the node lives, and its whole lists are to be asked for.
    Gap,
    /// Only load, ages or revisions moved.
    Renewed,
    /// Something that others decide by has changed: they are told at once.
    Changed,
}

/// One node's last status.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Without its lists.
    pub(crate) status: Arc<pb::NodeStatus>,
    /// Its lists.
    pub(crate) holdings: Holdings,
    /// The place in the sequence at which the lists changed last.
    pub(crate) changed: u64,
    /// When it came.
    pub(crate) at: Instant,
    /// The controller that passed it on; none where it came from the node itself.
    pub(crate) relay: Option<NodeId>,
    /// The phases for gateways, once one has asked.
    pub(crate) phases: Arc<OnceLock<Vec<Bytes>>>,
}

impl Seen {
    /// The status with its lists, as users see it.
    pub(crate) fn to_wire(&self, now: Instant) -> pb::NodeStatus {
        let mut status = pb::NodeStatus::clone(&self.status);
        fill(&mut status, &self.holdings, now);
        status
    }

    /// A node whose first status came at `now`, from itself.
    #[cfg(test)]
    pub(crate) fn first(status: &pb::NodeStatus, now: Instant) -> Self {
        let mut holdings = Holdings::default();
        holdings.take(status, now);
        Self {
            status: Arc::new(without_lists(status)),
            holdings,
            changed: 0,
            at: now,
            relay: None,
            phases: Arc::default(),
        }
    }
}

/// As of which number of which incarnation lists are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AsOf {
    pub(super) incarnation: u64,
    pub(super) changes: u64,
}

impl AsOf {
    pub(super) const fn of(status: &pb::NodeStatus) -> Self {
        Self { incarnation: status.incarnation, changes: status.changes }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seen: Seen,
    /// The place of the last status.
    pub(super) sequence: u64,
    /// As of when the lists are; older than the status where something was missed.
    pub(super) lists: AsOf,
}

impl Entry {
    /// Whether the lists are those of the status.
    pub(super) fn is_whole(&self) -> bool {
        self.lists == AsOf::of(&self.seen.status)
    }

    /// Whether a status says nothing new. One that is known may come again with the lists that were missed.
    fn is_no_older(&self, status: &pb::NodeStatus) -> bool {
        let of = |status: &pb::NodeStatus| (status.incarnation, status.sequence);
        let brings_lists = status.since == 0 && !self.is_whole();
        of(status) < of(&self.seen.status) || of(status) == of(&self.seen.status) && !brings_lists
    }
}

/// What a node's supervisor told last.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) processes: Arc<pb::NodeProcesses>,
    at: Instant,
    pub(super) direct: bool,
    pub(super) sequence: u64,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) nodes: BTreeMap<NodeId, Entry>,
    pub(super) changes: Changes,
    /// Statuses that came in part, by whose they are and who passes them on.
    parts: BTreeMap<(NodeId, Option<NodeId>), (Parts, Instant)>,
    pub(super) processes: BTreeMap<NodeId, Processes>,
    alarms: BTreeMap<&'static str, Vec<String>>,
    pub(super) relays: Relays,
    pub(super) sequence: u64,
}

impl Inner {
    fn alarms(&self) -> Vec<String> {
        self.alarms.values().flatten().cloned().collect()
    }

    /// The status, when its last part came.
    fn join(&mut self, part: pb::NodeStatus, via: Via, now: Instant) -> Option<pb::NodeStatus> {
        let key = (NodeId::new(part.node), via.relay());
        if part.part == 0 && !part.more {
            self.parts.remove(&key);
            return Some(part);
        }
        let (parts, at) = self.parts.entry(key).or_insert_with(|| (Parts::default(), now));
        *at = now;
        let joined = parts.join(part);
        if !parts.is_begun() {
            self.parts.remove(&key);
        }
        joined
    }

    /// Takes over a status that is newer than what is known of the node.
    fn take(&mut self, status: &pb::NodeStatus, via: Via, now: Instant) -> Accepted {
        let node = NodeId::new(status.node);
        self.sequence += 1;
        let sequence = self.sequence;
        let known = self.nodes.remove(&node);
        let before = known.as_ref().map(|known| known.lists);
        let follows = status.since == 0
            || before.is_some_and(|it| it.incarnation == status.incarnation && status.since <= it.changes);
        let seen = Seen {
            status: Arc::new(without_lists(status)),
            changed: known.as_ref().map_or(0, |known| known.seen.changed),
            phases: known.as_ref().map(|known| Arc::clone(&known.seen.phases)).unwrap_or_default(),
            holdings: known.map(|known| known.seen.holdings).unwrap_or_default(),
            at: now,
            relay: via.relay(),
        };
        let lists = AsOf::of(status);
        let (accepted, seen, lists) = if !follows {
            (Accepted::Gap, seen, before.unwrap_or(AsOf { incarnation: 0, changes: 0 }))
        } else if status.since == status.changes && status.since > 0 {
            (Accepted::Renewed, seen, lists)
        } else {
            let (accepted, seen) = self.take_lists(status, seen, before, now);
            (accepted, seen, lists)
        };
        self.nodes.insert(node, Entry { seen, sequence, lists });
        accepted
    }

    fn take_lists(
        &mut self,
        status: &pb::NodeStatus,
        mut seen: Seen,
        before: Option<AsOf>,
        now: Instant,
    ) -> (Accepted, Seen) {
        let changed = seen.holdings.take(status, now);
        let anew = before.is_none_or(|before| before.incarnation != status.incarnation);
        let moved = before.is_none_or(|before| before.changes != status.changes);
        if changed.is_empty() && !anew && !moved {
            return (Accepted::Renewed, seen);
        }
        (seen.changed, seen.phases) = (self.sequence, Arc::default());
        // Where the numbers do not lead on from what was told before, the lists are told as a whole.
        let since = before.filter(|before| !anew && before.changes > 0 && before.changes < status.changes);
        self.changes.push(self.sequence, &seen, since.map(|since| since.changes), &changed, now);
        let accepted = if changed.is_empty() && !anew { Accepted::Renewed } else { Accepted::Changed };
        (accepted, seen)
    }
}

/// The last status of each node, its processes, and the leader's alarms. Each change has a place in one sequence, so that
/// readers ask for what came after the last one that they saw.
#[derive(Debug)]
pub(crate) struct SoftTable {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    phases: watch::Sender<u64>,
    urgent: watch::Sender<u64>,
}

impl SoftTable {
    pub(crate) fn new() -> Self {
        let sender = || watch::Sender::new(0);
        Self { inner: Mutex::default(), changed: sender(), phases: sender(), urgent: sender() }
    }

    /// Takes over a status, or a part of it, if it is newer than what is known.
    pub(crate) fn accept(&self, part: pb::NodeStatus, via: Via, now: Instant) -> Accepted {
        let mut inner = self.lock();
        let Some(status) = inner.join(part, via, now) else { return Accepted::Part };
        let stale = match inner.nodes.get(&NodeId::new(status.node)) {
            None => inner.nodes.len() >= NODES_MAX,
            Some(known) => via != Via::NewReport && known.is_no_older(&status),
        };
        if stale {
            return Accepted::Stale;
        }
        let accepted = inner.take(&status, via, now);
        let sequence = inner.sequence;
        let phases = inner.changes.phases_at();
        drop(inner);
        self.changed.send_replace(sequence);
        self.phases.send_if_modified(|at| std::mem::replace(at, phases) != phases);
        if accepted == Accepted::Changed {
            self.urgent.send_replace(sequence);
        }
        accepted
    }

    /// Takes over what a supervisor told of its processes, if it is newer than what is known.
    pub(crate) fn accept_processes(&self, told: pb::NodeProcesses, via: Via, now: Instant) {
        let node = NodeId::new(told.node);
        let mut inner = self.lock();
        let urgent = match inner.processes.get(&node).map(|known| &known.processes) {
            None if inner.processes.len() >= NODES_MAX => return,
            None => true,
            Some(known) if (told.incarnation, told.sequence) <= (known.incarnation, known.sequence) => return,
            Some(known) => known.incarnation != told.incarnation || known.children != told.children,
        };
        inner.sequence += 1;
        let sequence = inner.sequence;
        let told = Processes { processes: Arc::new(told), at: now, direct: via == Via::Report, sequence };
        inner.processes.insert(node, told);
        drop(inner);
        self.changed.send_replace(sequence);
        if urgent {
            self.urgent.send_replace(sequence);
        }
    }

    /// Replaces the alarms that come from one source.
    pub(crate) fn set_alarms(&self, source: &'static str, alarms: Vec<String>) {
        self.update_alarms(|all| {
            if alarms.is_empty() {
                all.remove(source)
            } else {
                all.insert(source, alarms)
            };
        });
    }

    /// Ends all alarms: another node leads from now on.
    pub(crate) fn clear_alarms(&self) {
        self.update_alarms(BTreeMap::clear);
    }

    fn update_alarms(&self, update: impl FnOnce(&mut BTreeMap<&'static str, Vec<String>>)) {
        let mut inner = self.lock();
        let before = inner.alarms.clone();
        update(&mut inner.alarms);
        if inner.alarms == before {
            return;
        }
        inner.sequence += 1;
        let sequence = inner.sequence;
        drop(inner);
        self.changed.send_replace(sequence);
        self.urgent.send_replace(sequence);
    }

    pub(crate) fn alarms(&self) -> Vec<String> {
        self.lock().alarms()
    }

    /// Drops what was not renewed, and nodes that the state no longer has.
    pub(crate) fn expire(&self, now: Instant, known: impl Fn(NodeId) -> bool) {
        let mut inner = self.lock();
        inner.nodes.retain(|node, entry| {
            known(*node) && now.saturating_duration_since(entry.seen.at) < EXPIRES_AFTER
        });
        inner
            .processes
            .retain(|node, told| known(*node) && now.saturating_duration_since(told.at) < EXPIRES_AFTER);
        inner.relays.retain(&known);
        inner.changes.retain(&known);
        let lately = |at: Instant| now.saturating_duration_since(at) < EXPIRES_AFTER;
        inner.parts.retain(|(node, _), (_, at)| known(*node) && lately(*at));
    }

    /// Every node's processes, as its supervisor told last.
    pub(crate) fn processes(&self) -> BTreeMap<NodeId, Arc<pb::NodeProcesses>> {
        self.lock().processes.iter().map(|(node, told)| (*node, Arc::clone(&told.processes))).collect()
    }

    /// Every node's last status.
    pub(crate) fn nodes(&self) -> BTreeMap<NodeId, Seen> {
        self.lock().nodes.iter().map(|(node, entry)| (*node, entry.seen.clone())).collect()
    }

    /// Tells that anything came.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells that a replica's phase changed: what gateways route by.
    pub(crate) fn subscribe_phases(&self) -> watch::Receiver<u64> {
        self.phases.subscribe()
    }

    /// Tells that something came which others decide by.
    pub(crate) fn subscribe_urgent(&self) -> watch::Receiver<u64> {
        self.urgent.subscribe()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
