//! Instances at rest: they have served a call, and wait for the next one of the same version.
//!
//! They are bounded in number and in time, count with what they have in memory, and give way to whatever finds no room.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use coracle_proto::id::VersionId;
use coracle_proto::record::Version;
use tokio::runtime::Handle;

use super::budget::Spare;
use super::call::Ending;
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
    /// Of the answer of its last call: it serves no other one before that is known to be whole.
    ending: Ending,
}

impl Rested {
    /// Whether it is the same down to its grants: a function that was deleted and made anew begins with its first version again.
    fn is_of(&self, version: &Arc<Version>) -> bool {
        Arc::ptr_eq(&self.version, version) || self.version == *version
    }

    /// Whether it serves no other call, whatever comes: its answer failed after all, or it has grown too old.
    fn is_spent(&self, now: Instant) -> bool {
        let young = self.version.spec.reuse().is_some_and(|reuse| self.instance.is_young(reuse, now));
        self.ending.is_broken() || !young
    }
}

impl Rest {
    pub(super) fn new(limits: RestLimits, threads: Handle) -> Arc<Self> {
        Arc::new(Self { limits, threads, resting: Mutex::default() })
    }

    /// One that may serve another call, of those that rested least.
    pub(super) fn take(&self, version: &Arc<Version>, now: Instant) -> Option<Instance> {
        loop {
            let rested =
                self.pop(&version.id, |of| of.iter().rposition(|rested| !rested.ending.is_open()))?;
            if rested.is_of(version) && !rested.is_spent(now) {
                return Some(rested.instance);
            }
            // To give back its memory takes longer than others should wait for the lock.
            drop(rested);
        }
    }

    /// Has an instance rest, if there is a place for it. `ending` is that of its call's answer.
    pub(super) fn keep(self: &Arc<Self>, version: &Arc<Version>, instance: Instance, ending: Ending) {
        let now = clock::now();
        let mut resting = self.resting();
        let is_full = resting.versions.get(&version.id).is_some_and(|of| of.len() >= self.limits.version);
        let gone = if is_full {
            resting.pop(&version.id, |of| of.iter().position(|rested| rested.is_spent(now)))
        } else if resting.count >= self.limits.node {
            resting.pop_oldest()
        } else {
            None
        };
        if is_full && gone.is_none() {
            drop(resting);
            return;
        }
        resting.count += 1;
        let rested = Rested { instance, version: Arc::clone(version), since: now, ending };
        resting.versions.entry(version.id.clone()).or_default().push_back(rested);
        let sweeps = !std::mem::replace(&mut resting.swept, true);
        drop(resting);
        drop(gone);
        if sweeps {
            self.threads.spawn(sweep(Arc::downgrade(self), self.limits.idle));
        }
    }

    /// Drops all of a version.
    pub(super) fn forget(&self, version: &VersionId) {
        self.drop_those(version, |_| true);
    }

    /// Drops those of a version whose answer failed after all.
    pub(super) fn drop_broken(&self, version: &VersionId) {
        self.drop_those(version, |rested| rested.ending.is_broken());
    }

    /// One by one, each without the lock: what is neither at rest nor free yet is missing to whoever looks for room.
    fn drop_those(&self, version: &VersionId, which: impl Fn(&Rested) -> bool) {
        while let Some(rested) = self.pop(version, |of| of.iter().position(&which)) {
            drop(rested);
        }
    }

    /// How many rest.
    pub(super) fn count(&self) -> usize {
        self.resting().count
    }

    /// Puts away those that were not called for too long, and those that will serve no other call. False when none is left.
    fn put_away(&self, now: Instant) -> bool {
        let is_idle = |rested: &Rested| now.saturating_duration_since(rested.since) >= self.limits.idle;
        // One by one, as in `drop_those`.
        while let Some(rested) = self.pop_first(|rested| is_idle(rested) || rested.is_spent(now)) {
            drop(rested);
        }
        let mut resting = self.resting();
        resting.swept = resting.count > 0;
        resting.swept
    }

    fn pop(&self, version: &VersionId, which: impl Fn(&VecDeque<Rested>) -> Option<usize>) -> Option<Rested> {
        self.resting().pop(version, which)
    }

    fn pop_first(&self, which: impl Fn(&Rested) -> bool) -> Option<Rested> {
        self.resting().pop_first(which)
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
        which: impl Fn(&VecDeque<Rested>) -> Option<usize>,
    ) -> Option<Rested> {
        let of = self.versions.get_mut(version)?;
        let at = which(of)?;
        let rested = of.remove(at)?;
        if of.is_empty() {
            self.versions.remove(version);
        }
        self.count -= 1;
        Some(rested)
    }

    /// Any that is so.
    fn pop_first(&mut self, which: impl Fn(&Rested) -> bool) -> Option<Rested> {
        let found = self.versions.iter().find_map(|(version, of)| {
            let at = of.iter().position(&which)?;
            Some((version.clone(), at))
        });
        let (version, at) = found?;
        self.pop(&version, |_| Some(at))
    }

    /// The one that has rested longest.
    fn pop_oldest(&mut self) -> Option<Rested> {
        let oldest = self.versions.iter().min_by_key(|(_, of)| of.front().map(|rested| rested.since))?;
        let version = oldest.0.clone();
        self.pop(&version, |_| Some(0))
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

#[cfg(test)]
mod tests {
    use coracle_proto::spec::{Draft, ReuseDraft};
    use wasmtime_wasi::WasiCtxBuilder;

    use super::*;
    use crate::outbound::{Egress, Reach};
    use crate::runtime::MemoryMode;
    use crate::runtime::budget::Budget;
    use crate::runtime::call::tests::invocation;
    use crate::runtime::engine;
    use crate::runtime::host::Release;
    use crate::runtime::instance::Guest;
    use crate::runtime::log::LineLog;
    use crate::runtime::place::Places;
    use crate::runtime::tests::NoState;

    const IDLE: Duration = Duration::from_secs(3600);

    fn rest() -> Arc<Rest> {
        Rest::new(RestLimits { idle: IDLE, version: 1, node: 1 }, Handle::current())
    }

    /// Of a function whose instances grow one minute old.
    fn version() -> Arc<Version> {
        let draft = Draft { reuse: Some(ReuseDraft { calls: 0, age_ms: 60_000 }), ..Draft::default() };
        Arc::clone(&invocation(draft).0.version)
    }

    fn instance(rest: &Rest, version: &Version, made: Instant) -> Instance {
        let egress = Arc::new(Egress::new(Reach::default()).unwrap());
        let share = Budget::new(0).begin(&Arc::default(), 0).unwrap();
        let wasi = WasiCtxBuilder::new().build_p1();
        let guest = Guest::new(wasi, LineLog::pair().0, version, (egress, Arc::new(NoState)), share.clone());
        let engine = engine::build(MemoryMode::OnDemand, 1, Release::Wasip2).unwrap().engine;
        Instance::new(&engine, guest, 1, made, (share, Places::new(1).take(rest)))
    }

    fn whole() -> Ending {
        let ending = Ending::default();
        ending.tell(true);
        ending
    }

    fn broken() -> Ending {
        let ending = Ending::default();
        ending.tell(false);
        ending
    }

    #[tokio::test]
    async fn one_that_has_grown_too_old_is_put_away() {
        let (rest, version, made) = (rest(), version(), clock::now());
        rest.keep(&version, instance(&rest, &version, made), whole());
        assert!(rest.put_away(made + Duration::from_secs(59)));
        assert_eq!(rest.count(), 1);
        assert!(!rest.put_away(made + Duration::from_secs(60)));
        assert_eq!(rest.count(), 0);
    }

    /// Its guest has ended, and what becomes of the answer is not known yet.
    #[tokio::test]
    async fn one_serves_when_its_answer_was_whole_and_not_before() {
        let (rest, version, now) = (rest(), version(), clock::now());
        let ending = Ending::default();
        rest.keep(&version, instance(&rest, &version, now), ending.clone());
        assert!(rest.take(&version, now).is_none());
        assert_eq!(rest.count(), 1, "it may serve later");
        ending.tell(true);
        assert!(rest.take(&version, now).is_some());

        rest.keep(&version, instance(&rest, &version, now), broken());
        assert!(rest.take(&version, now).is_none());
        assert_eq!(rest.count(), 0);
        rest.keep(&version, instance(&rest, &version, now), broken());
        rest.drop_broken(&version.id);
        assert_eq!(rest.count(), 0);
        rest.keep(&version, instance(&rest, &version, now), broken());
        assert!(!rest.put_away(now));
        rest.keep(&version, instance(&rest, &version, now), broken());
        rest.keep(&version, instance(&rest, &version, now), whole());
        assert!(rest.take(&version, now).is_some(), "it had the place of the one that will serve no more");
        assert_eq!(rest.count(), 0);
    }
}
