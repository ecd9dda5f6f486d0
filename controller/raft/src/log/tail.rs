//! One group's log as it is in memory: what it says, where each entry stands, and the newest entries themselves.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::EntryPayload;

use crate::types::{Entry, LogId, Vote};

/// Decoded entries that are kept: more than any follower that is not seconds behind asks for.
pub(crate) const CACHE_BYTES_MAX: usize = 16 << 20;

/// What an entry takes beside its command.
const ENTRY_BYTES: usize = 64;

/// Where an entry stands: the position of its frame. Zero while it is not written yet, for there the first head stands.
pub(crate) type Place = u64;

/// An entry of the log.
#[derive(Debug)]
struct Slot {
    id: LogId,
    place: Place,
    /// While it is among the newest, or not written yet.
    entry: Option<Entry>,
}

/// What a group's log holds.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    slots: VecDeque<Slot>,
    /// Slots at the front whose entries are not kept.
    cold: usize,
    bytes: usize,
}

/// What a read found in memory.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    Here(Vec<Entry>),
    /// The entries' ids and places: they have to be read from the disk.
    Cold(Vec<(LogId, Place)>),
}

/// What a segment that goes leaves to be written again.
#[derive(Debug, PartialEq)]
pub(crate) struct Needed {
    pub(crate) purged: Option<LogId>,
    /// The newest entry that is written, and was not cut off.
    pub(crate) last: Option<LogId>,
    pub(crate) places: Vec<(LogId, Place)>,
}

pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_BYTES
        + match &entry.payload {
            EntryPayload::Normal(command) => command.0.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}

impl Tail {
    /// A log without entries.
    pub(crate) fn new(vote: Option<Vote>, purged: Option<LogId>) -> Self {
        Self { vote, purged, ..Self::default() }
    }

    /// The newest entry, or the last that was purged.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    fn first_index(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.id.index)
    }

    #[cfg(test)]
    pub(crate) fn ids(&self) -> impl Iterator<Item = LogId> + '_ {
        self.slots.iter().map(|slot| slot.id)
    }

    /// Adds an entry behind the last one.
    pub(crate) fn push(&mut self, entry: Entry, place: Place) {
        self.bytes += entry_bytes(&entry);
        self.slots.push_back(Slot { id: entry.log_id, place, entry: Some(entry) });
        self.evict();
    }

    /// The same, of an entry that stays on the disk; none of those before it is in memory.
    pub(crate) fn push_cold(&mut self, id: LogId, place: Place) {
        self.slots.push_back(Slot { id, place, entry: None });
        self.cold = self.slots.len();
    }

    /// Removes what comes after `last`.
    pub(crate) fn truncate_after(&mut self, last: Option<LogId>) {
        while self.slots.back().is_some_and(|slot| Some(slot.id.index) > last.map(|last| last.index)) {
            let Some(slot) = self.slots.pop_back() else { return };
            self.bytes -= slot.entry.as_ref().map_or(0, entry_bytes);
        }
        self.cold = self.cold.min(self.slots.len());
    }

    /// Forgets entries up to and with this one.
    pub(crate) fn purge(&mut self, upto: LogId) {
        while self.slots.front().is_some_and(|slot| slot.id.index <= upto.index) {
            let Some(slot) = self.slots.pop_front() else { return };
            self.bytes -= slot.entry.as_ref().map_or(0, entry_bytes);
            self.cold = self.cold.saturating_sub(1);
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// An entry was written; unless another one took its place meanwhile.
    pub(crate) fn written(&mut self, id: &LogId, place: Place) {
        let Some(first) = self.first_index() else { return };
        let Some(offset) = id.index.checked_sub(first) else { return };
        let slot = usize::try_from(offset).ok().and_then(|offset| self.slots.get_mut(offset));
        if let Some(slot) = slot.filter(|slot| slot.id == *id) {
            slot.place = place;
        }
    }

    /// Lets the oldest entries go until the rest is within bounds. One that is not written yet is nowhere else.
    pub(crate) fn evict(&mut self) {
        while self.bytes > CACHE_BYTES_MAX {
            let Some(slot) = self.slots.get_mut(self.cold).filter(|slot| slot.place > 0) else { return };
            self.bytes -= slot.entry.take().as_ref().map_or(0, entry_bytes);
            self.cold += 1;
        }
    }

    /// Entries of a range, the first ones of it up to `bytes_max`, but one at least; all in memory or all on the disk.
    pub(crate) fn read(&self, range: Range<u64>, bytes_max: usize) -> Found {
        let first = self.first_index().unwrap_or(0);
        let offset = |index: u64| usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
        let (from, to) = (offset(range.start), offset(range.end).min(self.slots.len()));
        if from < self.cold {
            let cold = self.slots.range(from..to.min(self.cold)).map(|slot| (slot.id, slot.place));
            return Found::Cold(cold.collect());
        }
        let mut bytes = 0;
        let entries = self.slots.range(from.min(to)..to).filter_map(|slot| slot.entry.as_ref());
        let within = entries.take_while(|entry| {
            let fits = bytes == 0 || bytes + entry_bytes(entry) <= bytes_max;
            bytes += entry_bytes(entry);
            fits
        });
        Found::Here(within.cloned().collect())
    }

    /// What is needed of a segment, by its places.
    pub(crate) fn needed(&self, places: &Range<u64>) -> Needed {
        let inside = self.slots.iter().filter(|slot| places.contains(&slot.place));
        let last = self.slots.iter().rfind(|slot| slot.place > 0).map(|slot| slot.id).or(self.purged);
        Needed { purged: self.purged, last, places: inside.map(|slot| (slot.id, slot.place)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raft::log_id;
    use crate::types::Command;

    fn entry(term: u64, index: u64, bytes: usize) -> Entry {
        Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Command(vec![0; bytes].into())) }
    }

    fn indexes(found: &Found) -> Vec<u64> {
        match found {
            Found::Here(entries) => entries.iter().map(|entry| entry.log_id.index).collect(),
            Found::Cold(places) => places.iter().map(|(id, _)| id.index).collect(),
        }
    }

    #[test]
    fn reads_are_bounded_and_give_one_entry_at_least() {
        let mut tail = Tail::default();
        (0..10).for_each(|index| tail.push(entry(1, index, 1_000), 1));
        assert_eq!(indexes(&tail.read(3..6, usize::MAX)), [3, 4, 5]);
        assert_eq!(indexes(&tail.read(3..6, 1)), [3]);
        assert_eq!(indexes(&tail.read(3..9, 2_500)), [3, 4]);
        assert_eq!(indexes(&tail.read(8..20, usize::MAX)), [8, 9]);
        assert!(indexes(&tail.read(20..30, usize::MAX)).is_empty());
    }

    #[test]
    fn purged_and_truncated_entries_are_gone() {
        let mut tail = Tail::default();
        (0..10).for_each(|index| tail.push(entry(1, index, 10), 1));
        tail.purge(log_id(1, 3));
        tail.truncate_after(Some(log_id(1, 6)));
        assert_eq!((tail.purged, tail.last()), (Some(log_id(1, 3)), Some(log_id(1, 6))));
        assert_eq!(indexes(&tail.read(0..20, usize::MAX)), [4, 5, 6]);
        tail.push(entry(2, 7, 10), 0);
        tail.written(&log_id(1, 7), 99);
        let needed = |last, places| Needed { purged: Some(log_id(1, 3)), last: Some(last), places };
        assert_eq!(
            tail.needed(&(99..100)),
            needed(log_id(1, 6), Vec::new()),
            "the other entry of index 7 is gone"
        );
        tail.written(&log_id(2, 7), 99);
        assert_eq!(tail.needed(&(99..100)), needed(log_id(2, 7), vec![(log_id(2, 7), 99)]));
        tail.purge(log_id(2, 7));
        assert_eq!(tail.last(), Some(log_id(2, 7)));
        tail.truncate_after(None);
        assert_eq!(tail.last(), Some(log_id(2, 7)));
    }

    #[test]
    fn the_oldest_written_entries_are_let_go() {
        const LARGE: usize = 1 << 20;
        let mut tail = Tail::default();
        (0..20).for_each(|index| tail.push(entry(1, index, LARGE), 0));
        assert_eq!(indexes(&tail.read(0..20, usize::MAX)).len(), 20, "nothing is written: all of it is kept");
        (0..20).for_each(|index| tail.written(&log_id(1, index), 8));
        tail.evict();
        let Found::Cold(cold) = tail.read(0..20, usize::MAX) else { panic!("{tail:?}") };
        assert!((4..8).contains(&cold.len()), "{cold:?}");
        let next = cold.last().unwrap().0.index + 1;
        assert_eq!(indexes(&tail.read(next..20, usize::MAX)).len(), 20 - cold.len());
        tail.truncate_after(Some(log_id(1, 1)));
        tail.push(entry(2, 2, 10), 0);
        assert_eq!(indexes(&tail.read(2..3, usize::MAX)), [2]);
    }
}
