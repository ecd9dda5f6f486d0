//! What readers of the table have not seen yet, made into messages one at a time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use coracle_proto::id::NodeId;
use coracle_proto::pb::{NodeProcesses, NodeStatus, SoftBatch};
use coracle_proto::soft::{PART_BYTES_MAX, cut};
use prost::Message as _;

use super::SoftTable;
use super::changes::{PHASES_BYTES_MAX, phases_of};
use super::holdings::fill;
use super::table::{AsOf, Entry, Seen};

/// Something to tell of one node.
#[derive(Debug)]
enum Item {
    /// That it lives, and its load.
    Alive(Arc<NodeStatus>),
    /// What changed.
    Changed(Arc<NodeStatus>),
    /// All its lists.
    Whole(Box<Seen>, AsOf),
}

impl Item {
    fn whole(entry: &Entry) -> Self {
        Self::Whole(Box::new(entry.seen.clone()), entry.lists)
    }

    fn into_status(self, now: Instant) -> NodeStatus {
        match self {
            Self::Alive(status) | Self::Changed(status) => Arc::unwrap_or_clone(status),
            Self::Whole(seen, of) => {
                let mut status = NodeStatus::clone(&seen.status);
                (status.incarnation, status.changes) = (of.incarnation, of.changes);
                fill(&mut status, &seen.holdings, now);
                status
            }
        }
    }
}

/// What came after a place in the sequence. Nothing of it is made before it is asked for.
#[derive(Debug)]
pub(crate) struct News {
    items: VecDeque<Item>,
    processes: VecDeque<Arc<NodeProcesses>>,
    /// The place up to which it tells.
    pub(crate) sequence: u64,
}

impl News {
    /// In batches of about `bytes_max`, at least one; ages are told as of `now`.
    pub(crate) const fn batches(self, bytes_max: usize, now: Instant) -> Batches {
        Batches { news: self, parts: VecDeque::new(), bytes_max, now, begun: false }
    }
}

/// See [`News::batches`].
#[derive(Debug)]
pub(crate) struct Batches {
    news: News,
    /// The rest of a node's status that did not fit.
    parts: VecDeque<NodeStatus>,
    bytes_max: usize,
    now: Instant,
    begun: bool,
}

impl Batches {
    fn next_part(&mut self) -> Option<NodeStatus> {
        if self.parts.is_empty() {
            let status = self.news.items.pop_front()?.into_status(self.now);
            self.parts = cut(status, PART_BYTES_MAX.min(self.bytes_max)).into();
        }
        self.parts.pop_front()
    }
}

impl Iterator for Batches {
    type Item = SoftBatch;

    fn next(&mut self) -> Option<SoftBatch> {
        let mut batch = SoftBatch { continued: self.begun, ..SoftBatch::default() };
        let mut bytes = 0;
        while let Some(part) = self.next_part() {
            let length = part.encoded_len();
            if bytes > 0 && bytes + length > self.bytes_max {
                self.parts.push_front(part);
                break;
            }
            bytes += length;
            batch.nodes.push(part);
        }
        while self.parts.is_empty()
            && self.news.items.is_empty()
            && let Some(processes) = self.news.processes.front()
        {
            let length = processes.encoded_len();
            if bytes > 0 && bytes + length > self.bytes_max {
                break;
            }
            bytes += length;
            batch.processes.extend(self.news.processes.pop_front().map(|it| NodeProcesses::clone(&it)));
        }
        let first = !std::mem::replace(&mut self.begun, true);
        (first || bytes > 0).then_some(batch)
    }
}

/// The phases that came after a place in the sequence.
#[derive(Debug)]
pub(crate) struct Phases {
    /// What to tell at once.
    parts: VecDeque<Bytes>,
    /// Nodes all of whose phases are told then.
    whole: VecDeque<(Seen, AsOf)>,
    /// The place up to which it tells.
    pub(crate) sequence: u64,
}

impl Phases {
    fn next_part(&mut self) -> Option<Bytes> {
        while self.parts.is_empty() {
            let (seen, of) = self.whole.pop_front()?;
            self.parts.extend(phases_of(&seen, of));
        }
        self.parts.pop_front()
    }
}

/// Batches of about [`PHASES_BYTES_MAX`].
impl Iterator for Phases {
    type Item = SoftBatch;

    fn next(&mut self) -> Option<SoftBatch> {
        let first = self.next_part()?;
        let Some(second) = self.next_part() else {
            return Some(SoftBatch { encoded: first, ..SoftBatch::default() });
        };
        let mut encoded = first.to_vec();
        let mut next = Some(second);
        while let Some(part) = next {
            if encoded.len() + part.len() > PHASES_BYTES_MAX {
                self.parts.push_front(part);
                break;
            }
            encoded.extend_from_slice(&part);
            next = self.next_part();
        }
        Some(SoftBatch { encoded: encoded.into(), ..SoftBatch::default() })
    }
}

impl SoftTable {
    /// The phases that changed after a place in the sequence; all of them for 0, or where the place is too old.
    pub(crate) fn phases_since(&self, after: u64) -> Phases {
        let inner = self.lock();
        let steps = (after > 0).then(|| inner.changes.since(after)).flatten();
        let (mut parts, mut whole) = (VecDeque::new(), VecDeque::new());
        match steps {
            Some(steps) => parts.extend(steps.flat_map(|step| step.phases.iter().cloned())),
            None => whole.extend(inner.nodes.values().map(|entry| (entry.seen.clone(), entry.lists))),
        }
        Phases { parts, whole, sequence: inner.sequence }
    }

    /// What came after a place in the sequence of nodes that report to this controller, and the processes of those
    /// that tell it of them. Of nodes in `whole` everything is told. That a node lives comes before all lists, which may
    /// be long.
    pub(crate) fn direct_since(&self, after: u64, whole: &BTreeSet<NodeId>) -> News {
        let inner = self.lock();
        let (mut alive, mut items) = (VecDeque::new(), VecDeque::new());
        let direct = |node: &NodeId| inner.nodes.get(node).filter(|entry| entry.seen.relay.is_none());
        let steps = (after > 0).then(|| inner.changes.since(after)).flatten();
        let all = steps.is_none();
        for step in steps.into_iter().flatten() {
            if !whole.contains(&step.node) && direct(&step.node).is_some() {
                items.push_back(Item::Changed(Arc::clone(&step.full)));
            }
        }
        for (node, entry) in inner.nodes.iter().filter(|(_, entry)| entry.seen.relay.is_none()) {
            // Without a number nothing says that its lists are as they were: they are told with it.
            let unnumbered = entry.seen.status.changes == 0 && entry.sequence > after;
            if all || whole.contains(node) || unnumbered {
                items.push_back(Item::whole(entry));
            } else if entry.sequence > after && entry.seen.changed < entry.sequence && entry.is_whole() {
                alive.push_back(Item::Alive(Arc::clone(&entry.seen.status)));
            }
        }
        alive.append(&mut items);
        let told = inner.processes.values().filter(|told| told.direct && told.sequence > after);
        let processes = told.map(|told| Arc::clone(&told.processes)).collect();
        News { items: alive, processes, sequence: inner.sequence }
    }
}
