//! What a connection is used for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// Requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    unread: watch::Sender<u32>,
}

/// A request that is open; dropping it ends it.
#[derive(Debug)]
pub(super) struct Request(Arc<Activity>);

/// The body of a request that was not read to its end yet.
#[derive(Debug)]
pub(super) struct Unread(Arc<Activity>);

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

    /// A request's body is to be read.
    pub(super) fn unread(self: &Arc<Self>) -> Unread {
        self.unread.send_modify(|bodies| *bodies = bodies.saturating_add(1));
        Unread(Arc::clone(self))
    }

    /// Ends when a body is there that was not read to its end.
    pub(super) async fn any_unread(&self) {
        // The sender is this.
        let _ = self.unread.subscribe().wait_for(|bodies| *bodies > 0).await;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.0.unread.send_modify(|bodies| *bodies = bodies.saturating_sub(1));
    }
}
