//! The view as the rest of the node holds it: read without a lock, told of changes.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use coracle_proto::id::ClusterId;
use tokio::sync::watch;

use super::View;

/// A cheap handle on the view.
#[derive(Debug, Clone)]
pub struct ViewHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    view: ArcSwap<View>,
    /// One writer at a time: the two scopes come by different streams.
    writing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl ViewHandle {
    /// An empty view of a cluster.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self::with(View { cluster, ..View::default() })
    }

    /// A view that is already known.
    #[must_use]
    pub fn with(view: View) -> Self {
        let view = ArcSwap::from_pointee(view);
        Self { inner: Arc::new(Inner { view, writing: Mutex::new(()), changed: watch::Sender::new(0) }) }
    }

    /// The view as it is now.
    #[must_use]
    pub fn load(&self) -> Arc<View> {
        self.inner.view.load_full()
    }

    /// Tells of each change; some may be skipped. The number only grows.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Changes the view, if `change` says that it did.
    pub fn update(&self, change: impl FnOnce(&mut View) -> bool) {
        let writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = View::clone(&self.inner.view.load());
        if change(&mut view) {
            view.number = view.number.wrapping_add(1);
            self.inner.view.store(Arc::new(view));
            drop(writing);
            self.inner.changed.send_modify(|number| *number = number.wrapping_add(1));
        }
    }
}
