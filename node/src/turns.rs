//! Turns at compiling: whoever compiles on this node, for an upload or an assignment, takes one first.

pub mod queue;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::Namespace;
use tokio::sync::watch;

use crate::clock;
use queue::Queue;

/// The turns of one node.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changes: watch::Sender<u64>,
    /// What the queue's times count from.
    origin: Instant,
}

/// One compilation's turn, from when it is announced. It is given up, or back, when this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    number: u64,
}

impl Default for Turns {
    fn default() -> Self {
        let (queue, changes) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Shared { queue, changes, origin: clock::now() }))
    }
}

impl Turns {
    /// Says that so many bytes will be compiled here, for a function of that namespace.
    #[must_use]
    pub fn announce(&self, namespace: Namespace, bytes: u64) -> Turn {
        let number = self.queue().announce(namespace, bytes);
        Turn { turns: self.clone(), number }
    }

    /// Bytes that are to be compiled here, whether they wait, run or are on their way.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.queue().work()
    }

    /// How many are compiled before each [`Turn::number`] that waits.
    #[must_use]
    pub fn ahead(&self) -> BTreeMap<u64, u32> {
        self.queue().ahead()
    }

    /// Wakes at each change of who waits.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.queue());
        self.0.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is one call that cannot end half-done.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// By which [`Turns::ahead`] tells of it.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns when it is its turn, which lasts until this is dropped.
    pub async fn begin(&self) {
        let mut changes = self.turns.changes();
        let now = clock::now().saturating_duration_since(self.turns.0.origin);
        self.turns.change(|queue| queue.enter(self.number, now));
        // Never closed: this has the sender.
        let _ = changes.wait_for(|_| self.turns.queue().runs(self.number)).await;
    }

    /// How many are compiled before it; none while it waits for nothing.
    #[must_use]
    pub fn ahead(&self) -> Option<u32> {
        self.turns.ahead().get(&self.number).copied()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.change(|queue| queue.leave(self.number));
    }
}

/// Waits for `work`, and tells every now and then for how long it has.
pub(crate) async fn telling<T>(
    work: impl Future<Output = T>,
    every: Duration,
    mut tell: impl FnMut(Duration),
) -> T {
    let began = clock::now();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(every) => tell(clock::now().saturating_duration_since(began)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_turn_is_taken_and_given_back() {
        let turns = Turns::default();
        let [first, second, third] = [9, 9, 1].map(|mib| turns.announce(Namespace::default(), mib << 20));
        assert_eq!((turns.work(), first.ahead()), (19 << 20, None));
        first.begin().await;
        assert!(second.begin().now_or_never().is_none());
        assert_eq!((second.ahead(), first.ahead()), (Some(1), None));
        third.begin().await;
        let mut changes = turns.changes();
        drop(first);
        assert!(changes.changed().await.is_ok());
        assert!(second.begin().now_or_never().is_some(), "it may ask again");
        drop((second, third));
        assert_eq!(turns.work(), 0);
    }
}
