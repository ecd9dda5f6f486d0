//! What blobs hold, in files beside the replicas (docs/adr/0018): `store-chunks/GROUP/UPLOAD/RUN-NUMBER`.
//!
//! A file belongs to one upload, for ever. `file` writes and checks one, `repair` fetches what a blob lacks here, `garbage` takes away
//! what belongs to nothing. Whatever waits for the disk runs on threads for that, a bounded number at once.

mod error;
mod file;
mod garbage;
mod name;
mod os;
mod remote;
mod repair;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::GroupId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tracing::warn;

pub(crate) use error::ChunkError;
pub(crate) use garbage::{WRITTEN_WITHIN, garbage};
pub(crate) use name::ChunkName;
pub(crate) use repair::repair;

use crate::model::CHUNK_BYTES_MAX;
use file::{Checked, Writing};

/// The folder in the node's one.
const FOLDER: &str = "store-chunks";
/// Threads that wait for the disk at once: what one disk has in its queue.
const DISK_AT_ONCE: usize = 16;
/// Chunks of a group that are being written at once.
const WRITING_MAX: usize = 256;

/// What tests have otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkLimits {
    /// Free disk that is left to others, bytes.
    pub(crate) reserve_bytes: u64,
    /// How long garbage is kept: whoever reads a blob that was replaced reads it to its end.
    pub(crate) grace: Duration,
    /// After a commit it is looked so much later what is missing: what is on its way comes meanwhile.
    pub(crate) settle: Duration,
}

impl ChunkLimits {
    pub(crate) const DEFAULT: Self =
        Self { reserve_bytes: 1 << 30, grace: Duration::from_secs(15 * 60), settle: Duration::from_secs(2) };
}

/// The chunks of a store. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    folder: PathBuf,
    limits: ChunkLimits,
    disk: Arc<Semaphore>,
    aside: Arc<Semaphore>,
}

/// Those of one group. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct GroupChunks {
    group: GroupId,
    folder: PathBuf,
    limits: ChunkLimits,
    disk: Arc<Semaphore>,
    /// One walk through files at a time, of whatever group.
    aside: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    /// Held while a folder is made: whoever finds one knows that it stays.
    making: Arc<Mutex<()>>,
    /// Told when one is found to be damaged.
    damaged: Arc<Notify>,
    counts: Arc<Counts>,
}

/// For whoever scrapes.
#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    repaired: AtomicU64,
    damaged: AtomicU64,
    missing: AtomicU64,
}

/// What a group shows of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Of all files, as they were counted last.
    pub(crate) bytes: u64,
    /// Fetched from other members since the start.
    pub(crate) repaired: u64,
    /// Found damaged since the start.
    pub(crate) damaged: u64,
    /// That blobs have and no member gave, when it was looked last.
    pub(crate) missing: u64,
}

impl Chunks {
    pub(crate) fn new(data_dir: &Path, limits: ChunkLimits) -> Self {
        let (disk, aside) = (Arc::new(Semaphore::new(DISK_AT_ONCE)), Arc::new(Semaphore::new(1)));
        Self { folder: data_dir.join(FOLDER), limits, disk, aside }
    }

    pub(crate) fn of(&self, group: GroupId) -> GroupChunks {
        GroupChunks {
            group,
            folder: self.folder.join(group.to_string()),
            limits: self.limits,
            disk: Arc::clone(&self.disk),
            aside: Arc::clone(&self.aside),
            writing: Arc::new(Semaphore::new(WRITING_MAX)),
            making: Arc::default(),
            damaged: Arc::default(),
            counts: Arc::default(),
        }
    }

    /// Takes away what is here of a group that has no replica here any more.
    pub(crate) async fn forget(&self, group: GroupId) {
        let folder = self.folder.join(group.to_string());
        let removed = spawn_blocking(move || (fs::remove_dir_all(&folder), folder)).await;
        if let Ok((Err(error), folder)) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(%group, folder = %folder.display(), %error, "chunks of a group that is not here any more stay on the disk");
        }
    }
}

impl GroupChunks {
    /// Begins to write one.
    pub(crate) async fn write(&self, name: ChunkName) -> Result<Receiving, ChunkError> {
        let room = Arc::clone(&self.writing).try_acquire_owned();
        let room = room.map_err(|_| ChunkError::Busy { most: WRITING_MAX })?;
        let path = name.path(&self.folder);
        let (chunks, beside) = (self.clone(), path.clone());
        let begun = self.on_disk(move || chunks.begin(&beside)).await?;
        Ok(Receiving { chunks: self.clone(), path, writing: Some(begun), _room: room })
    }

    /// Opens one that is there and not damaged.
    pub(crate) async fn read(
        &self,
        name: ChunkName,
        offset: u64,
        bytes: Option<u64>,
    ) -> Result<Option<Reading>, ChunkError> {
        let path = name.path(&self.folder);
        let at = path.clone();
        match self.on_disk(move || Ok(file::open(&at, offset, bytes))).await? {
            Ok(checked) => Ok(Some(Reading { chunks: self.clone(), path, checked: Some(checked) })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.found_damaged(&path, &error).await;
                Ok(None)
            }
            Err(source) => Err(ChunkError::Disk { path, source }),
        }
    }

    pub(crate) fn shown(&self) -> Shown {
        let Counts { bytes, repaired, damaged, missing } = &*self.counts;
        Shown {
            bytes: bytes.load(Ordering::Relaxed),
            repaired: repaired.load(Ordering::Relaxed),
            damaged: damaged.load(Ordering::Relaxed),
            missing: missing.load(Ordering::Relaxed),
        }
    }

    /// It is fetched anew.
    async fn found_damaged(&self, path: &Path, error: &io::Error) {
        warn!(group = %self.group, file = %path.display(), %error, "a chunk is damaged: it is taken away, and fetched from another member");
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        let at = path.to_owned();
        if let Err(error) = self.on_disk(move || in_place(fs::remove_file(&at), &at)).await {
            warn!(group = %self.group, %error, "a damaged chunk stays on the disk");
        }
        self.damaged.notify_one();
    }

    fn begin(&self, path: &Path) -> Result<Writing, ChunkError> {
        let folder = path.parent().unwrap_or(&self.folder);
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        in_place(make(folder), folder)?;
        drop(making);
        let free = in_place(os::free_bytes(folder), folder)?;
        let reserve = self.limits.reserve_bytes;
        if free < reserve.saturating_add(CHUNK_BYTES_MAX) {
            return Err(ChunkError::Full { free, reserve });
        }
        in_place(Writing::begin(path), path)
    }

    /// Runs what goes through many files, and nobody waits for.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, ChunkError> {
        // Never closed.
        let _turn = self.aside.acquire().await.ok();
        self.on_disk(work).await
    }

    /// Runs what waits for the disk when it has its turn.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, ChunkError> {
        // Never closed.
        let turn = Arc::clone(&self.disk).acquire_owned().await.ok();
        let done = spawn_blocking(move || (work(), turn)).await;
        done.map_or_else(
            |error| Err(ChunkError::Disk { path: self.folder.clone(), source: io::Error::other(error) }),
            |(done, _turn)| done,
        )
    }
}

/// A chunk that comes. What is not finished is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Receiving {
    chunks: GroupChunks,
    path: PathBuf,
    /// None while the disk has it.
    writing: Option<Writing>,
    _room: OwnedSemaphorePermit,
}

impl Receiving {
    /// The next bytes of it.
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), ChunkError> {
        let path = self.path.clone();
        let Some(mut writing) = self.writing.take() else { return Err(lost(path)) };
        if u64::from(writing.bytes()).saturating_add(data.len() as u64) > CHUNK_BYTES_MAX {
            return Err(ChunkError::TooLong { max: CHUNK_BYTES_MAX });
        }
        let work = move || in_place(writing.write(&data), &path).map(|()| writing);
        self.writing = Some(self.chunks.on_disk(work).await?);
        Ok(())
    }

    /// It is there, and stays. Without a digest whatever came is right.
    pub(crate) async fn finish(mut self, digest: Option<&[u8]>) -> Result<u64, ChunkError> {
        let path = self.path.clone();
        let Some(writing) = self.writing.take() else { return Err(lost(path)) };
        if digest.is_some_and(|digest| !writing.is(digest)) {
            return Err(ChunkError::OtherDigest);
        }
        let bytes = u64::from(writing.bytes());
        self.chunks.on_disk(move || in_place(writing.finish(&path), &path)).await?;
        self.chunks.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Bytes that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.writing.as_ref().map_or(0, |writing| u64::from(writing.bytes()))
    }
}

/// A chunk that is read.
#[derive(Debug)]
pub(crate) struct Reading {
    chunks: GroupChunks,
    path: PathBuf,
    /// None while the disk has it.
    checked: Option<Checked>,
}

impl Reading {
    /// The next piece; none: that was all.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ChunkError> {
        let path = self.path.clone();
        let Some(mut checked) = self.checked.take() else { return Err(lost(path)) };
        let work = move || in_place(checked.next(), &path).map(|piece| (piece, checked));
        let (piece, checked) = self.chunks.on_disk(work).await?;
        self.checked = Some(checked);
        Ok(piece.map(Bytes::from))
    }
}

/// A step before this one failed.
fn lost(path: PathBuf) -> ChunkError {
    ChunkError::Disk { path, source: io::Error::other("what was begun has failed") }
}

fn in_place<T>(done: io::Result<T>, path: &Path) -> Result<T, ChunkError> {
    done.map_err(|source| ChunkError::Disk { path: path.to_owned(), source })
}

/// Makes a folder and those above it, each of which stays.
fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), file::sync_folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            folder.parent().map_or(Err(error), make)?;
            make(folder)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
