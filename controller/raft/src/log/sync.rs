//! The one door for the syncs of a log: each is measured, and one that fails is never forgotten.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::disk;
use crate::failure::Failure;
use crate::faults;
use crate::metrics::StoreMetrics;

/// What is synced.
pub(crate) const RECORDS: &str = "the log";
pub(crate) const FULL_SEGMENT: &str = "a full segment of the log";
pub(crate) const NEW_SEGMENT: &str = "a new segment of the log";
pub(crate) const TORN_TAIL: &str = "the torn tail of the log";

/// How a log syncs.
#[derive(Debug, Clone)]
pub(crate) struct Syncs {
    dir: PathBuf,
    pub(crate) failure: Arc<Failure>,
    pub(crate) metrics: Arc<StoreMetrics>,
}

impl Syncs {
    /// Of the log in a folder.
    pub(crate) fn new(dir: &Path, failure: &Arc<Failure>) -> Self {
        Self { dir: dir.to_owned(), failure: Arc::clone(failure), metrics: Arc::default() }
    }

    /// Syncs. After a sync that failed the pages that it did not write count as clean for the system: no later one can
    /// be believed. A segment that was never used is made anew when the disk has room again.
    #[expect(clippy::disallowed_methods, reason = "the length of a sync is measured where it happens")]
    pub(super) fn run(&self, what: &str, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let start = Instant::now();
        let synced = faults::at_sync(&self.dir, what).and_then(|()| sync());
        synced.inspect_err(|error| {
            if what != NEW_SEGMENT || !disk::is_full(error) {
                self.failure.sync_failed(what, error);
            }
        })?;
        self.metrics.synced(start.elapsed());
        Ok(())
    }
}
