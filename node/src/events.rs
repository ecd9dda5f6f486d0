//! Messages of queues: taken from the stores, run as any call is, and settled (docs/adr/0014).
//!
//! For each data group one request to its leader is under way at a time: it says what this node runs and how much more it would,
//! and brings messages, and news of what is not wanted any more. Each message is a task: its attempt, then the word of it.

mod again;
mod answer;
mod attempt;
mod batch;
mod crowd;
mod json;
mod named;
mod narrow;
mod offers;
mod request;
mod running;
mod sent;
mod settle;
mod span;
mod take;
#[cfg(test)]
mod tests;
mod together;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{GroupId, NodeId};
use tokio::runtime::Handle;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::again::Again;
use self::offers::Offers;
use self::take::Taker;
use crate::clock;
use crate::dispatch::Dispatcher;
use crate::front::NEWS_TIMEOUT;
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::view::ViewHandle;

/// Messages that a node runs at once: each may have a body of 64 KiB and an answer of as much here, and its attempt and its
/// settlement each take a place in an entry of its group's log.
pub const AT_ONCE_MAX: u32 = 256;

/// What could not be run here comes again after so long the first time.
const OFFERED_MIN: Duration = Duration::from_millis(100);
/// However often it was.
const OFFERED_MAX: Duration = Duration::from_secs(5);

/// What a node does about messages.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Who this is.
    pub node: NodeId,
    /// Messages that it runs at once, of all groups.
    pub at_once_max: u32,
    /// How long those that run may take to end once it is stopped.
    pub drain_timeout: Duration,
    /// A node that has just started knows what its view on disk says: for so long it takes nothing before a controller's
    /// first word.
    pub news_timeout: Duration,
}

impl Options {
    /// Those of a node that runs so many calls at once.
    #[must_use]
    pub fn new(node: NodeId, running_max: u32, drain_timeout: Duration) -> Self {
        let at_once_max = AT_ONCE_MAX.min(running_max);
        Self { node, at_once_max, drain_timeout, news_timeout: NEWS_TIMEOUT }
    }
}

/// Takes messages and has them run.
pub struct Events {
    inner: Arc<Inner>,
}

/// What all groups' messages share.
struct Inner {
    options: Options,
    view: ViewHandle,
    stores: Stores,
    dispatcher: Dispatcher,
    metrics: Arc<Metrics>,
    /// Of the threads on which guests run.
    calls: Handle,
    /// Of this start of the process.
    session: u64,
    /// Of what could not be run here.
    offers: Offers,
    again: Again,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Events {
    /// For whoever the dispatcher reaches. Guests of this node run on the threads of `calls`.
    #[must_use]
    pub fn new(
        options: Options,
        view: ViewHandle,
        stores: Stores,
        dispatcher: Dispatcher,
        metrics: Arc<Metrics>,
        calls: Handle,
    ) -> Self {
        let session = rand::random();
        let (offers, again) = (Offers::new(OFFERED_MIN, OFFERED_MAX), Again::default());
        let inner = Inner { options, view, stores, dispatcher, metrics, calls, session, offers, again };
        Self { inner: Arc::new(inner) }
    }

    /// Takes messages until `stop`; then lets those that run end, in the time that the options give them.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.heard()).await;
        let mut changes = self.inner.view.subscribe();
        let (mut takers, mut tasks) = (BTreeMap::new(), JoinSet::new());
        while !stop.is_cancelled() {
            let groups = self.inner.stores.groups();
            self.follow(&groups, &mut takers, &mut tasks, &stop);
            tokio::select! {
                () = stop.cancelled() => {}
                // The sender is in the handle that this has.
                _ = changes.changed() => {}
                // A group that is back is taken from once its old task has ended.
                Some(ended) = tasks.join_next_with_id() => forget(&mut takers, ended),
            }
        }
        while let Some(ended) = tasks.join_next_with_id().await {
            forget(&mut takers, ended);
        }
    }

    /// Has a task for each group, and lets those of groups that are gone end.
    fn follow(
        &self,
        groups: &[GroupId],
        takers: &mut Takers,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        for (group, (own, _)) in &*takers {
            if !groups.contains(group) {
                own.cancel();
            }
        }
        for group in groups {
            takers.entry(*group).or_insert_with(|| {
                let own = stop.child_token();
                let taker = Taker::new(Arc::clone(&self.inner), *group);
                let id = tasks.spawn(taker.run(own.clone())).id();
                (own, id)
            });
        }
    }

    /// Waits for a controller's first word since this process started, while one is likely: what a message is for may be
    /// newer than the view on disk. Without a controller that one has to do.
    async fn heard(&self) {
        let (mut changes, by) = (self.inner.view.subscribe(), clock::now() + self.inner.options.news_timeout);
        let told = changes.wait_for(|_| self.inner.view.load().routing.told);
        if tokio::time::timeout_at(by.into(), told).await.is_ok() {
            return;
        }
        // One that is telling will have told.
        let settled = |_: &u64| {
            let view = self.inner.view.load();
            view.routing.told || !view.routing.following
        };
        let _ = changes.wait_for(settled).await;
    }
}

/// Of each group: what stops the task that takes from it, and which that is.
type Takers = BTreeMap<GroupId, (CancellationToken, Id)>;

fn forget(takers: &mut Takers, ended: Result<(Id, ()), JoinError>) {
    let id = match ended {
        Ok((id, ())) => id,
        Err(error) => {
            tracing::error!(%error, "the task that takes a group's messages failed");
            error.id()
        }
    };
    takers.retain(|_, (_, task)| *task != id);
}

impl Inner {
    /// Whether what is not in the view is nowhere: a controller keeps it up to date.
    fn is_current(&self) -> bool {
        let view = self.view.load();
        view.routing.told && view.routing.following
    }

    /// Messages of one group that run at once.
    fn bound(&self) -> usize {
        let groups = self.stores.groups().len().max(1);
        (self.options.at_once_max as usize / groups).max(1)
    }
}
