//! Places of instances, those at rest among them: the engine's pools have as many, and a few more for those that are just
//! being dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::budget::Spare;

/// Counts them.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    max: usize,
}

/// That of one instance, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    pub(super) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max: usize::try_from(max).unwrap_or(usize::MAX) })
    }

    /// Takes one, which may be that of an instance at rest. No more calls are admitted than there are places: where none is
    /// free, one rests, or somebody is dropping one that did. The pools have a reserve for that moment, so that nobody waits.
    pub(super) fn take(self: &Arc<Self>, spare: &dyn Spare) -> Place {
        let place = Place(Arc::clone(self));
        let mut taken = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        while taken > self.max && spare.give_up() {
            taken = self.taken.load(Ordering::Relaxed);
        }
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
