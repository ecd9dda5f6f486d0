//! The folder of artifacts: `sha256/ab/cdef….wasm`, each file complete and with the digest that it is named for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coracle_proto::id::Digest;
use coracle_proto::spec::ARTIFACT_SIZE_MAX;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{ArtifactError, CHUNK_BYTES, Incoming};
use crate::clock;

/// What is known of a stored artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Bytes.
    pub size: u64,
    /// When it was stored or renewed, Unix milliseconds: the file's time of modification.
    pub renewed_ms: u64,
}

impl Held {
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

/// The artifacts of one node. All methods may block on the disk: call them from [`super::store::blocking`].
#[derive(Debug)]
pub struct Store {
    files: PathBuf,
    tmp: PathBuf,
    /// The truth is the disk; this saves reading it. Removal and renewal exclude each other through its lock.
    index: Mutex<BTreeMap<Digest, Held>>,
    /// Makes names of temporary files unique.
    counter: AtomicU64,
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
        let index = Mutex::new(scan(&files)?);
        let changes = watch::Sender::new(0);
        Ok(Arc::new(Self { files, tmp, index, counter: AtomicU64::new(0), changes }))
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
    pub fn get(&self, digest: &Digest) -> Option<Held> {
        self.index().get(digest).copied()
    }

    /// All artifacts.
    #[must_use]
    pub fn held(&self) -> BTreeMap<Digest, Held> {
        self.index().clone()
    }

    /// Wakes whenever an artifact came, was renewed or went.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Begins an artifact's grace anew. None when it is not here.
    ///
    /// # Errors
    /// When the file's time cannot be written.
    pub fn renew(&self, digest: &Digest, now_ms: u64) -> Result<Option<Held>, ArtifactError> {
        let mut index = self.index();
        let Some(held) = index.get_mut(digest) else { return Ok(None) };
        let path = self.path(digest);
        stamp(&path, now_ms)?;
        held.renewed_ms = now_ms;
        let held = *held;
        drop(index);
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
        let mut index = self.index();
        let Some(held) = index.get(digest) else { return Ok(Removed::Absent) };
        let age_ms = held.age_ms(now_ms);
        if age_ms <= clock::millis(older_than) {
            return Ok(Removed::TooYoung { age_ms });
        }
        self.unlink(digest, &mut index)?;
        drop(index);
        self.changed();
        Ok(Removed::Yes)
    }

    /// Reads the file and compares its hash; one that rotted is removed, since it is not what its name says.
    /// Returns whether it is whole.
    ///
    /// # Errors
    /// When it cannot be read or removed.
    pub fn verify(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        let path = self.path(digest);
        if hash_of(&path).map_err(ArtifactError::io(&path))? == *digest {
            return Ok(true);
        }
        tracing::error!(%digest, "a stored artifact has changed on disk: it is fetched anew");
        self.unlink(digest, &mut self.index())?;
        self.changed();
        Ok(false)
    }

    /// Begins to take an artifact of `size` bytes.
    ///
    /// # Errors
    /// When it is too large or the temporary file cannot be made.
    pub fn begin(self: &Arc<Self>, digest: Digest, size: u64) -> Result<Incoming, ArtifactError> {
        if size > ARTIFACT_SIZE_MAX {
            return Err(ArtifactError::TooLarge { size, max: ARTIFACT_SIZE_MAX });
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp.join(format!("{}-{number}", digest.hex()));
        Incoming::create(Arc::clone(self), path, digest, size)
    }

    /// Gives a complete, synced temporary file its name. Durable when this returns.
    pub(super) fn adopt(&self, tmp: &Path, digest: &Digest, held: Held) -> Result<(), ArtifactError> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.files);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(ArtifactError::io(folder))?;
            sync(&self.files)?;
        }
        stamp(tmp, held.renewed_ms)?;
        let mut index = self.index();
        fs::rename(tmp, &path).map_err(ArtifactError::io(&path))?;
        sync(folder)?;
        index.insert(*digest, held);
        drop(index);
        self.changed();
        Ok(())
    }

    fn unlink(&self, digest: &Digest, index: &mut BTreeMap<Digest, Held>) -> Result<(), ArtifactError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ArtifactError::io(&path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        index.remove(digest);
        Ok(())
    }

    fn index(&self) -> MutexGuard<'_, BTreeMap<Digest, Held>> {
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

fn hash_of(path: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(finish(hash)),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn scan(files: &Path) -> Result<BTreeMap<Digest, Held>, ArtifactError> {
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
            index.insert(digest, Held { size: data.len(), renewed_ms: clock::millis(since) });
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
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(error) => Err(ArtifactError::io(folder)(error)),
    }
}

fn digest_of(folder: &Path, path: &Path) -> Option<Digest> {
    let first = folder.file_name()?.to_str()?;
    let rest = path.file_name()?.to_str()?.strip_suffix(".wasm")?;
    (first.len() == 2 && path.is_file()).then(|| format!("{first}{rest}").parse().ok())?
}

fn stamp(path: &Path, now_ms: u64) -> Result<(), ArtifactError> {
    let file = File::options().append(true).open(path).map_err(ArtifactError::io(path))?;
    let time: SystemTime = UNIX_EPOCH + Duration::from_millis(now_ms);
    file.set_modified(time).map_err(ArtifactError::io(path))
}

fn sync(folder: &Path) -> Result<(), ArtifactError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ArtifactError::io(folder))
}
