//! A position in the ring, from which frames are read in their order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use coracle_proto::pb::LogFrame;

use super::ring::{Extent, RingError, Segment, segment_path};
use super::segment::{MAGIC, Next, decode};

/// Bytes read at once: some hundred lines, and more than one frame in any case.
const BATCH_BYTES: u64 = 256 << 10;

/// Stands before a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The segment, by its first frame.
    segment: u64,
    offset: u64,
    /// The number of the frame.
    pub(super) next: u64,
}

/// What came of one look.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Frames with their numbers.
    pub(super) frames: Vec<(u64, LogFrame)>,
    /// Frames before them that are not there any more.
    pub(super) missed: u64,
}

impl Cursor {
    /// Before the oldest segment that was written to since `since_ms`.
    pub(super) fn since(extent: &Extent, since_ms: u64) -> Self {
        let newer = extent.segments.iter().find(|segment| segment.newest_ms >= since_ms);
        // In the one that is written when nothing is that new.
        let first = newer.or_else(|| extent.segments.last()).map_or(extent.next, |segment| segment.first);
        Self::before(first)
    }

    const fn before(first: u64) -> Self {
        Self { segment: first, offset: MAGIC.len() as u64, next: first }
    }

    /// Reads what comes next. An empty batch with nothing missed means that there is no more yet.
    pub(super) fn read(&mut self, extent: &Extent) -> Result<Batch, RingError> {
        let mut batch = Batch::default();
        while let Some(segment) = self.enter(extent, &mut batch.missed) {
            let length = (segment.bytes - self.offset).min(BATCH_BYTES);
            let path = segment_path(&extent.folder, segment.first);
            let mut bytes = match read_at(&path, self.offset, length) {
                Ok(bytes) => bytes,
                // Removed since the extent was told, or by somebody else: what it had is missed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Bytes::new(),
                Err(error) => return Err(RingError::at(&path)(error)),
            };
            while let Next::Frame(frame, length) = decode(&bytes) {
                drop(bytes.split_to(length));
                batch.frames.push((self.next, frame));
                self.offset += length as u64;
                self.next += 1;
            }
            if !batch.frames.is_empty() {
                return Ok(batch);
            }
            // Whole frames were told of and none is there: the rest of the segment is lost.
            self.offset = segment.bytes;
            if extent.segments.last() == Some(&segment) {
                batch.missed += extent.next.saturating_sub(self.next);
                self.next = extent.next;
            }
        }
        Ok(batch)
    }

    /// The segment to read from, with the cursor inside it and something behind the cursor.
    fn enter(&mut self, extent: &Extent, missed: &mut u64) -> Option<Segment> {
        let here = extent.segments.iter().find(|segment| segment.first == self.segment);
        if let Some(segment) = here.filter(|segment| self.offset < segment.bytes) {
            return Some(*segment);
        }
        let after = extent.segments.iter().find(|segment| segment.first > self.segment)?;
        *missed += after.first.saturating_sub(self.next);
        *self = Self::before(after.first);
        (self.offset < after.bytes).then_some(*after)
    }
}

fn read_at(path: &std::path::Path, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    File::open(path)?.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}
