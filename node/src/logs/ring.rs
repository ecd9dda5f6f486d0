//! The ring: segments on disk, the oldest removed when there are too many bytes or they are too old. One thread writes it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use coracle_proto::pb::LogFrame;
use thiserror::Error;
use tokio::sync::watch;

use super::segment::{MAGIC, Next, decode, encode};
use crate::age::Moment;
use crate::clock;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of one: what is removed at once.
    pub segment_bytes: u64,
    /// Older lines are neither kept nor shown.
    pub age: Duration,
}

impl Default for RingLimits {
    /// 64 MiB in sixteen segments, seven days.
    fn default() -> Self {
        Self { bytes: 64 << 20, segment_bytes: 4 << 20, age: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// The ring's folder or one of its files failed.
#[derive(Debug, Error)]
#[error("logs in '{path}': {source}")]
pub struct RingError {
    path: PathBuf,
    source: io::Error,
}

impl RingError {
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self { path: path.to_owned(), source }
    }
}

/// A segment, as far as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first frame, and its name.
    pub(super) first: u64,
    /// Bytes that may be read.
    pub(super) bytes: u64,
    /// When the last of them was written, by the clock on the wall: what readers ask for.
    pub(super) newest_ms: u64,
    /// The same by the clock that ages are told by.
    pub(super) aged_ms: u64,
}

/// What can be read: told to readers after each write.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) folder: Arc<Path>,
    /// In order, without gaps except after damage.
    pub(super) segments: Arc<[Segment]>,
    /// The number that the next frame will have.
    pub(super) next: u64,
}

/// The writing side.
#[derive(Debug)]
pub(super) struct Ring {
    folder: Arc<Path>,
    limits: RingLimits,
    /// All but the one that is written.
    older: VecDeque<Segment>,
    current: Segment,
    file: File,
    next: u64,
    opened: Moment,
    extent: watch::Sender<Extent>,
}

pub(super) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:016x}.log"))
}

impl Ring {
    /// Opens the ring, makes it if it is not there, and cuts a frame that was not written whole.
    pub(super) fn open(folder: &Path, limits: RingLimits, wall_ms: u64) -> Result<Self, RingError> {
        fs::create_dir_all(folder).map_err(RingError::at(folder))?;
        let mut older = segments(folder)?;
        let opened = Moment::opened(older.iter().map(|segment| segment.newest_ms).max(), wall_ms);
        for segment in &mut older {
            segment.aged_ms = segment.newest_ms.min(opened.age_ms);
        }
        let (current, file, next) = match older.pop_back() {
            Some(last) => reopen(folder, last)?,
            None => create(folder, 0, opened)?,
        };
        let folder: Arc<Path> = Arc::from(folder);
        let nothing = Extent { folder: Arc::clone(&folder), segments: Arc::default(), next };
        let extent = watch::Sender::new(nothing);
        let mut ring = Self { folder, limits, older, current, file, next, opened, extent };
        ring.expire(opened)?;
        ring.publish();
        Ok(ring)
    }

    /// When it was opened.
    pub(super) const fn opened(&self) -> Moment {
        self.opened
    }

    pub(super) fn readers(&self) -> watch::Receiver<Extent> {
        self.extent.subscribe()
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.current.bytes + self.older.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Writes frames and shows them to readers. On an error those that were not written are gone.
    pub(super) fn append(&mut self, frames: &[LogFrame], now: Moment) -> Result<(), RingError> {
        // The writer comes each second: nothing new makes no segment younger and wakes no reader.
        if frames.is_empty() {
            return Ok(());
        }
        let mut buffer = BytesMut::new();
        let mut count = 0;
        for frame in frames {
            encode(frame, &mut buffer);
            count += 1;
            if self.current.bytes + buffer.len() as u64 >= self.limits.segment_bytes {
                self.write(&buffer, count, now)?;
                self.rotate(now)?;
                buffer.clear();
                count = 0;
            }
        }
        self.write(&buffer, count, now)?;
        self.publish();
        Ok(())
    }

    /// Removes what is too old.
    pub(super) fn expire(&mut self, now: Moment) -> Result<(), RingError> {
        let oldest_ms = now.age_ms.saturating_sub(clock::millis(self.limits.age));
        if self.current.aged_ms < oldest_ms && self.current.bytes > MAGIC.len() as u64 {
            self.rotate(now)?;
        }
        let before = self.older.len();
        while self.older.front().is_some_and(|segment| segment.aged_ms < oldest_ms) {
            self.drop_oldest()?;
        }
        self.shrink()?;
        if self.older.len() < before {
            self.publish();
        }
        Ok(())
    }

    fn write(&mut self, buffer: &[u8], count: u64, now: Moment) -> Result<(), RingError> {
        if count == 0 {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(buffer, self.current.bytes) {
            // What was written of it must not be read after a restart; if this fails too, the CRC tells.
            let _ = self.file.set_len(self.current.bytes);
            return Err(RingError::at(&segment_path(&self.folder, self.current.first))(error));
        }
        self.current.bytes += buffer.len() as u64;
        self.current.newest_ms = now.wall_ms;
        self.current.aged_ms = now.age_ms;
        self.next += count;
        Ok(())
    }

    fn rotate(&mut self, now: Moment) -> Result<(), RingError> {
        let (current, file, _) = create(&self.folder, self.next, now)?;
        self.older.push_back(std::mem::replace(&mut self.current, current));
        self.file = file;
        self.shrink()?;
        self.publish();
        Ok(())
    }

    /// Leaves room for a whole segment, so that the bound holds at every moment.
    fn shrink(&mut self) -> Result<(), RingError> {
        let room = self.limits.bytes.saturating_sub(self.limits.segment_bytes);
        while !self.older.is_empty() && self.older.iter().map(|segment| segment.bytes).sum::<u64>() > room {
            self.drop_oldest()?;
        }
        Ok(())
    }

    fn drop_oldest(&mut self) -> Result<(), RingError> {
        let Some(oldest) = self.older.pop_front() else { return Ok(()) };
        let path = segment_path(&self.folder, oldest.first);
        match fs::remove_file(&path) {
            // Somebody was faster: no reason to lose the lines that are to be written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(RingError::at(&path)),
        }
    }

    fn publish(&self) {
        let segments = self.older.iter().copied().chain([self.current]).collect();
        self.extent.send_replace(Extent { folder: Arc::clone(&self.folder), segments, next: self.next });
    }
}

/// The segments in the folder, in order. What is none is left alone.
fn segments(folder: &Path) -> Result<VecDeque<Segment>, RingError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(RingError::at(folder))? {
        let path = entry.map_err(RingError::at(folder))?.path();
        let stem =
            path.extension().is_some_and(|extension| extension == "log").then(|| path.file_stem()).flatten();
        let Some(first) = stem.and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok()) else {
            continue;
        };
        let data = fs::metadata(&path).map_err(RingError::at(&path))?;
        let modified = data.modified().map_err(RingError::at(&path))?;
        let newest_ms = clock::millis(modified.duration_since(UNIX_EPOCH).unwrap_or_default());
        found.push(Segment { first, bytes: data.len(), newest_ms, aged_ms: newest_ms });
    }
    found.sort_unstable_by_key(|segment| segment.first);
    Ok(found.into())
}

fn create(folder: &Path, first: u64, now: Moment) -> Result<(Segment, File, u64), RingError> {
    let path = segment_path(folder, first);
    let file = File::options().write(true).create(true).truncate(true).open(&path);
    let file = file.map_err(RingError::at(&path))?;
    file.write_all_at(MAGIC, 0).map_err(RingError::at(&path))?;
    let bytes = MAGIC.len() as u64;
    Ok((Segment { first, bytes, newest_ms: now.wall_ms, aged_ms: now.age_ms }, file, first))
}

/// Goes on with the last segment: counts its frames and cuts what comes after them.
fn reopen(folder: &Path, last: Segment) -> Result<(Segment, File, u64), RingError> {
    let path = segment_path(folder, last.first);
    let mut bytes = Bytes::from(fs::read(&path).map_err(RingError::at(&path))?);
    if !bytes.starts_with(MAGIC) {
        let then = Moment { wall_ms: last.newest_ms, age_ms: last.aged_ms };
        return create(folder, last.first, then);
    }
    let mut valid = MAGIC.len();
    let mut next = last.first;
    drop(bytes.split_to(valid));
    while let Next::Frame(_, length) = decode(&bytes) {
        drop(bytes.split_to(length));
        valid += length;
        next += 1;
    }
    let file = File::options().write(true).open(&path).map_err(RingError::at(&path))?;
    if !bytes.is_empty() {
        tracing::warn!(file = %path.display(), bytes = bytes.len(), "the end of the log was not written whole and is cut");
        file.set_len(valid as u64).map_err(RingError::at(&path))?;
    }
    Ok((Segment { bytes: valid as u64, ..last }, file, next))
}

#[cfg(test)]
impl Ring {
    /// Puts the kernel's own full disk in the place of the segment, or takes it away again.
    pub(super) fn fail_writes(&mut self, fail: bool) {
        let path = segment_path(&self.folder, self.current.first);
        let path = if fail { PathBuf::from("/dev/full") } else { path };
        self.file = File::options().write(true).open(path).unwrap();
    }
}
