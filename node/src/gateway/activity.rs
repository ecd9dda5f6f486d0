//! Whether a connection is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request that is open; dropping it ends it.
#[derive(Debug)]
pub(super) struct Request(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Request(Arc::clone(self))
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether none is open.
    pub(super) fn idle(&self) -> bool {
        self.ended.load(Ordering::Relaxed) == self.begun()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
