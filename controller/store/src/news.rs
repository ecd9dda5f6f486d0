//! What a replica tells of the changes that it applies: that messages are ready, that an invocation's record changed, which schedules did,
//! that blobs were committed, and which uploads have new parts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::InvocationId;
use coracle_raft::{Change, Observer, Position, View};
use tokio::sync::{Notify, watch};

use crate::model::{self, Place, SCHEDULES_MAX, Touched, UploadId};

/// Invocations that may be waited for at once. Who comes beyond is told to ask again.
pub(crate) const FOLLOWED_MAX: usize = 10_000;

/// Schedules that are remembered as changed, for who takes them: where there were more all are looked at.
const CHANGED_MAX: u64 = SCHEDULES_MAX;

/// Schedules that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Nobody knows which.
    All,
    /// These.
    These(BTreeSet<Place>),
}

/// Uploads that are remembered to have new parts: beyond that it is as if all of them had.
const PARTED_MAX: usize = 1000;

/// How often blobs were committed that came by uploads or parts put, and how often all of them may be others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Commits {
    made: u64,
    pub(crate) replaced: u64,
}

/// Of one replica.
#[derive(Debug)]
pub(crate) struct News {
    ready: watch::Sender<u64>,
    followed: Mutex<HashMap<InvocationId, Arc<Notify>>>,
    schedules: Mutex<Changed>,
    /// Told when there are some.
    scheduled: Notify,
    commits: watch::Sender<Commits>,
    /// Uploads that have new parts.
    parted: Mutex<BTreeSet<UploadId>>,
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
        Self {
            ready: watch::Sender::new(0),
            followed: Mutex::default(),
            schedules: Mutex::new(Changed::All),
            scheduled: Notify::new(),
            commits: watch::Sender::new(Commits::default()),
            parted: Mutex::default(),
        }
    }

    /// Told whenever there may be messages to claim.
    pub(crate) fn ready(&self) -> watch::Receiver<u64> {
        self.ready.subscribe()
    }

    /// Uploads that have new parts since this was asked last.
    pub(crate) fn take_parted(&self) -> BTreeSet<UploadId> {
        std::mem::take(&mut *self.parted())
    }

    /// Told whenever blobs were committed that came by uploads, parts of uploads were put, or all of them may be others.
    pub(crate) fn commits(&self) -> watch::Receiver<Commits> {
        self.commits.subscribe()
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

    /// Schedules that changed since this was asked last; all of them the first time.
    pub(crate) fn take_schedules(&self) -> Changed {
        std::mem::replace(&mut *self.schedules(), Changed::These(BTreeSet::new()))
    }

    /// Ends when some changed since they were taken last. For one who waits.
    pub(crate) async fn schedules_changed(&self) {
        self.scheduled.notified().await;
    }

    fn tell(&self, changes: &[Change]) {
        let (mut ready, mut committed) = (false, false);
        for change in changes {
            let written = change.value.is_some();
            match model::touched(&change.key) {
                Some(Touched::Ready) => ready |= written,
                Some(Touched::Schedule(place)) => self.tell_schedule(place),
                Some(Touched::Commit) => committed |= written,
                Some(Touched::Parts(upload)) if written => {
                    self.tell_parts(upload);
                    committed = true;
                }
                Some(Touched::Invocation(id)) if written => {
                    if let Some(changed) = self.followed().get(&id) {
                        changed.notify_waiters();
                    }
                }
                Some(Touched::Invocation(_) | Touched::Parts(_)) | None => {}
            }
        }
        if ready {
            self.ready.send_modify(|number| *number = number.wrapping_add(1));
        }
        if committed {
            self.commits.send_modify(|commits| commits.made = commits.made.wrapping_add(1));
        }
    }

    /// Where they are more than can be remembered, all are looked at.
    fn tell_parts(&self, upload: UploadId) {
        let mut parted = self.parted();
        parted.insert(upload);
        if parted.len() > PARTED_MAX {
            parted.clear();
            self.commits.send_modify(|commits| commits.replaced = commits.replaced.wrapping_add(1));
        }
    }

    fn tell_schedule(&self, place: Place) {
        let mut changed = self.schedules();
        if let Changed::These(places) = &mut *changed {
            places.insert(place);
            if u64::try_from(places.len()).is_ok_and(|count| count > CHANGED_MAX) {
                *changed = Changed::All;
            }
        }
        drop(changed);
        self.scheduled.notify_one();
    }

    fn parted(&self) -> MutexGuard<'_, BTreeSet<UploadId>> {
        self.parted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedules(&self) -> MutexGuard<'_, Changed> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<InvocationId, Arc<Notify>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Ends with the next change. What is read between this and its first poll is not missed where it was enabled
    /// before.
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
        *self.schedules() = Changed::All;
        self.scheduled.notify_one();
        for changed in self.followed().values() {
            changed.notify_waiters();
        }
        self.commits.send_modify(|commits| commits.replaced = commits.replaced.wrapping_add(1));
        self.ready.send_modify(|number| *number = number.wrapping_add(1));
    }
}
