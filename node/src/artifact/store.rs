//! The folder of artifacts: `sha256/ab/cdef….wasm`, each file complete and with the digest that it is named for.

mod check;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coracle_proto::id::Digest;
use coracle_proto::spec::ARTIFACT_SIZE_MAX;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{ArtifactError, Receiving};
use crate::age::{AgeClock, Moment};
use crate::{clock, os};

/// What is known of a stored artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnDisk {
    /// Bytes.
    pub size: u64,
    /// When it was stored or renewed, Unix milliseconds: the file's time of modification.
    pub renewed_ms: u64,
}

impl OnDisk {
    /// Milliseconds since it was stored or renewed; 0 when the clock went back.
    #[must_use]
    pub const fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.renewed_ms)
    }
}

/// What an order to remove came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The file is gone.
    Yes,
    /// It was not there.
    Absent,
    /// Its grace was renewed since the leader looked.
    TooYoung {
        /// Its age, milliseconds.
        age_ms: u64,
    },
}

/// What is here.
pub type Index = BTreeMap<Digest, OnDisk>;

/// The artifacts of one node. All methods may block on the disk: call them from [`super::store::blocking`].
#[derive(Debug)]
pub struct Store {
    files: PathBuf,
    tmp: PathBuf,
    /// Held while a file and its entry change together: removal, renewal, arrival and loss exclude each other. Never
    /// waited for on a thread of calls: whoever has it may be waiting for the disk.
    changing: Mutex<()>,
    /// The truth is the disk; this saves reading it. Held for moments only, never over an access to the disk.
    index: Mutex<Arc<Index>>,
    /// Makes names of temporary files unique.
    counter: AtomicU64,
    /// What the times of files are told by.
    age: Mutex<AgeClock>,
    /// Counts changes of the index, for whoever reports it.
    changes: watch::Sender<u64>,
}

impl Store {
    /// Opens the folder, makes it if it is not there, and removes what an earlier process left half-written.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Arc<Self>, ArtifactError> {
        let (files, tmp) = (folder.join("sha256"), folder.join("tmp"));
        for folder in [&files, &tmp] {
            fs::create_dir_all(folder).map_err(ArtifactError::io(folder))?;
        }
        for entry in entries(&tmp)? {
            tracing::info!(file = %entry.display(), "removing an unfinished artifact");
            fs::remove_file(&entry).map_err(ArtifactError::io(&entry))?;
        }
        let index = Mutex::new(Arc::new(scan(&files)?));
        let (changing, changes) = (Mutex::new(()), watch::Sender::new(0));
        let age = Mutex::new(AgeClock::new(Moment::opened(None, clock::unix_ms()), clock::now()));
        Ok(Arc::new(Self { files, tmp, changing, index, counter: AtomicU64::new(0), age, changes }))
    }

    /// Where the artifact lies or would lie.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let (folder, name) = hex.split_at(2);
        self.files.join(folder).join(format!("{name}.wasm"))
    }

    /// What is known of an artifact, if it is here.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<OnDisk> {
        self.index().get(digest).copied()
    }

    /// All artifacts. As long as none changes it is the same one, so that who has seen it need not look again.
    #[must_use]
    pub fn held(&self) -> Arc<Index> {
        Arc::clone(&self.index())
    }

    /// The time by which artifacts age, Unix milliseconds: no jump of the wall clock makes them older.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let mut age = self.age.lock().unwrap_or_else(PoisonError::into_inner);
        age.moment(clock::unix_ms(), clock::now()).age_ms
    }

    /// Wakes whenever an artifact came, was renewed or went.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Begins an artifact's grace anew. None when it is not here, or not any more.
    ///
    /// # Errors
    /// When the file's time cannot be written.
    pub fn renew(&self, digest: &Digest, now_ms: u64) -> Result<Option<OnDisk>, ArtifactError> {
        let changing = self.changing();
        let Some(held) = self.get(digest) else { return Ok(None) };
        let path = self.path(digest);
        match stamp(&path, now_ms) {
            Ok(()) => {}
            Err(error) if os::tells_loss(&error) => {
                self.give_up(digest, &error);
                return Ok(None);
            }
            Err(error) => return Err(ArtifactError::io(&path)(error)),
        }
        let held = OnDisk { renewed_ms: now_ms, ..held };
        Arc::make_mut(&mut self.index()).insert(*digest, held);
        drop(changing);
        self.changed();
        Ok(Some(held))
    }

    /// Removes an artifact that was not renewed for longer than `older_than`.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(
        &self,
        digest: &Digest,
        older_than: Duration,
        now_ms: u64,
    ) -> Result<Removed, ArtifactError> {
        let changing = self.changing();
        let Some(held) = self.get(digest) else { return Ok(Removed::Absent) };
        let age_ms = held.age_ms(now_ms);
        if age_ms <= clock::millis(older_than) {
            return Ok(Removed::TooYoung { age_ms });
        }
        self.unlink(digest)?;
        Arc::make_mut(&mut self.index()).remove(digest);
        drop(changing);
        self.changed();
        Ok(Removed::Yes)
    }

    /// Begins to take an artifact of `size` bytes.
    ///
    /// # Errors
    /// When it is too large or the temporary file cannot be made.
    pub fn begin(self: &Arc<Self>, digest: Digest, size: u64) -> Result<Receiving, ArtifactError> {
        if size > ARTIFACT_SIZE_MAX {
            return Err(ArtifactError::TooLarge { size, max: ARTIFACT_SIZE_MAX });
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp.join(format!("{}-{number}", digest.hex()));
        Receiving::create(Arc::clone(self), path, digest, size)
    }

    /// Gives a complete, synced temporary file its name. Durable when this returns.
    pub(super) fn adopt(&self, tmp: &Path, digest: &Digest, held: OnDisk) -> Result<(), ArtifactError> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.files);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(ArtifactError::io(folder))?;
            sync(&self.files)?;
        }
        stamp(tmp, held.renewed_ms).map_err(ArtifactError::io(tmp))?;
        let changing = self.changing();
        fs::rename(tmp, &path).map_err(ArtifactError::io(&path))?;
        sync(folder)?;
        Arc::make_mut(&mut self.index()).insert(*digest, held);
        drop(changing);
        self.changed();
        Ok(())
    }

    fn unlink(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ArtifactError::io(&path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, Arc<Index>> {
        // Each change of the map is one call: a panic cannot leave it half-done.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Runs what may wait for the disk where it holds up nothing else.
///
/// # Errors
/// What the work fails with, or [`ArtifactError::Stopped`].
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ArtifactError::Stopped))
}

/// The digest of what was hashed.
pub(super) fn finish(hash: Sha256) -> Digest {
    Digest::new(hash.finalize().into())
}

fn scan(files: &Path) -> Result<BTreeMap<Digest, OnDisk>, ArtifactError> {
    let mut index = BTreeMap::new();
    for folder in entries(files)? {
        for path in entries(&folder)? {
            let Some(digest) = digest_of(&folder, &path) else {
                tracing::warn!(file = %path.display(), "this file is no artifact and is left alone");
                continue;
            };
            let data = fs::metadata(&path).map_err(ArtifactError::io(&path))?;
            let modified = data.modified().map_err(ArtifactError::io(&path))?;
            let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            index.insert(digest, OnDisk { size: data.len(), renewed_ms: clock::millis(since) });
        }
    }
    Ok(index)
}

/// What lies in a folder; a file where a folder was expected holds nothing.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(ArtifactError::io(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(error) => Err(ArtifactError::io(folder)(error)),
    }
}

fn digest_of(folder: &Path, path: &Path) -> Option<Digest> {
    let first = folder.file_name()?.to_str()?;
    let rest = path.file_name()?.to_str()?.strip_suffix(".wasm")?;
    (first.len() == 2 && path.is_file()).then(|| format!("{first}{rest}").parse().ok())?
}

fn stamp(path: &Path, now_ms: u64) -> io::Result<()> {
    let time: SystemTime = UNIX_EPOCH + Duration::from_millis(now_ms);
    File::options().append(true).open(path)?.set_modified(time)
}

fn sync(folder: &Path) -> Result<(), ArtifactError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ArtifactError::io(folder))
}
