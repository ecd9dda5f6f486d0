//! What changed lately, bounded by revisions and by bytes.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use coracle_proto::id::{Revision, StateHash};
use coracle_proto::pb;
use prost::Message as _;

use super::Scope;
use super::parts::encoded;

/// A follower that was away for longer is given a snapshot.
pub(super) const REVISIONS_MAX: u64 = 10_000;
/// The same by size: specs may have tens of kilobytes each.
const BYTES_MAX: usize = 128 << 20;

/// The changes of one batch: all revisions after `from` up to `to`.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The revision before the batch.
    pub(super) from: Revision,
    /// The last revision of the batch.
    pub(super) to: Revision,
    /// Of the whole state at `to`.
    pub(super) hash: StateHash,
    /// In the order in which they were made.
    pub(super) changes: Vec<pb::Change>,
    /// The same as gateways see them, encoded once for all of them.
    gateway: OnceLock<Vec<Bytes>>,
    /// With what it is for gateways.
    pub(super) bytes: usize,
}

impl Entry {
    pub(super) fn new(from: Revision, to: Revision, hash: StateHash, changes: Vec<pb::Change>) -> Self {
        let bytes = changes.iter().map(pb::Change::encoded_len).sum::<usize>().saturating_mul(2);
        Self { from, to, hash, changes, gateway: OnceLock::new(), bytes }
    }

    /// The changes as gateways see them, in parts.
    pub(super) fn for_gateways(&self) -> &[Bytes] {
        self.gateway.get_or_init(|| encoded(self.changes.iter().filter_map(|it| Scope::Gateway.filter(it))))
    }
}

/// The batches since `floor`, without gaps.
#[derive(Debug)]
pub(super) struct Ring {
    /// Who has seen this revision, or a later one, can go on from the ring.
    floor: Revision,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Ring {
    pub(super) const fn new(floor: Revision) -> Self {
        Self { floor, entries: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let newest = entry.to.get();
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.entries.push_back(Arc::new(entry));
        while let Some(oldest) = self.entries.front() {
            let old = newest.saturating_sub(oldest.from.get()) > REVISIONS_MAX;
            if !old && self.bytes <= BYTES_MAX {
                break;
            }
            self.floor = oldest.to;
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.entries.pop_front();
        }
    }

    /// Everything after `seen`, or nothing when the ring does not reach back that far. The first batch may
    /// begin before `seen`: putting the same records again changes nothing.
    pub(super) fn since(&self, seen: Revision) -> Option<Vec<Arc<Entry>>> {
        if seen < self.floor {
            return None;
        }
        let first = self.entries.partition_point(|entry| entry.to <= seen);
        Some(self.entries.range(first..).cloned().collect())
    }

    /// Whether half of what the ring holds, or more, will come before it no longer reaches back to a revision: long enough
    /// to send a state that is as old.
    pub(super) fn is_fresh(&self, seen: Revision) -> bool {
        let after = self.entries.iter().rev().take_while(|entry| entry.to > seen);
        let bytes: usize = after.map(|entry| entry.bytes).sum();
        let newest = self.entries.back().map_or(self.floor, |entry| entry.to);
        let revisions = newest.get().saturating_sub(seen.get());
        seen >= self.floor && revisions <= REVISIONS_MAX / 2 && bytes <= BYTES_MAX / 2
    }

    /// The hash of the state at a revision, where a batch ended there.
    pub(super) fn hash_at(&self, revision: Revision) -> Option<StateHash> {
        let at = self.entries.binary_search_by_key(&revision, |entry| entry.to).ok()?;
        self.entries.get(at).map(|entry| entry.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(from: u64, to: u64, bytes: usize) -> Entry {
        let changes = vec![pb::Change { key: "k".repeat(bytes), record: None }];
        Entry::new(Revision::new(from), Revision::new(to), StateHash::new(u128::from(to)), changes)
    }

    fn spans(ring: &Ring, seen: u64) -> Option<Vec<(u64, u64)>> {
        let entries = ring.since(Revision::new(seen))?;
        Some(entries.iter().map(|entry| (entry.from.get(), entry.to.get())).collect())
    }

    #[test]
    fn resuming_inside_a_batch_repeats_the_batch() {
        let mut ring = Ring::new(Revision::new(3));
        ring.push(entry(3, 5, 1));
        ring.push(entry(5, 6, 1));
        assert_eq!(spans(&ring, 2), None);
        assert_eq!(spans(&ring, 3), Some(vec![(3, 5), (5, 6)]));
        assert_eq!(spans(&ring, 4), Some(vec![(3, 5), (5, 6)]));
        assert_eq!(spans(&ring, 5), Some(vec![(5, 6)]));
        assert_eq!(spans(&ring, 6), Some(vec![]));
        assert_eq!(spans(&ring, 9), Some(vec![]));
        assert_eq!(ring.hash_at(Revision::new(5)), Some(StateHash::new(5)));
        assert_eq!(ring.hash_at(Revision::new(4)), None);
    }

    #[test]
    fn it_is_bounded_by_revisions_and_by_bytes() {
        let mut ring = Ring::new(Revision::ZERO);
        for revision in 0..REVISIONS_MAX + 10 {
            ring.push(entry(revision, revision + 1, 1));
        }
        assert_eq!(spans(&ring, 9), None);
        assert_eq!(spans(&ring, 10).unwrap().len() as u64, REVISIONS_MAX);
        let fresh = |behind: u64| ring.is_fresh(Revision::new(REVISIONS_MAX + 10 - behind));
        assert!(fresh(0) && fresh(REVISIONS_MAX / 2) && !fresh(REVISIONS_MAX / 2 + 1));
        let mut ring = Ring::new(Revision::ZERO);
        for revision in 0..100 {
            ring.push(entry(revision, revision + 1, 1 << 20));
        }
        assert!(ring.bytes <= BYTES_MAX && ring.entries.len() > 50, "{} entries", ring.entries.len());
        assert_eq!(spans(&ring, 0), None);
        assert!(ring.is_fresh(Revision::new(70)) && !ring.is_fresh(Revision::new(60)));
    }
}
