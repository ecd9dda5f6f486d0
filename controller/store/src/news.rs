//! What a replica tells of the changes that it applies: that messages are ready, and that an invocation's record changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::InvocationId;
use coracle_raft::{Change, Observer, Position, View};
use tokio::sync::{Notify, watch};

use crate::model::{self, Touched};

/// Invocations that may be waited for at once. Who comes beyond is told to ask again.
const FOLLOWED_MAX: usize = 10_000;

/// Of one replica.
#[derive(Debug)]
pub(crate) struct News {
    ready: watch::Sender<u64>,
    followed: Mutex<HashMap<InvocationId, Arc<Notify>>>,
}

/// Somebody waits for an invocation; until this is dropped.
#[derive(Debug)]
pub(crate) struct Followed {
    news: Arc<News>,
    invocation: InvocationId,
    changed: Arc<Notify>,
}

impl News {
    pub(crate) fn new() -> Self {
        Self { ready: watch::Sender::new(0), followed: Mutex::default() }
    }

    /// Told whenever there may be messages to claim.
    pub(crate) fn ready(&self) -> watch::Receiver<u64> {
        self.ready.subscribe()
    }

    /// To be told when the invocation's record changes; none where too many are followed already.
    pub(crate) fn follow(self: &Arc<Self>, invocation: InvocationId) -> Option<Followed> {
        let mut followed = self.followed();
        if followed.len() >= FOLLOWED_MAX && !followed.contains_key(&invocation) {
            return None;
        }
        let changed = Arc::clone(followed.entry(invocation).or_default());
        drop(followed);
        Some(Followed { news: Arc::clone(self), invocation, changed })
    }

    fn tell(&self, changes: &[Change]) {
        let mut ready = false;
        for change in changes.iter().filter(|change| change.value.is_some()) {
            match model::touched(&change.key) {
                Some(Touched::Ready) => ready = true,
                Some(Touched::Invocation(id)) => {
                    if let Some(changed) = self.followed().get(&id) {
                        changed.notify_waiters();
                    }
                }
                None => {}
            }
        }
        if ready {
            self.ready.send_modify(|number| *number = number.wrapping_add(1));
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<InvocationId, Arc<Notify>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Ends with the next change. What is read between this and its first poll is not missed where it was enabled before.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut followed = self.news.followed();
        // The map's own and this one: nobody else waits.
        if Arc::strong_count(&self.changed) <= 2 {
            followed.remove(&self.invocation);
        }
    }
}

impl Observer<View> for News {
    fn applied(&self, _: &View, batch: &[(Position, Vec<Change>)]) {
        for (_, changes) in batch {
            self.tell(changes);
        }
    }

    fn replaced(&self, _: Position, _: &View) {
        for changed in self.followed().values() {
            changed.notify_waiters();
        }
        self.ready.send_modify(|number| *number = number.wrapping_add(1));
    }
}
