//! One writer for each digest at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::Digest;
use tokio::sync::OwnedMutexGuard;

type Turns = HashMap<Digest, Arc<tokio::sync::Mutex<()>>>;

/// Hands out one [`Turn`] for each digest; who comes later waits. Holds no more entries than there are waiters.
#[derive(Debug, Default, Clone)]
pub(super) struct Locks(Arc<Mutex<Turns>>);

/// The right to store a digest; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    locks: Locks,
    digest: Digest,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    pub(super) async fn turn(&self, digest: Digest) -> Turn {
        let lock = Arc::clone(self.turns().entry(digest).or_default());
        // Made before it waits, so that a waiter that gives up is cleaned up after as well.
        let mut turn = Turn { locks: self.clone(), digest, guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.locks.turns();
        // Only the map knows it: nobody waits.
        if turns.get(&self.digest).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            turns.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_turn_for_each_digest() {
        let locks = Locks::default();
        let (one, two) = (Digest::new([1; 32]), Digest::new([2; 32]));
        let first = locks.turn(one).await;
        assert!(locks.turn(two).now_or_never().is_some());
        let mut second = Box::pin(locks.turn(one));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(second.await);
        assert!(locks.turns().is_empty());
    }
}
