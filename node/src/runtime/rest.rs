//! Instances at rest: they have served a call, and wait for the next one of the same version.
//!
//! They are bounded in number and in time, count with what they have in memory, and give way to whatever finds no room.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use coracle_proto::id::VersionId;
use coracle_proto::record::Version;
use coracle_proto::spec::Reuse;
use tokio::runtime::Handle;

use super::budget::Spare;
use super::instance::Instance;
use crate::clock;

/// How many rest, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct RestLimits {
    /// Of one version.
    pub version: usize,
    /// Of all.
    pub node: usize,
    /// One that is not called for so long goes.
    pub idle: Duration,
}

impl RestLimits {
    /// Of a version as many as a node of two cores has busy at once when it is well loaded; of all, as many as eight such
    /// versions. A function that nobody calls for half a minute has nothing left in memory.
    pub const DEFAULT: Self = Self { version: 16, node: 128, idle: Duration::from_secs(30) };
}

/// All that rest on this node.
pub(super) struct Rest {
    limits: RestLimits,
    /// Where those are put away that were not called.
    threads: Handle,
    resting: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    /// Of each version that has any, those that began to rest first in front.
    versions: HashMap<VersionId, VecDeque<Rested>>,
    count: usize,
    swept: bool,
}

struct Rested {
    instance: Instance,
    version: Arc<Version>,
    since: Instant,
}

impl Rested {
    /// Whether it is the same down to its grants: a function that was deleted and made anew begins with its first version again.
    fn is_of(&self, version: &Arc<Version>) -> bool {
        Arc::ptr_eq(&self.version, version) || self.version == *version
    }
}

impl Rest {
    pub(super) fn new(limits: RestLimits, threads: Handle) -> Arc<Self> {
        Arc::new(Self { limits, threads, resting: Mutex::default() })
    }

    /// One that may serve another call, of those that rested least.
    pub(super) fn take(&self, version: &Arc<Version>, reuse: Reuse, now: Instant) -> Option<Instance> {
        loop {
            // Those that will not do are dropped without the lock.
            let rested = self.resting().pop(&version.id, VecDeque::pop_back)?;
            if rested.is_of(version) && rested.instance.is_young(reuse, now) {
                return Some(rested.instance);
            }
        }
    }

    /// Has an instance rest, if there is a place for it.
    pub(super) fn keep(self: &Arc<Self>, version: &Arc<Version>, instance: Instance) {
        let now = clock::now();
        let mut resting = self.resting();
        if resting.versions.get(&version.id).is_some_and(|of| of.len() >= self.limits.version) {
            drop(resting);
            return;
        }
        let oldest = if resting.count >= self.limits.node { resting.pop_oldest() } else { None };
        resting.count += 1;
        let rested = Rested { instance, version: Arc::clone(version), since: now };
        resting.versions.entry(version.id.clone()).or_default().push_back(rested);
        let sweeps = !std::mem::replace(&mut resting.swept, true);
        drop(resting);
        drop(oldest);
        if sweeps {
            self.threads.spawn(sweep(Arc::downgrade(self), self.limits.idle));
        }
    }

    /// How many rest.
    pub(super) fn count(&self) -> usize {
        self.resting().count
    }

    /// Puts away those that were not called for too long. False when none is left.
    fn put_away(&self, now: Instant) -> bool {
        let mut resting = self.resting();
        let idle = |rested: &Rested| now.saturating_duration_since(rested.since) >= self.limits.idle;
        let mut gone = Vec::new();
        for of in resting.versions.values_mut() {
            while of.front().is_some_and(idle) {
                gone.extend(of.pop_front());
            }
        }
        resting.versions.retain(|_, of| !of.is_empty());
        resting.count -= gone.len();
        resting.swept = resting.count > 0;
        let left = resting.swept;
        // To give back their memory takes longer than others should wait.
        drop(resting);
        drop(gone);
        left
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spare for Rest {
    fn give_up(&self) -> bool {
        let oldest = self.resting().pop_oldest();
        oldest.is_some()
    }
}

impl Resting {
    fn pop(
        &mut self,
        version: &VersionId,
        which: impl Fn(&mut VecDeque<Rested>) -> Option<Rested>,
    ) -> Option<Rested> {
        let of = self.versions.get_mut(version)?;
        let rested = which(of)?;
        if of.is_empty() {
            self.versions.remove(version);
        }
        self.count -= 1;
        Some(rested)
    }

    /// The one that has rested longest.
    fn pop_oldest(&mut self) -> Option<Rested> {
        let oldest =
            |(version, of): (&VersionId, &VecDeque<Rested>)| Some((of.front()?.since, version.clone()));
        let (_, version) = self.versions.iter().filter_map(oldest).min()?;
        self.pop(&version, VecDeque::pop_front)
    }
}

/// Puts away what was not called, as long as any rest.
async fn sweep(rest: Weak<Rest>, every: Duration) {
    loop {
        tokio::time::sleep(every / 2).await;
        let Some(rest) = rest.upgrade() else { return };
        if !rest.put_away(clock::now()) {
            return;
        }
    }
}
