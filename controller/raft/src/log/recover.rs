//! A log as a start finds it: made new, or read from its first segment to its end.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::GroupId;
use openraft::EntryPayload;

use super::frame::{self, HEAD};
use super::scan::{self, Trouble};
use super::segment::{Segment, numbers};
use super::sync;
use super::tail::{CACHE_BYTES_MAX, Place, Tail, entry_bytes};
use super::writer::Written;
use super::{GroupLog, Mark, MarkFile, Syncs};
use crate::codec::log::{GroupState, Record, SegmentHead};
use crate::codec::raft::position;
use crate::codec::record::AppliedState;
use crate::disk;
use crate::options::HostIdentity;
use crate::types::{Entry, LogId, Membership};

/// The number of a log's first segment: no place in it is zero.
const FIRST: u64 = 1;

/// A group as its records say.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) state: GroupState,
    entries: BTreeMap<u64, Slot>,
    /// The entries from this index on are in memory: as many as a tail keeps.
    warm: u64,
    bytes: usize,
    memberships: BTreeMap<u64, Membership>,
}

/// An entry, and where it stands.
#[derive(Debug)]
struct Slot {
    id: LogId,
    place: Place,
    entry: Option<Entry>,
}

/// All of a log.
pub(crate) struct Log {
    pub(crate) identity: HostIdentity,
    pub(crate) groups: BTreeMap<GroupId, Recovered>,
    pub(crate) written: Written,
    pub(crate) syncs: Syncs,
}

/// A group's log, or why it is damaged.
pub(crate) type Restored = Result<Arc<GroupLog>, String>;

impl Log {
    /// Takes out the log of each group, for a state on the disk that is as far as `applied` says.
    pub(crate) fn restore(
        &mut self,
        applied: impl Fn(GroupId) -> io::Result<Option<LogId>>,
    ) -> io::Result<BTreeMap<GroupId, Restored>> {
        let mut restored = BTreeMap::new();
        for (group, recovered) in std::mem::take(&mut self.groups) {
            let applied = applied(group)?;
            let state = self.written.groups.entry(group).or_default();
            state.checkpoint = state.checkpoint.max(applied);
            restored.insert(group, recovered.tail(applied).map(|tail| Arc::new(GroupLog::new(group, tail))));
        }
        Ok(restored)
    }
}

/// Why a log is not used.
#[derive(Debug)]
pub(crate) enum Refused {
    Io(io::Error),
    /// Nothing is there.
    Empty,
    Damaged(String),
}

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Io(error) => Self::Io(error),
            Trouble::Damaged(reason) => Self::Damaged(reason),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes a new log in a folder, over what a creation that was cut off may have left. Blocks.
pub(crate) fn create(dir: &Path, identity: &HostIdentity, syncs: &Syncs) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for number in numbers(dir)? {
        Segment::remove(dir, number)?;
    }
    let segment = Segment::create(dir, FIRST, syncs)?;
    let head = SegmentHead { identity: *identity, number: FIRST, groups: Vec::new() };
    let mut bytes = vec![0; HEAD];
    Record::Head(head).encode(&mut bytes);
    let position = Segment::base(FIRST);
    let checksum = frame::seal(&mut bytes, position, position, 0);
    segment.write(&bytes, position)?;
    syncs.run(sync::RECORDS, || segment.file.sync_data())?;
    MarkFile::create(&dir.join("mark"), Mark { end: position + bytes.len() as u64, checksum })?;
    dir.parent().map_or(Ok(()), disk::sync_dir)
}

/// Reads a whole log. Blocks.
pub(crate) fn recover(dir: &Path, syncs: Syncs) -> Result<Log, Refused> {
    if !dir.try_exists()? || numbers(dir)?.is_empty() {
        return Err(Refused::Empty);
    }
    for entry in fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()? {
        if entry.path().extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(entry.path())?;
        }
    }
    let mark = MarkFile::read(&dir.join("mark"))?.map_err(Refused::Damaged)?;
    let (mut identity, mut groups) = (None, BTreeMap::<GroupId, Recovered>::new());
    let mut newest = HashMap::<u64, HashMap<GroupId, u64>>::new();
    let end = scan::scan(dir, mark, &syncs, |place, record| {
        if let Record::Entry(group, entry) = &record {
            let in_segment = newest.entry(Segment::of(place)).or_default();
            let index = in_segment.entry(*group).or_default();
            *index = entry.log_id.index.max(*index);
        }
        take(&mut groups, &mut identity, place, record)
    })?;
    let (Some(end), Some(identity)) = (end, identity) else { return Err(Refused::Empty) };
    let segments = end.numbers.iter().map(|number| (*number, newest.remove(number).unwrap_or_default()));
    let written = Written {
        end: end.end,
        checksum: end.checksum,
        segment: end.segment,
        segments: segments.collect(),
        groups: groups.iter().map(|(group, recovered)| (*group, recovered.state)).collect(),
    };
    Ok(Log { identity, groups, written, syncs })
}

fn take(
    groups: &mut BTreeMap<GroupId, Recovered>,
    identity: &mut Option<HostIdentity>,
    place: Place,
    record: Record,
) -> Result<(), String> {
    match record {
        Record::Head(head) => {
            let owner = identity.get_or_insert(head.identity);
            if *owner != head.identity || head.number != Segment::of(place) {
                return Err(format!("segment {} is not of this log", Segment::of(place)));
            }
            for (group, state) in head.groups {
                groups.entry(group).or_default().says(state);
            }
        }
        Record::Entry(group, entry) => groups.entry(group).or_default().entry(entry, place)?,
        Record::Vote(group, vote) => groups.entry(group).or_default().state.vote = Some(vote),
        Record::Committed(group, id) => groups.entry(group).or_default().state.committed = Some(id),
        Record::Purged(group, id) => {
            let group = groups.entry(group).or_default();
            group.says(GroupState { purged: group.state.purged.max(Some(id)), ..group.state });
        }
        Record::Truncated(group, after) => {
            groups.entry(group).or_default().truncate(after.map_or(0, |after| after.index + 1));
        }
    }
    Ok(())
}

impl Recovered {
    /// An entry that is there already was moved forward; another one under its index needs a truncation before it.
    fn entry(&mut self, entry: Entry, place: Place) -> Result<(), String> {
        let (id, index) = (entry.log_id, entry.log_id.index);
        match self.entries.get_mut(&index) {
            Some(there) if there.id == id => there.place = place,
            Some(there) => return Err(format!("entry {id} follows {} in its place", there.id)),
            None if index < self.state.floor() => {}
            None => self.insert(entry, place),
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry, place: Place) {
        let id = entry.log_id;
        if let EntryPayload::Membership(membership) = &entry.payload {
            self.memberships.insert(id.index, membership.clone());
        }
        let entry = (id.index >= self.warm).then(|| detached(entry));
        self.bytes += entry.as_ref().map_or(0, entry_bytes);
        self.entries.insert(id.index, Slot { id, place, entry });
        while self.bytes > CACHE_BYTES_MAX {
            let Some((index, oldest)) = self.entries.range_mut(self.warm..).next() else { return };
            self.warm = index + 1;
            self.bytes -= oldest.entry.take().as_ref().map_or(0, entry_bytes);
        }
    }

    /// Takes a newer word on the group, and forgets the entries that nobody needs by it.
    fn says(&mut self, state: GroupState) {
        self.state = state;
        let needed = self.entries.split_off(&state.floor());
        let gone = std::mem::replace(&mut self.entries, needed);
        self.forget(gone);
    }

    /// The log of the group ends before an index.
    fn truncate(&mut self, end: u64) {
        let gone = self.entries.split_off(&end);
        self.memberships.split_off(&end);
        self.warm = self.warm.min(end);
        self.forget(gone);
    }

    fn forget(&mut self, gone: BTreeMap<u64, Slot>) {
        self.bytes -= gone.values().filter_map(|slot| slot.entry.as_ref()).map(entry_bytes).sum::<usize>();
    }

    /// Who is in the group, for a state on the disk.
    pub(crate) fn membership<'a>(&'a self, applied: &'a AppliedState) -> &'a Membership {
        let newer = |index: u64| applied.log_id.is_none_or(|at| index > at.index);
        let newest = self.memberships.last_key_value().filter(|(index, _)| newer(**index));
        newest.map_or_else(|| applied.membership.membership(), |(_, membership)| membership)
    }

    /// The group's log, for a state on the disk that is at `applied`. What was purged only in words is there again: it
    /// is what the state needs.
    pub(crate) fn tail(self, applied: Option<LogId>) -> Result<Tail, String> {
        let Self { state, mut entries, .. } = self;
        if applied < state.checkpoint {
            let text = |id: Option<LogId>| id.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
            return Err(format!("the state was at {} and is at {}", text(state.checkpoint), text(applied)));
        }
        let purged = state.purged.min(applied);
        let mut next = purged.map_or(0, |purged| purged.index + 1);
        entries = entries.split_off(&next);
        let mut tail = Tail::new(state.vote, purged);
        let mut before = purged;
        for (index, Slot { id, place, entry }) in entries {
            if index != next {
                return Err(format!("entries {next} to {} are missing", index - 1));
            }
            if before.is_some_and(|before| id.leader_id < before.leader_id) {
                return Err(format!("the term falls at entry {index}"));
            }
            (before, next) = (Some(id), index + 1);
            match entry {
                Some(entry) => tail.push(entry, place),
                None => tail.push_cold(id, place),
            }
        }
        let last = tail.last().max(applied);
        tail.committed = state.committed.min(last);
        let term = state.vote.map_or(0, |vote| vote.leader_id.term);
        match last.as_ref().map(position).filter(|last| last.term > term) {
            Some(_) => Err(format!("the log ends in a term above the vote's, which is {term}")),
            None => Ok(tail),
        }
    }
}

/// An entry by itself: as it was read it would keep the whole segment in memory.
fn detached(mut entry: Entry) -> Entry {
    if let EntryPayload::Normal(command) = &mut entry.payload {
        command.0 = Bytes::copy_from_slice(&command.0);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raft::log_id;
    use crate::types::Command;

    fn take(group: &mut Recovered, indexes: std::ops::Range<u64>) {
        for index in indexes {
            let payload = EntryPayload::Normal(Command(vec![0; 1 << 20].into()));
            group.entry(Entry { log_id: log_id(1, index), payload }, 8).unwrap();
        }
    }

    /// What a start holds in memory: bytes, entries, those of them that can be read without the disk.
    fn held(group: &Recovered) -> (usize, usize, usize) {
        let warm: Vec<_> = group.entries.values().filter_map(|slot| slot.entry.as_ref()).collect();
        assert_eq!(group.bytes, warm.iter().map(|entry| entry_bytes(entry)).sum::<usize>());
        (group.bytes, group.entries.len(), warm.len())
    }

    #[test]
    fn a_start_holds_the_newest_entries_and_forgets_the_purged_ones() {
        let mut group = Recovered::default();
        take(&mut group, 0..100);
        let (bytes, entries, warm) = held(&group);
        assert!(bytes <= CACHE_BYTES_MAX && entries == 100 && warm == 15, "{bytes} {warm}");
        group.says(GroupState { purged: Some(log_id(1, 89)), ..group.state });
        assert_eq!(held(&group).1, 100, "the state on the disk has none of it");
        let checkpoint = Some(log_id(1, 94));
        group.says(GroupState { checkpoint, ..group.state });
        assert_eq!(held(&group).1, 10);
        take(&mut group, 0..90);
        assert_eq!(held(&group).1, 10, "old ones do not come back");
        group.truncate(95);
        take(&mut group, 95..100);
        assert_eq!((held(&group).1, held(&group).2), (10, 10));
        group.state.vote = Some(crate::types::Vote::new(1, 1));
        assert_eq!(group.tail(checkpoint).unwrap().last(), Some(log_id(1, 99)));
    }
}
