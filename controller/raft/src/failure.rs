//! What is remembered of a sync that failed: for this process, and for the next one.
//!
//! After a failed sync the system counts the pages that it could not write as clean: a later sync succeeds, a later
//! read gives what was never written, and a power cut takes it away. So nothing of the store is believed any more,
//! not by the next process either. (P. Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020.)

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::disk;

const NAME: &str = "tainted";

/// The failure of one store.
#[derive(Debug)]
pub(crate) struct Failure {
    dir: PathBuf,
    found: watch::Sender<Option<Failed>>,
}

/// What failed of a store: nothing of it is written any more by this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What, and why.
    pub reason: String,
    /// It was a sync: nobody may go on from this store. Otherwise the next process does, from what its log has.
    pub taints: bool,
}

impl Failure {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), found: watch::Sender::new(None) }
    }

    /// A sync failed: remembered on the disk too, if that still takes a file. The first one stays.
    pub(crate) fn sync_failed(&self, what: &str, error: &io::Error) {
        let reason = format!("a sync of {what} failed: {error}");
        // First in memory: the disk may take its time.
        self.remember(reason.clone(), true);
        if let Err(error) = disk::write_whole(&self.dir.join(NAME), reason.as_bytes()) {
            tracing::error!(%error, dir = %self.dir.display(), "the taint was not written");
        }
    }

    /// A write failed, a full disk say. What was acknowledged stands in the log: the next process tries again.
    pub(crate) fn write_failed(&self, what: &str, error: &io::Error) {
        self.remember(format!("writing {what} failed: {error}"), false);
    }

    /// Runs a thread that writes. Whoever relies on it learns of its panic as of a write that failed.
    pub(crate) fn watching(&self, what: &str, run: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            self.write_failed(what, &io::Error::other("its thread panicked"));
            resume_unwind(panic);
        }
    }

    fn remember(&self, reason: String, taints: bool) {
        self.found.send_if_modified(|before| {
            let first = before.is_none();
            if first {
                *before = Some(Failed { reason, taints });
            }
            first
        });
    }

    /// What failed.
    pub(crate) fn found(&self) -> Option<Failed> {
        self.found.borrow().clone()
    }

    /// Follows it.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Failed>> {
        self.found.subscribe()
    }
}

/// What an earlier process left behind: why this store must not be believed.
pub(crate) fn taint(dir: &Path) -> io::Result<Option<String>> {
    let bytes = disk::read_if_there(&dir.join(NAME))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whoever runs the node takes the risk.
pub(crate) fn forget_taint(dir: &Path) -> io::Result<()> {
    std::fs::remove_file(dir.join(NAME))?;
    disk::sync_dir(dir)
}
