//! The loop of the log's thread.
//!
//! After a failed write or sync nothing more is acknowledged: what the disk holds is unknown then.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use coracle_proto::id::GroupId;

use super::frames::Frames;
use super::job::{Job, What};
use super::{QUEUE_MAX, Start};
use crate::codec::log::{GroupState, Record};
use crate::failure::Failure;
use crate::faults;
use crate::log::housekeeper::Housekeeper;
use crate::log::mark::{Mark, MarkFile};
use crate::log::segment::Segment;
use crate::log::sync;
use crate::log::tail::{Needed, entry_bytes};
use crate::log::{GroupLog, SEGMENT_BYTES, cold};
use crate::types::{Entry, LogId};

/// A batch is not made longer once it has so many bytes of entries: who came first is answered first.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// With more segments than this the oldest one is looked at: what little of it is needed is moved forward.
const SEGMENTS_KEPT: usize = 8;

/// So much of a segment may be moved; where more is needed, the segment stays, until there are many.
const MOVED_BYTES_MAX: u64 = SEGMENT_BYTES / 4;
const SEGMENTS_MANY: usize = 4 * SEGMENTS_KEPT;

/// For each segment that is filled so many old ones are moved at most. With one the log could grow for ever: what is moved
/// takes room too.
const MOVES_MAX: usize = 2;

/// The state of the thread.
pub(super) struct Loop {
    dir: PathBuf,
    failure: Arc<Failure>,
    frames: Frames,
    mark_file: MarkFile,
    full: Box<dyn Fn() + Send>,
    groups: BTreeMap<GroupId, Arc<GroupLog>>,
    /// Something was purged, or is in the state on the disk, since segments were last removed.
    release: bool,
    /// A segment was filled since old ones were last looked at.
    rolled: bool,
}

impl Loop {
    /// Makes durable what the log holds: a killed process may have left more than it had synced, and what was read is
    /// taken for acknowledged from now on.
    pub(super) fn new(start: Start) -> io::Result<Self> {
        let Start { dir, name, identity, written, groups, syncs, full } = start;
        let mark_file = MarkFile::open(&dir.join("mark"))?;
        let next = written.segment.number + 1;
        let housekeeper = Housekeeper::spawn(dir.clone(), format!("{name}-files"), next, syncs.clone())?;
        let failure = Arc::clone(&syncs.failure);
        let frames = Frames::new(written, identity, housekeeper, syncs);
        let (release, rolled) = (true, false);
        let mut log = Self { dir, failure, frames, mark_file, full, groups, release, rolled };
        log.sync()?;
        Ok(log)
    }

    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut failed: Option<String> = None;
        while let Ok(first) = jobs.recv() {
            let batch = drain(first, jobs);
            if failed.is_none() {
                failed = self.commit(&batch).err().map(|error| self.failed(&error));
            }
            let stop = batch.iter().any(|job| matches!(job.what, What::Stop));
            for job in batch {
                job.answer
                    .complete(failed.as_ref().map_or(Ok(()), |reason| Err(io::Error::other(reason.clone()))));
            }
            if stop {
                break;
            }
            if failed.is_none() {
                failed = self.tidy().err().map(|error| self.failed(&error));
            }
        }
        self.frames.housekeeper().stop();
    }

    /// The members end, whether they wait for this log or not.
    fn failed(&self, error: &io::Error) -> String {
        self.failure.write_failed("the log", error);
        error.to_string()
    }

    /// Writes every job of the batch and, where somebody acts on it, makes it durable.
    fn commit(&mut self, batch: &[Job]) -> io::Result<()> {
        let segment = self.frames.written.segment.number;
        for job in batch {
            if let Some(group) = &job.group {
                self.groups.entry(group.id).or_insert_with(|| Arc::clone(group));
                self.put(group, &job.what)?;
            }
        }
        self.frames.write()?;
        let rolled = self.frames.written.segment.number > segment;
        self.rolled |= rolled;
        if rolled || batch.iter().any(|job| job.what.must_be_durable()) {
            self.sync()?;
            faults::hit(faults::FLUSHED_BEFORE_CALLBACK, std::iter::empty());
            if std::mem::take(&mut self.release) {
                self.release();
            }
        }
        Ok(())
    }

    fn put(&mut self, group: &Arc<GroupLog>, what: &What) -> io::Result<()> {
        let (id, state) = (group.id, self.frames.written.groups.entry(group.id).or_default());
        let record = match what {
            What::Entries(entries) => {
                let committed = group.tail().committed;
                if let Some(at) = committed.filter(|_| state.committed != committed) {
                    state.committed = committed;
                    self.frames.put(group, &Record::Committed(id, at))?;
                }
                for entry in entries {
                    self.frames.put(group, &Record::Entry(id, entry.clone()))?;
                }
                return Ok(());
            }
            What::Vote(vote) => {
                state.vote = Some(*vote);
                Record::Vote(id, *vote)
            }
            What::Truncated(after) => Record::Truncated(id, *after),
            What::Purged(upto) => {
                state.purged = state.purged.max(Some(*upto));
                self.release = true;
                Record::Purged(id, *upto)
            }
            What::Checkpoint(at) => {
                state.checkpoint = state.checkpoint.max(Some(*at));
                self.release = true;
                return Ok(());
            }
            What::Flush | What::Stop => return Ok(()),
        };
        self.frames.put(group, &record)
    }

    /// One sync for everything that was written before.
    fn sync(&mut self) -> io::Result<()> {
        self.frames.sync(sync::RECORDS)?;
        let written = &self.frames.written;
        // A lower mark is right too.
        if let Err(error) = self.mark_file.raise(Mark { end: written.end, checksum: written.checksum }) {
            tracing::warn!(%error, "the log's mark was not raised");
        }
        Ok(())
    }

    /// The first index of a group that the log has to keep.
    fn floor(&self, group: GroupId) -> u64 {
        self.frames.written.groups.get(&group).map_or(0, GroupState::floor)
    }

    /// Lets the oldest segments go that nobody needs. Called after a sync: what says so is durable.
    fn release(&mut self) {
        let current = self.frames.written.segment.number;
        while let Some((number, newest)) = self.frames.written.segments.first_key_value() {
            let number = *number;
            if number == current || newest.iter().any(|(group, index)| self.floor(*group) <= *index) {
                return;
            }
            self.frames.written.segments.remove(&number);
            self.frames.housekeeper().remove(number);
        }
    }

    /// After a segment is full: asks for a newer state on the disk, and lets no group that rests hold old segments. What
    /// was acknowledged is safe whatever becomes of this; an error means that the log cannot be written any more.
    fn tidy(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.rolled) {
            return Ok(());
        }
        (self.full)();
        for _ in 0..MOVES_MAX {
            match self.oldest() {
                Ok(Some((number, needed))) => self.move_forward(number, needed)?,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the oldest segment of the log was not read: tried again with the next one");
                    break;
                }
            }
        }
        Ok(())
    }

    /// The oldest segment with what of it is needed, if there are many segments and it is little.
    fn oldest(&self) -> io::Result<Option<(u64, Vec<Moved>)>> {
        let segments = &self.frames.written.segments;
        let Some((number, newest)) = segments.first_key_value() else { return Ok(None) };
        if segments.len() <= SEGMENTS_KEPT {
            return Ok(None);
        }
        let places = Segment::base(*number)..Segment::base(number + 1);
        let needed = newest.iter().filter(|(group, index)| self.floor(**group) <= **index);
        let needed: Option<Vec<_>> = needed.map(|(group, _)| self.needed(*group, &places)).collect();
        // The state on the disk lacks what is purged in words only.
        let Some(needed) = needed else { return Ok(None) };
        let mut moved = Vec::new();
        for (group, Needed { purged, last, places }) in needed {
            let entries = cold::read(&self.dir, group.id, &places, usize::MAX)?;
            moved.push(Moved { group, purged, last, entries });
        }
        let bytes: usize = moved.iter().flat_map(|moved| &moved.entries).map(entry_bytes).sum();
        let bytes_max = if segments.len() > SEGMENTS_MANY { SEGMENT_BYTES } else { MOVED_BYTES_MAX };
        Ok((bytes as u64 <= bytes_max).then_some((*number, moved)))
    }

    /// What has to be said of a group when a segment goes; none when not all of that is in its tail.
    fn needed(&self, group: GroupId, places: &Range<u64>) -> Option<(Arc<GroupLog>, Needed)> {
        let checkpoint = self.frames.written.groups.get(&group).and_then(|state| state.checkpoint);
        let group = self.groups.get(&group)?;
        let needed = group.tail().needed(places);
        (needed.purged <= checkpoint).then(|| (Arc::clone(group), needed))
    }

    /// Writes once more what of a segment is needed, and lets it go. The tail may be ahead of what is written, by a purge
    /// or a truncation that waits: what it lacks is said to be gone before the segment goes.
    fn move_forward(&mut self, number: u64, moved: Vec<Moved>) -> io::Result<()> {
        for Moved { group, purged, last, entries } in moved {
            if let Some(purged) = purged {
                self.put(&group, &What::Purged(purged))?;
            }
            self.put(&group, &What::Truncated(last))?;
            self.put(&group, &What::Entries(entries))?;
        }
        self.frames.write()?;
        self.sync()?;
        self.frames.written.segments.remove(&number);
        self.frames.housekeeper().remove(number);
        self.release = true;
        Ok(())
    }
}

/// What of a group is written once more.
struct Moved {
    group: Arc<GroupLog>,
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: Vec<Entry>,
}

/// Everything that waits, up to a bound.
fn drain(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.what.bytes();
    let mut batch = vec![first];
    while bytes < BATCH_BYTES_MAX && batch.len() < QUEUE_MAX {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.what.bytes();
        batch.push(job);
    }
    batch
}
