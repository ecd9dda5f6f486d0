//! Records packed into frames, frames written into segments.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::Written;
use crate::codec::log::{Record, SegmentHead};
use crate::log::frame::{self, HEAD};
use crate::log::housekeeper::Housekeeper;
use crate::log::segment::Segment;
use crate::log::sync::{self, Syncs};
use crate::log::{FRAME_BYTES_MAX, GroupLog, SEGMENT_BYTES};
use crate::options::HostIdentity;
use crate::types::LogId;

/// A buffer that has grown beyond this for one large batch is given back.
const BUFFER_KEPT: usize = 4 * FRAME_BYTES_MAX;

/// What is written, and what is about to be.
pub(super) struct Frames {
    pub(super) written: Written,
    /// Up to here the log was synced.
    pub(super) durable: u64,
    identity: HostIdentity,
    housekeeper: Housekeeper,
    syncs: Syncs,
    /// The frame that is being filled: room for its head, then its records.
    open: Vec<u8>,
    /// Entries in it.
    inside: Vec<(Arc<GroupLog>, LogId)>,
    /// Whole frames that are not written yet, the last of which ends at `written.end`.
    whole: Vec<u8>,
    /// Entries in those, each with its frame's position.
    placed: Vec<(Arc<GroupLog>, LogId, u64)>,
    scratch: Vec<u8>,
}

impl Frames {
    pub(super) fn new(
        written: Written,
        identity: HostIdentity,
        housekeeper: Housekeeper,
        syncs: Syncs,
    ) -> Self {
        let (open, whole, scratch) = (vec![0; HEAD], Vec::new(), Vec::new());
        let (inside, placed) = (Vec::new(), Vec::new());
        Self { written, durable: 0, identity, housekeeper, syncs, open, inside, whole, placed, scratch }
    }

    /// Adds a record.
    pub(super) fn put(&mut self, group: &Arc<GroupLog>, record: &Record) -> io::Result<()> {
        self.scratch.clear();
        record.encode(&mut self.scratch);
        if self.open.len() > HEAD && self.open.len() + self.scratch.len() > FRAME_BYTES_MAX {
            self.close()?;
        }
        self.open.extend_from_slice(&self.scratch);
        if let Record::Entry(_, entry) = record {
            self.inside.push((Arc::clone(group), entry.log_id));
        }
        Ok(())
    }

    /// Writes everything that was put, in one go unless a segment ends in between.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.close()?;
        self.flush()
    }

    /// Makes everything durable that was written.
    pub(super) fn sync(&mut self, what: &str) -> io::Result<()> {
        self.syncs.run(what, || self.written.segment.file.sync_data())?;
        self.durable = self.written.end;
        Ok(())
    }

    pub(super) fn housekeeper(&mut self) -> &mut Housekeeper {
        &mut self.housekeeper
    }

    /// Makes a frame of what is open.
    fn close(&mut self) -> io::Result<()> {
        if self.open.len() == HEAD {
            return Ok(());
        }
        let span = frame::span(self.open.len() - HEAD) as u64;
        if self.written.end + span > Segment::base(self.written.segment.number + 1) {
            self.roll()?;
        }
        let at = self.written.end;
        let mut bytes = std::mem::replace(&mut self.open, vec![0; HEAD]);
        self.seal(&mut bytes);
        let newest = self.written.segments.entry(self.written.segment.number).or_default();
        for (group, id) in self.inside.drain(..) {
            let index = newest.entry(group.id).or_default();
            *index = id.index.max(*index);
            self.placed.push((group, id, at));
        }
        Ok(())
    }

    fn seal(&mut self, bytes: &mut Vec<u8>) {
        let at = self.written.end;
        self.written.checksum = frame::seal(bytes, at, self.durable, self.written.checksum);
        self.written.end = at + bytes.len() as u64;
        self.whole.append(bytes);
    }

    /// Writes the whole frames.
    fn flush(&mut self) -> io::Result<()> {
        if self.whole.is_empty() {
            return Ok(());
        }
        self.written.segment.write(&self.whole, self.written.end - self.whole.len() as u64)?;
        self.whole.clear();
        self.whole.shrink_to(BUFFER_KEPT);
        for (group, id, place) in self.placed.drain(..) {
            let mut tail = group.tail();
            tail.written(&id, place);
            tail.evict();
        }
        Ok(())
    }

    /// Goes on in the next segment, which begins with what the ones before it said last.
    fn roll(&mut self) -> io::Result<()> {
        self.flush()?;
        self.sync(sync::FULL_SEGMENT)?;
        let next = self.housekeeper.next()?;
        let number = next.number;
        self.written.segment = next;
        self.written.end = Segment::base(number);
        self.written.segments.insert(number, HashMap::new());
        let groups = self.written.groups.iter().map(|(group, state)| (*group, *state)).collect();
        let mut bytes = vec![0; HEAD];
        Record::Head(SegmentHead { identity: self.identity, number, groups }).encode(&mut bytes);
        self.seal(&mut bytes);
        Ok(())
    }
}

const _: () = assert!(SEGMENT_BYTES > BUFFER_KEPT as u64);
