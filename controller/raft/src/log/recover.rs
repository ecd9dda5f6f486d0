//! A log as a start finds it: made new, or read from its first segment to its end.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use coracle_proto::id::GroupId;

use super::frame::{self, HEAD};
use super::scan::{self, Trouble};
use super::segment::{Segment, numbers};
use super::sync;
use super::tail::{Place, Tail};
use super::writer::Written;
use super::{Mark, MarkFile, Syncs};
use crate::codec::log::{GroupState, Record, SegmentHead};
use crate::codec::raft::position;
use crate::disk;
use crate::options::HostIdentity;
use crate::types::{Entry, LogId};

/// The number of a log's first segment: no place in it is zero.
const FIRST: u64 = 1;

/// A group as its records say.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) state: GroupState,
    entries: BTreeMap<u64, (Entry, Place)>,
}

/// All of a log.
pub(crate) struct Log {
    pub(crate) identity: HostIdentity,
    pub(crate) groups: BTreeMap<GroupId, Recovered>,
    pub(crate) written: Written,
    pub(crate) syncs: Syncs,
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
                groups.entry(group).or_default().state = state;
            }
        }
        Record::Entry(group, entry) => groups.entry(group).or_default().entry(entry, place)?,
        Record::Vote(group, vote) => groups.entry(group).or_default().state.vote = Some(vote),
        Record::Committed(group, id) => groups.entry(group).or_default().state.committed = Some(id),
        Record::Purged(group, id) => {
            let state = &mut groups.entry(group).or_default().state;
            state.purged = state.purged.max(Some(id));
        }
        Record::Truncated(group, after) => {
            groups.entry(group).or_default().entries.split_off(&after.map_or(0, |after| after.index + 1));
        }
    }
    Ok(())
}

impl Recovered {
    /// An entry that is there already was moved forward; another one under its index needs a truncation before it.
    fn entry(&mut self, entry: Entry, place: Place) -> Result<(), String> {
        let index = entry.log_id.index;
        match self.entries.get_mut(&index) {
            Some((there, at)) if there.log_id == entry.log_id => *at = place,
            Some((there, _)) => {
                return Err(format!("entry {} follows {} in its place", entry.log_id, there.log_id));
            }
            None => drop(self.entries.insert(index, (entry, place))),
        }
        Ok(())
    }

    /// The group's log, for a state on the disk that is at `applied`. What was purged only in words is there again: it
    /// is what the state needs.
    pub(crate) fn tail(self, applied: Option<LogId>) -> Result<Tail, String> {
        let Self { state, mut entries } = self;
        if applied < state.checkpoint {
            let text = |id: Option<LogId>| id.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
            return Err(format!("the state was at {} and is at {}", text(state.checkpoint), text(applied)));
        }
        let purged = state.purged.min(applied);
        let mut next = purged.map_or(0, |purged| purged.index + 1);
        entries = entries.split_off(&next);
        let mut tail = Tail::new(state.vote, purged);
        let mut before = purged;
        for (index, (entry, place)) in entries {
            if index != next {
                return Err(format!("entries {next} to {} are missing", index - 1));
            }
            if before.is_some_and(|before| entry.log_id.leader_id < before.leader_id) {
                return Err(format!("the term falls at entry {index}"));
            }
            (before, next) = (Some(entry.log_id), index + 1);
            tail.push(entry, place);
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
