//! What a connection is used for.

use std::sync::Arc;

use coracle_ports::{Asking, Usage};
use tokio::sync::watch;

/// Requests of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    usage: Arc<Usage>,
    unread: watch::Sender<u32>,
}

/// A request that is open; dropping it ends it.
#[derive(Debug)]
pub(super) struct Request(#[expect(dead_code, reason = "held until it is dropped")] Asking);

/// The body of a request that was not read to its end yet.
#[derive(Debug)]
pub(super) struct Unread(Arc<Activity>);

impl Activity {
    /// Of a connection that counts its requests there.
    pub(super) fn new(usage: &Arc<Usage>) -> Self {
        Self { usage: Arc::clone(usage), unread: watch::Sender::default() }
    }

    pub(super) fn begin(&self) -> Request {
        Request(self.usage.begin())
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.usage.begun()
    }

    /// Whether none is open.
    pub(super) fn idle(&self) -> bool {
        self.usage.is_idle()
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

impl Drop for Unread {
    fn drop(&mut self) {
        self.0.unread.send_modify(|bodies| *bodies = bodies.saturating_sub(1));
    }
}
