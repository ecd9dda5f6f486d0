//! The loop of the log's thread.
//!
//! After a failed write or sync nothing more is acknowledged: what the disk holds is unknown then.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use coracle_proto::id::GroupId;

use super::frames::Frames;
use super::job::{Job, What};
use super::{QUEUE_MAX, Start};
use crate::codec::log::Record;
use crate::failure::Failure;
use crate::faults;
use crate::log::housekeeper::Housekeeper;
use crate::log::mark::{Mark, MarkFile};
use crate::log::segment::Segment;
use crate::log::tail::entry_bytes;
use crate::log::{GroupLog, SEGMENT_BYTES, cold};
use crate::metrics::StoreMetrics;
use crate::types::LogId;

/// A batch is not made longer once it has so many bytes of entries: who came first is answered first.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// With more segments than this the oldest one is looked at: what little of it is needed is moved forward.
const SEGMENTS_KEPT: usize = 8;

/// So much of a segment may be moved; where more is needed, the segment stays.
const MOVED_BYTES_MAX: u64 = SEGMENT_BYTES / 4;

/// The state of the thread.
pub(super) struct Loop {
    dir: PathBuf,
    frames: Frames,
    mark_file: MarkFile,
    metrics: Arc<StoreMetrics>,
    failure: Arc<Failure>,
    full: Box<dyn Fn() + Send>,
    groups: BTreeMap<GroupId, Arc<GroupLog>>,
    /// Something was purged, or is in the state on the disk, since segments were last removed.
    release: bool,
}

impl Loop {
    /// Makes durable what the log holds: a killed process may have left more than it had synced, and what was read is
    /// taken for acknowledged from now on.
    pub(super) fn new(start: Start) -> io::Result<Self> {
        let Start { dir, name, identity, written, metrics, failure, full } = start;
        let mark_file = MarkFile::open(&dir.join("mark"))?;
        let next = written.segment.number + 1;
        let housekeeper = Housekeeper::spawn(dir.clone(), format!("{name}-files"), next)?;
        let frames = Frames::new(written, identity, housekeeper);
        let (groups, release) = (BTreeMap::new(), true);
        let mut log = Self { dir, frames, mark_file, metrics, failure, full, groups, release };
        log.sync()?;
        Ok(log)
    }

    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut failed: Option<String> = None;
        while let Ok(first) = jobs.recv() {
            let batch = drain(first, jobs);
            if failed.is_none() {
                failed = self.commit(&batch).err().map(|error| error.to_string());
            }
            let stop = batch.iter().any(|job| matches!(job.what, What::Stop));
            for job in batch {
                job.answer
                    .tell(failed.as_ref().map_or(Ok(()), |reason| Err(io::Error::other(reason.clone()))));
            }
            if stop {
                break;
            }
        }
        self.frames.housekeeper().stop();
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
        if rolled || batch.iter().any(|job| job.what.must_be_durable()) {
            self.sync()?;
            faults::hit(faults::FLUSHED_BEFORE_CALLBACK, std::iter::empty());
            if std::mem::take(&mut self.release) {
                self.release();
            }
        }
        if rolled {
            (self.full)();
            self.move_forward()?;
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
            What::Stop => return Ok(()),
        };
        self.frames.put(group, &record)
    }

    /// One sync for everything that was written before. After one that failed the pages that it did not write count as
    /// clean for the system: no later sync can be believed.
    #[expect(clippy::disallowed_methods, reason = "the length of a sync is measured where it happens")]
    fn sync(&mut self) -> io::Result<()> {
        let start = Instant::now();
        let synced = faults::at_sync(&self.dir).and_then(|()| self.frames.sync());
        synced.inspect_err(|error| self.failure.sync_failed("the log", error))?;
        self.metrics.synced(start.elapsed());
        let written = &self.frames.written;
        self.mark_file.raise(Mark { end: written.end, checksum: written.checksum })
    }

    /// The first index of a group that the log has to keep: it is not purged, or the state on the disk lacks it.
    fn floor(&self, group: GroupId) -> u64 {
        let next = |id: Option<LogId>| id.map_or(0, |id| id.index + 1);
        self.frames
            .written
            .groups
            .get(&group)
            .map_or(0, |state| next(state.purged).min(next(state.checkpoint)))
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

    /// A group all of whose needed entries are in its tail.
    fn movable(&self, group: GroupId) -> Option<Arc<GroupLog>> {
        let checkpoint = self.frames.written.groups.get(&group).and_then(|state| state.checkpoint);
        let group = self.groups.get(&group)?;
        (group.tail().purged <= checkpoint).then(|| Arc::clone(group))
    }

    /// A group that rests would hold the oldest segment for ever: the few entries of it that are needed are written
    /// once more, and the segment can go.
    fn move_forward(&mut self) -> io::Result<()> {
        if self.frames.written.segments.len() <= SEGMENTS_KEPT {
            return Ok(());
        }
        let Some((number, newest)) = self.frames.written.segments.first_key_value() else { return Ok(()) };
        let number = *number;
        let needed = newest.iter().filter(|(group, index)| self.floor(**group) <= **index);
        let needed: Option<Vec<_>> = needed.map(|(group, _)| self.movable(*group)).collect();
        // The state on the disk lacks what is purged in words only, or nobody has opened the group.
        let Some(groups) = needed else { return Ok(()) };
        let places = Segment::base(number)..Segment::base(number + 1);
        let entries: Vec<_> = groups
            .iter()
            .map(|group| {
                let wanted = group.tail().within(&places);
                Ok((group, cold::read(&self.dir, group.id, &wanted, usize::MAX)?))
            })
            .collect::<io::Result<_>>()?;
        let bytes: usize = entries.iter().flat_map(|(_, entries)| entries).map(entry_bytes).sum();
        if bytes as u64 > MOVED_BYTES_MAX {
            return Ok(());
        }
        for (group, entries) in entries {
            for entry in entries {
                if group.tail().has(&entry.log_id) {
                    self.frames.put(group, &Record::Entry(group.id, entry))?;
                }
            }
        }
        self.frames.write()?;
        self.sync()?;
        self.frames.written.segments.remove(&number);
        self.frames.housekeeper().remove(number);
        Ok(())
    }
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
