//! The last status of each node, with the time at which it came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::NodeId;
use coracle_proto::pb;
use prost::Message as _;
use tokio::sync::watch;

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

/// What became of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is not newer than what is known.
    Stale,
    /// Only load, ages or revisions moved.
    Renewed,
    /// Something that others decide by has changed: they are told at once.
    Changed,
}

/// One node's last status.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) status: Arc<pb::NodeStatus>,
    /// When it came.
    pub(crate) at: Instant,
    /// The controller that passed it on; none where it came from the node itself.
    pub(crate) relay: Option<NodeId>,
}

#[derive(Debug)]
struct Entry {
    seen: Seen,
    sequence: u64,
}

/// What a node's supervisor told last.
#[derive(Debug)]
struct Told {
    processes: Arc<pb::NodeProcesses>,
    at: Instant,
    direct: bool,
    sequence: u64,
}

/// Another controller, as it exchanged its statuses last.
#[derive(Debug, Clone, Copy)]
struct Relay {
    at: Instant,
    format: u32,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: BTreeMap<NodeId, Entry>,
    processes: BTreeMap<NodeId, Told>,
    alarms: BTreeMap<&'static str, Vec<String>>,
    relays: BTreeMap<NodeId, Relay>,
    sequence: u64,
}

impl Inner {
    fn alarms(&self) -> Vec<String> {
        self.alarms.values().flatten().cloned().collect()
    }
}

/// The last status of each node, its processes, and the leader's alarms. Each change has a place in one sequence, so that
/// readers ask for what came after the last one that they saw.
#[derive(Debug)]
pub(crate) struct SoftTable {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    urgent: watch::Sender<u64>,
}

/// What came after a place in the sequence.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) statuses: Vec<Arc<pb::NodeStatus>>,
    pub(crate) processes: Vec<Arc<pb::NodeProcesses>>,
    pub(crate) sequence: u64,
}

impl SoftTable {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(0), urgent: watch::Sender::new(0) }
    }

    /// Takes over a status, if it is newer than what is known.
    pub(crate) fn accept(&self, status: pb::NodeStatus, via: Via, now: Instant) -> Accepted {
        let node = NodeId::new(status.node);
        let mut inner = self.lock();
        let accepted = match inner.nodes.get(&node) {
            None if inner.nodes.len() >= NODES_MAX => Accepted::Stale,
            None => Accepted::Changed,
            Some(known) => match (compare(&known.seen.status, &status), via) {
                (Accepted::Stale, Via::NewReport) => Accepted::Changed,
                (accepted, Via::Report | Via::NewReport | Via::Exchange(_)) => accepted,
            },
        };
        if accepted == Accepted::Stale {
            return accepted;
        }
        inner.sequence += 1;
        let sequence = inner.sequence;
        let relay = match via {
            Via::Report | Via::NewReport => None,
            Via::Exchange(relay) => Some(relay),
        };
        let seen = Seen { status: Arc::new(status), at: now, relay };
        inner.nodes.insert(node, Entry { seen, sequence });
        drop(inner);
        self.changed.send_replace(sequence);
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
        let told = Told { processes: Arc::new(told), at: now, direct: via == Via::Report, sequence };
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

    /// Another controller, which reads commands up to that format, exchanges its statuses with this one.
    pub(crate) fn relayed_by(&self, controller: NodeId, format: u32, now: Instant) {
        self.lock().relays.insert(controller, Relay { at: now, format });
    }

    /// The highest format that each other controller reads, as it told within that time.
    pub(crate) fn formats(&self, now: Instant, within: Duration) -> BTreeMap<NodeId, u32> {
        let inner = self.lock();
        let lately = inner.relays.iter().filter(|(_, it)| now.saturating_duration_since(it.at) <= within);
        lately.map(|(node, relay)| (*node, relay.format)).collect()
    }

    /// Controllers that did so and were not heard for longer than `after`.
    pub(crate) fn silent_relays(&self, now: Instant, after: Duration) -> BTreeSet<NodeId> {
        let silent = |relay: &Relay| now.saturating_duration_since(relay.at) > after;
        self.lock().relays.iter().filter(|(_, relay)| silent(relay)).map(|(node, _)| *node).collect()
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
        inner.relays.retain(|node, _| known(*node));
    }

    /// Every node's processes, as its supervisor told last.
    pub(crate) fn processes(&self) -> BTreeMap<NodeId, Arc<pb::NodeProcesses>> {
        self.lock().processes.iter().map(|(node, told)| (*node, Arc::clone(&told.processes))).collect()
    }

    /// Every node's last status.
    pub(crate) fn nodes(&self) -> BTreeMap<NodeId, Seen> {
        self.lock().nodes.iter().map(|(node, entry)| (*node, entry.seen.clone())).collect()
    }

    /// The statuses that came after a place in the sequence; 0 for everything.
    pub(crate) fn since(&self, after: u64) -> News {
        let inner = self.lock();
        let new = inner.nodes.values().filter(|entry| entry.sequence > after);
        Self::news(&inner, new)
    }

    /// The same, only of nodes that report to this controller; and the processes of those that tell it of them.
    pub(crate) fn direct_since(&self, after: u64) -> News {
        let inner = self.lock();
        let new = inner.nodes.values().filter(|entry| entry.seen.relay.is_none() && entry.sequence > after);
        let told = inner.processes.values().filter(|told| told.direct && told.sequence > after);
        let processes = told.map(|told| Arc::clone(&told.processes)).collect();
        News { processes, ..Self::news(&inner, new) }
    }

    fn news<'a>(inner: &Inner, new: impl Iterator<Item = &'a Entry>) -> News {
        let statuses = new.map(|entry| Arc::clone(&entry.seen.status)).collect();
        News { statuses, processes: Vec::new(), sequence: inner.sequence }
    }

    /// Tells that anything came.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells that something came which others decide by.
    pub(crate) fn subscribe_urgent(&self) -> watch::Receiver<u64> {
        self.urgent.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News {
    /// Cut into batches of at most `bytes_max`, at least one. Without `artifacts` where nobody asks for them.
    pub(crate) fn batches(&self, bytes_max: usize, without_artifacts: bool) -> Vec<pb::SoftBatch> {
        let mut batches = vec![];
        let (mut batch, mut bytes) = (pb::SoftBatch::default(), 0);
        let mut room = |batch: &mut pb::SoftBatch, length: usize| {
            if bytes > 0 && bytes + length > bytes_max {
                let next = pb::SoftBatch { continued: true, ..pb::SoftBatch::default() };
                batches.push(std::mem::replace(batch, next));
                bytes = 0;
            }
            bytes += length;
        };
        for status in &self.statuses {
            let mut status = pb::NodeStatus::clone(status);
            if without_artifacts {
                status.artifacts.clear();
            }
            room(&mut batch, status.encoded_len());
            batch.nodes.push(status);
        }
        for processes in &self.processes {
            room(&mut batch, processes.encoded_len());
            batch.processes.push(pb::NodeProcesses::clone(processes));
        }
        batches.push(batch);
        batches
    }
}

fn compare(known: &pb::NodeStatus, new: &pb::NodeStatus) -> Accepted {
    if (new.incarnation, new.sequence) <= (known.incarnation, known.sequence) {
        return Accepted::Stale;
    }
    let held = |status: &pb::NodeStatus| -> Vec<bytes::Bytes> {
        status.artifacts.iter().map(|held| held.digest.clone()).collect()
    };
    let same =
        known.incarnation == new.incarnation && known.replicas == new.replicas && held(known) == held(new);
    if same { Accepted::Renewed } else { Accepted::Changed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn status(node: u64, sequence: u64) -> pb::NodeStatus {
        pb::NodeStatus { node, incarnation: 1, sequence, ..pb::NodeStatus::default() }
    }

    #[test]
    fn older_statuses_are_ignored_and_restarts_are_not() {
        let (table, now) = (SoftTable::new(), clock::now());
        assert_eq!(table.accept(status(1, 2), Via::Report, now), Accepted::Changed);
        assert_eq!(table.accept(status(1, 2), Via::Exchange(NodeId::new(9)), now), Accepted::Stale);
        assert_eq!(table.accept(status(1, 1), Via::Report, now), Accepted::Stale);
        assert_eq!(table.accept(status(1, 3), Via::Report, now), Accepted::Renewed);
        let restarted = pb::NodeStatus { incarnation: 2, ..status(1, 1) };
        assert_eq!(table.accept(restarted, Via::Report, now), Accepted::Changed);
        let replicas = vec![pb::ReplicaStatus { name: "a".into(), ..pb::ReplicaStatus::default() }];
        let changed = pb::NodeStatus { incarnation: 2, replicas, ..status(1, 2) };
        assert_eq!(table.accept(changed, Via::Report, now), Accepted::Changed);
    }

    #[test]
    fn a_new_stream_is_believed_although_its_count_was_set_back() {
        let (table, now) = (SoftTable::new(), clock::now());
        table.accept(pb::NodeStatus { incarnation: 9, ..status(1, 70) }, Via::NewReport, now);
        assert_eq!(table.accept(status(1, 1), Via::Report, now), Accepted::Stale);
        assert_eq!(table.accept(status(1, 1), Via::NewReport, now), Accepted::Changed);
        assert_eq!(table.accept(status(1, 2), Via::Report, now), Accepted::Renewed);
    }

    #[test]
    fn readers_get_what_came_after() {
        let (table, now) = (SoftTable::new(), clock::now());
        table.accept(status(1, 1), Via::Report, now);
        let first = table.since(0);
        assert_eq!(first.statuses.len(), 1);
        table.accept(status(2, 1), Via::Exchange(NodeId::new(9)), now);
        let second = table.since(first.sequence);
        assert_eq!(second.statuses.iter().map(|status| status.node).collect::<Vec<_>>(), [2]);
        assert!(table.direct_since(first.sequence).statuses.is_empty(), "what a peer told is not told on");
        assert!(table.since(second.sequence).statuses.is_empty());
    }

    #[test]
    fn what_is_not_renewed_expires() {
        let (table, now) = (SoftTable::new(), clock::now());
        table.accept(status(1, 1), Via::Report, now);
        table.accept(status(2, 1), Via::Report, now + EXPIRES_AFTER);
        table.expire(now + EXPIRES_AFTER, |_| true);
        assert_eq!(table.nodes().into_keys().collect::<Vec<_>>(), [NodeId::new(2)]);
        table.expire(now + EXPIRES_AFTER, |_| false);
        assert!(table.nodes().is_empty());
    }

    fn processes(node: u64, sequence: u64, restarts: u64) -> pb::NodeProcesses {
        let child = pb::ChildProcess { restarts, ..pb::ChildProcess::default() };
        pb::NodeProcesses { node, sequence, children: vec![child], ..pb::NodeProcesses::default() }
    }

    #[test]
    fn processes_are_told_on_and_expire_too() {
        let (table, now) = (SoftTable::new(), clock::now());
        let mut urgent = table.subscribe_urgent();
        let mut hurried = move || {
            let changed = urgent.has_changed().unwrap();
            urgent.mark_unchanged();
            changed
        };
        table.accept_processes(processes(1, 2, 0), Via::Report, now);
        assert!(hurried());
        table.accept_processes(processes(1, 1, 7), Via::Report, now);
        assert_eq!(table.processes()[&NodeId::new(1)].children[0].restarts, 0, "older");
        table.accept_processes(processes(1, 3, 0), Via::Report, now);
        assert!(!hurried(), "nothing changed");
        table.accept_processes(processes(1, 4, 1), Via::Report, now);
        assert!(hurried());
        table.accept_processes(processes(2, 1, 0), Via::Exchange(NodeId::new(9)), now + EXPIRES_AFTER);
        let batches = table.direct_since(0).batches(1, false);
        let told: Vec<_> = batches.iter().flat_map(|batch| &batch.processes).map(|it| it.node).collect();
        assert_eq!(told, [1], "what a peer told is not told on");
        assert!(table.since(0).processes.is_empty(), "those who watch do not need them");
        table.expire(now + EXPIRES_AFTER, |_| true);
        assert_eq!(table.processes().into_keys().collect::<Vec<_>>(), [NodeId::new(2)]);
    }

    #[test]
    fn batches_are_cut() {
        let (table, now) = (SoftTable::new(), clock::now());
        for node in 1..=10 {
            table.accept(status(node, 1), Via::Report, now);
        }
        let batches = table.since(0).batches(12, false);
        assert!(batches.len() > 3, "{}", batches.len());
        let first = batches.iter().filter(|batch| !batch.continued).count();
        assert_eq!(first, 1, "it alone brings alarms: those after it must not end them");
        assert_eq!(batches.iter().map(|batch| batch.nodes.len()).sum::<usize>(), 10);
    }
}
