//! How many chunks are written at once: of a group by its places, and of a store by what is left of its disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ChunkError;

/// Chunks of a group that are being sent here at once.
pub(super) const WRITING_MAX: usize = 256;
/// A sender waits for a place so long: its connection holds it back meanwhile.
const PLACE_WITHIN: Duration = Duration::from_secs(10);

/// Of a group. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    within: Duration,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Default for Places {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(WRITING_MAX)), within: PLACE_WITHIN }
    }
}

impl Places {
    /// Who waits gives up sooner.
    #[cfg(test)]
    pub(super) fn wait_for(&mut self, within: Duration) {
        self.within = within;
    }

    /// The first who waits has it first.
    pub(super) async fn of_a_sender(&self) -> Result<Place, ChunkError> {
        let within = self.within;
        let place = tokio::time::timeout(within, Arc::clone(&self.free).acquire_owned()).await;
        // Never closed.
        let place = place.ok().and_then(Result::ok);
        place.map(Place).ok_or(ChunkError::Busy { most: WRITING_MAX, within })
    }
}

/// Chunks that are being written in a store, of whatever group. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun(Arc<AtomicU64>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Begins(Arc<AtomicU64>);

impl Begun {
    pub(super) fn one_more(&self) -> Begins {
        self.0.fetch_add(1, Ordering::Relaxed);
        Begins(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Begins {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
