//! Takes away chunks that belong to nothing, by what this member has applied: an upload that its state has passed and does not know has
//! ended, for ever. Nobody else is asked (docs/adr/0018).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coracle_raft::View;
use tracing::{debug, warn};

use super::file::BESIDE;
use super::name::run_of;
use super::{ChunkError, GroupChunks, in_place};
use crate::clock;
use crate::model::{self, Standing, UploadId};
use crate::replicas::Replica;

/// It is looked this often at most: each time all names of files are read.
const LOOK_EVERY: Duration = Duration::from_secs(5 * 60);
/// A file that is being written may be as old.
pub(crate) const WRITTEN_WITHIN: Duration = Duration::from_secs(60 * 60);

/// Since when what lies at a path was seen to be garbage.
type Since = BTreeMap<PathBuf, Instant>;

/// Runs until it is dropped.
pub(crate) async fn garbage(chunks: GroupChunks, replica: Replica) {
    let mut since = Since::new();
    loop {
        let (own, replica, known) = (chunks.clone(), replica.clone(), since.clone());
        match chunks.aside(move || round(&own, &replica, known)).await {
            Ok(seen) => since = seen,
            Err(error) => warn!(group = %chunks.group, %error, "garbage among the chunks is not taken away"),
        }
        tokio::time::sleep((chunks.limits.grace / 3).min(LOOK_EVERY)).await;
    }
}

/// One look at all files. What has been garbage for the grace goes.
fn round(chunks: &GroupChunks, replica: &Replica, since: Since) -> Result<Since, ChunkError> {
    let (now, grace) = (clock::now(), chunks.limits.grace);
    let mut read = chunks.read.lock().unwrap_or_else(PoisonError::into_inner);
    read.retain(|_, last| now.saturating_duration_since(*last) < grace);
    let being_read = read.keys().copied().collect();
    drop(read);
    let mut look = Look { chunks, since, now, being_read, seen: Since::new(), bytes: 0 };
    let uploads = entries(&chunks.folder)?;
    // Later than the names: what they are of has begun by then, or is to come.
    let view = replica.state();
    for (upload, path) in uploads {
        match UploadId::parse(&upload) {
            // The others go on: what is wrong with one is wrong with it each time.
            Ok(id) => {
                if let Err(error) = look.upload(&view, id, &path) {
                    warn!(group = %chunks.group, upload = %id, %error, "chunks of an upload are not looked at");
                }
            }
            Err(_) => debug!(path = %path.display(), "this is no upload's folder, and stays"),
        }
    }
    chunks.counts.bytes.store(look.bytes, Ordering::Relaxed);
    Ok(look.seen)
}

struct Look<'a> {
    chunks: &'a GroupChunks,
    since: Since,
    now: Instant,
    /// Within the grace.
    being_read: BTreeSet<UploadId>,
    seen: Since,
    bytes: u64,
}

impl Look<'_> {
    fn upload(&mut self, view: &View, id: UploadId, folder: &Path) -> Result<(), ChunkError> {
        let standing = model::standing(view, id);
        let standing = standing.map_err(|stop| ChunkError::Disk {
            path: folder.to_owned(),
            source: io::Error::other(stop.to_string()),
        })?;
        let files = entries(folder)?;
        let is_over = standing == Standing::Ended && self.is_over(folder, self.chunks.limits.grace);
        if is_over && !self.being_read.contains(&id) {
            debug!(group = %self.chunks.group, upload = %id, "chunks of an upload that has ended go");
            return removed(fs::remove_dir_all(folder), folder);
        }
        let runs = match &standing {
            Standing::Committed(parts) => Some(parts.iter().map(|part| part.run).collect()),
            Standing::ToCome | Standing::Open | Standing::Ended => None,
        };
        for (file, path) in files {
            if !is_kept(runs.as_ref(), &file) && self.is_over(&path, self.grace(&file)) {
                match removed(fs::remove_file(&path), &path) {
                    Ok(()) => continue,
                    Err(error) => warn!(group = %self.chunks.group, upload = %id, %error, "garbage stays"),
                }
            }
            self.bytes = self.bytes.saturating_add(fs::metadata(&path).map_or(0, |told| told.len()));
        }
        Ok(())
    }

    fn grace(&self, file: &str) -> Duration {
        let grace = self.chunks.limits.grace;
        if file.starts_with(BESIDE) { grace.max(2 * WRITTEN_WITHIN) } else { grace }
    }

    /// Whether what lies there has been garbage for so long.
    fn is_over(&mut self, path: &Path, grace: Duration) -> bool {
        let since = self.since.get(path).copied().unwrap_or(self.now);
        self.seen.insert(path.to_owned(), since);
        self.now.saturating_duration_since(since) >= grace
    }
}

/// Whether a file stays, where these runs are all that a blob names; none: nobody knows yet.
fn is_kept(runs: Option<&BTreeSet<u64>>, file: &str) -> bool {
    match (run_of(file), runs) {
        // Of whoever writes it now, or of one who did not end it.
        (None, _) => !file.starts_with(BESIDE),
        (Some(run), Some(runs)) => runs.contains(&run),
        (Some(_), None) => true,
    }
}

/// Somebody else may have done it, or given it its name.
fn removed(done: io::Result<()>, path: &Path) -> Result<(), ChunkError> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => in_place(done, path),
    }
}

/// What is in a folder, with its names as text; others are left alone. Nothing where there is no folder.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, ChunkError> {
    let read = || -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.path()));
            }
        }
        Ok(found)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => in_place(found, folder),
    }
}
