//! What blobs hold, in files beside the replicas (docs/adr/0018): `store-chunks/GROUP/UPLOAD/RUN-NUMBER`.
//!
//! A file belongs to one upload, for ever. `file` writes and checks one, `repair` fetches what a blob lacks here, `garbage` takes away
//! what belongs to nothing. Whatever waits for the disk runs on threads for that, a bounded number at once.

mod error;
mod file;
mod garbage;
mod gone;
mod name;
mod os;
mod places;
mod remote;
mod repair;
mod shown;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::GroupId;
use coracle_raft::{Stop, View};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tracing::warn;

pub(crate) use error::ChunkError;
pub(crate) use garbage::{WRITTEN_WITHIN, garbage};
pub(crate) use name::ChunkName;
pub(crate) use repair::repair;
pub(crate) use shown::Shown;

use crate::clock;
use crate::model::{self, CHUNK_BYTES_MAX, UploadId};
use file::{Checked, Opened, Writing};
use places::{Begins, Begun, Place, Places};
use shown::Counts;

/// The folder in the node's one.
const FOLDER: &str = "store-chunks";
/// Threads that wait for the disk at once: what one disk has in its queue.
const DISK_AT_ONCE: usize = 16;

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
    /// Chunks that are being written, of whatever group: each may take as much of the disk as a chunk may have.
    begun: Begun,
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
    begun: Begun,
    places: Places,
    /// When something of an upload was read last: whoever reads it reads it to its end.
    read: Arc<Mutex<BTreeMap<UploadId, Instant>>>,
    /// Told when somebody asks whether all is here.
    asked: Arc<Notify>,
    /// Held while a folder is made: whoever finds one knows that it stays.
    making: Arc<Mutex<()>>,
    /// Told when one is found to be damaged.
    damaged: Arc<Notify>,
    counts: Arc<Counts>,
}

impl Chunks {
    pub(crate) fn new(data_dir: &Path, limits: ChunkLimits) -> Self {
        let (disk, aside) = (Arc::new(Semaphore::new(DISK_AT_ONCE)), Arc::new(Semaphore::new(1)));
        Self { folder: data_dir.join(FOLDER), limits, disk, aside, begun: Begun::default() }
    }

    pub(crate) fn of(&self, group: GroupId) -> GroupChunks {
        GroupChunks {
            group,
            folder: self.folder.join(group.to_string()),
            limits: self.limits,
            disk: Arc::clone(&self.disk),
            aside: Arc::clone(&self.aside),
            begun: self.begun.clone(),
            places: Places::default(),
            read: Arc::default(),
            asked: Arc::default(),
            making: Arc::default(),
            damaged: Arc::default(),
            counts: Arc::default(),
        }
    }
}

impl GroupChunks {
    /// Begins to write one that somebody sends, when it has a place.
    pub(crate) async fn write(&self, name: ChunkName) -> Result<Receiving, ChunkError> {
        let place = self.places.of_a_sender().await?;
        self.write_at(name, Some(place)).await
    }

    /// Begins to write one that is fetched. They come one by one, and do not wait for places that senders have.
    async fn write_fetched(&self, name: ChunkName) -> Result<Receiving, ChunkError> {
        self.write_at(name, None).await
    }

    async fn write_at(&self, name: ChunkName, place: Option<Place>) -> Result<Receiving, ChunkError> {
        let begins = self.begun.one_more();
        let path = name.path(&self.folder);
        let (chunks, beside) = (self.clone(), path.clone());
        let writing = self.on_disk(move || chunks.begin(&beside)).await?;
        Ok(Receiving { chunks: self.clone(), path, writing: Some(writing), _begins: begins, _place: place })
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
        self.note_read(name.upload);
        match self.on_disk(move || Ok(file::open(&at, offset, bytes))).await? {
            Ok(Opened::Checked(checked)) => {
                let (chunks, upload) = (self.clone(), name.upload);
                Ok(Some(Reading { chunks, upload, path, checked: Some(checked) }))
            }
            Ok(Opened::Damaged(error, removed)) => {
                self.found_damaged(&path, &error, removed);
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ChunkError::Disk { path, source }),
        }
    }

    /// Up to which sequence of the group all is here that chunks belong to. Where that is behind the state it is looked soon.
    pub(crate) fn whole(&self, state: &View) -> Result<u64, Stop> {
        let reached = model::group(state)?.map_or(0, |group| group.sequence);
        if !model::has_chunks(state)? {
            return Ok(reached);
        }
        let whole = self.counts.whole.load(Ordering::Relaxed);
        if whole < reached {
            self.asked.notify_one();
        }
        Ok(whole)
    }

    /// It is fetched anew.
    fn found_damaged(&self, path: &Path, error: &io::Error, removed: io::Result<()>) {
        warn!(group = %self.group, file = %path.display(), %error, "a chunk is damaged: it is taken away, and fetched from another member");
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = removed {
            warn!(group = %self.group, file = %path.display(), %error, "a damaged chunk stays on the disk");
        }
        self.damaged.notify_one();
    }

    fn note_read(&self, upload: UploadId) {
        self.note_read_at(upload, clock::now());
    }

    pub(crate) fn note_read_at(&self, upload: UploadId, at: Instant) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(upload, at);
    }

    fn begin(&self, path: &Path) -> Result<Writing, ChunkError> {
        let folder = path.parent().unwrap_or(&self.folder);
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        in_place(make(folder), folder)?;
        drop(making);
        let free = in_place(os::free_bytes(folder), folder)?;
        let (reserve, begun) = (self.limits.reserve_bytes, self.begun.count());
        // This one is among them.
        if free < reserve.saturating_add(CHUNK_BYTES_MAX.saturating_mul(begun)) {
            return Err(ChunkError::Full { free, reserve, begun: begun.saturating_sub(1) });
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
    _begins: Begins,
    _place: Option<Place>,
}

impl Receiving {
    /// The next bytes of it.
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), ChunkError> {
        let path = self.path.clone();
        if self.bytes().saturating_add(data.len() as u64) > CHUNK_BYTES_MAX {
            return Err(ChunkError::TooLong { max: CHUNK_BYTES_MAX });
        }
        let Some(mut writing) = self.writing.take() else { return Err(lost(path)) };
        let work = move || in_place(writing.write(&data), &path).map(|()| writing);
        self.writing = Some(self.chunks.on_disk(work).await?);
        Ok(())
    }

    /// It is there, and stays. Without a digest whatever came is right.
    pub(crate) async fn finish(mut self, digest: Option<&[u8]>) -> Result<u64, ChunkError> {
        let path = self.path.clone();
        let is_other = |writing: &Writing| digest.is_some_and(|digest| !writing.is(digest));
        if self.writing.as_ref().is_some_and(is_other) {
            return Err(ChunkError::OtherDigest);
        }
        let Some(writing) = self.writing.take() else { return Err(lost(path)) };
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

impl Drop for Receiving {
    fn drop(&mut self) {
        // What was not finished is unlinked where the disk may be waited for.
        if let (Some(writing), Ok(runtime)) = (self.writing.take(), Handle::try_current()) {
            runtime.spawn_blocking(|| drop(writing));
        }
    }
}

/// A chunk that is read.
#[derive(Debug)]
pub(crate) struct Reading {
    chunks: GroupChunks,
    upload: UploadId,
    path: PathBuf,
    /// None while the disk has it.
    checked: Option<Checked>,
}

impl Reading {
    /// The next piece; none: that was all.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ChunkError> {
        let path = self.path.clone();
        let Some(mut checked) = self.checked.take() else { return Err(lost(path)) };
        let work = move || {
            let next = checked.next();
            let given_up = next.as_ref().err().and_then(|error| checked.give_up(error, &path));
            Ok((next, given_up, checked))
        };
        let (next, given_up, checked) = self.chunks.on_disk(work).await?;
        match next {
            Ok(piece) => {
                self.checked = Some(checked);
                Ok(piece.map(Bytes::from))
            }
            Err(error) => {
                if let Some(removed) = given_up {
                    self.chunks.found_damaged(&self.path, &error, removed);
                }
                Err(ChunkError::Disk { path: self.path.clone(), source: error })
            }
        }
    }

    /// Of the whole chunk; none after an error.
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        self.checked.as_ref().map(Checked::digest)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // However long that took: whoever read it goes on with the next one.
        self.chunks.note_read(self.upload);
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
