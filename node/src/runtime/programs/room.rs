//! What is mapped, and what gives way when there is too much of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use coracle_proto::id::Digest;
use coracle_proto::status::{Code, Refusal};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::clock;
use crate::runtime::after::Manners;
use crate::runtime::budget::Typical;
use crate::runtime::cache::Verified;
use crate::runtime::lane::Habit;
use crate::runtime::program::Program;

/// Code that no call has used for so long is given back when other code is mapped.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// How often that is looked at, where there is room.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// At the cap, one part in so many is given back.
const ROOM_PART: usize = 16;

/// A mapped program, counted as long as anybody has it.
pub(in crate::runtime) struct Resident {
    pub(in crate::runtime) program: Program,
    pub(in crate::runtime) habit: Arc<Habit>,
    pub(in crate::runtime) typical: Arc<Typical>,
    pub(in crate::runtime) manners: Arc<Manners>,
    bytes: usize,
    totals: Arc<Totals>,
}

/// What is mapped, all in all.
#[derive(Debug, Default)]
struct Totals {
    programs: AtomicUsize,
    bytes: AtomicUsize,
}

impl Resident {
    fn new(program: Program, manners: &Arc<Manners>, totals: &Arc<Totals>) -> Arc<Self> {
        let (bytes, typical) = (program.bytes(), Arc::new(Typical::at_least(program.memory_min())));
        totals.programs.fetch_add(1, Ordering::Relaxed);
        totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (manners, totals) = (Arc::clone(manners), Arc::clone(totals));
        Arc::new(Self { program, habit: Arc::default(), typical, manners, bytes, totals })
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.totals.programs.fetch_sub(1, Ordering::Relaxed);
        self.totals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What is known of one artifact.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) program: ArcSwapOption<Resident>,
    /// Of the program, mapped or not: what was found out is not asked again.
    pub(super) manners: Arc<Manners>,
    used_ms: AtomicU64,
    /// Held while code is compiled, checked or mapped: the others wait and find it done.
    pub(super) work: Mutex<Work>,
}

/// What is being made of it.
#[derive(Default)]
pub(super) struct Work {
    /// Where the artifact lies, for compiling it anew.
    pub(super) artifact: Option<PathBuf>,
    pub(super) verified: Option<Verified>,
    /// Whether its use was noted on disk: once in a process, for it costs a quarter of the mapping.
    pub(super) noted: bool,
}

/// Everything that is known of artifacts, and how much of it may be mapped.
pub(super) struct Room {
    slots: RwLock<HashMap<Digest, Arc<Slot>>>,
    totals: Arc<Totals>,
    resident_max: usize,
    began: Instant,
    swept_ms: AtomicU64,
    sweeping: AtomicBool,
    /// Held while somebody waits for room: who waits behind tries again first.
    waiting: Mutex<()>,
}

impl Room {
    pub(super) fn new(resident_max: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: RwLock::default(),
            totals: Arc::default(),
            resident_max,
            began: clock::now(),
            swept_ms: AtomicU64::new(0),
            sweeping: AtomicBool::new(false),
            waiting: Mutex::default(),
        })
    }

    pub(super) fn slot(&self, digest: &Digest) -> Arc<Slot> {
        if let Some(slot) = self.known(digest) {
            return slot;
        }
        Arc::clone(self.slots.write().unwrap_or_else(PoisonError::into_inner).entry(*digest).or_default())
    }

    /// What is known of it, if anything is.
    pub(super) fn known(&self, digest: &Digest) -> Option<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).get(digest).map(Arc::clone)
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    /// A call uses it.
    pub(super) fn used(&self, slot: &Slot) {
        slot.used_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Counts a program.
    pub(super) fn resident(&self, program: Program, slot: &Slot) -> Arc<Resident> {
        Resident::new(program, &slot.manners, &self.totals)
    }

    /// Programs that are mapped, and their bytes.
    pub(super) fn resident_now(&self) -> (usize, usize) {
        (self.totals.programs.load(Ordering::Relaxed), self.totals.bytes.load(Ordering::Relaxed))
    }

    /// Gives back what was not used for long, and at the cap what was not used for longest: when it is time, by another
    /// thread. To unmap hundreds of programs takes longer than most calls.
    pub(super) fn make(self: &Arc<Self>) {
        let full = self.resident_now().0 >= self.resident_max;
        let due =
            self.now_ms().saturating_sub(self.swept_ms.load(Ordering::Relaxed)) >= clock::millis(SWEEP_EVERY);
        if (full || due) && !self.sweeping.swap(true, Ordering::AcqRel) {
            let room = Arc::clone(self);
            // Nobody waits for it.
            drop(spawn_blocking(move || {
                room.sweep(full);
                room.sweeping.store(false, Ordering::Release);
            }));
        }
    }

    /// Does what failed for want of room until it works, or nothing is left to give back, or it fails otherwise; one caller after
    /// the other, for each gives back a part of all.
    pub(super) async fn make_for<T>(
        self: &Arc<Self>,
        failed: Refusal,
        again: impl Fn() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let _turn = self.waiting.lock().await;
        let mut failed = failed;
        for _ in 0..ROOM_PART {
            match again() {
                Err(refusal) if refusal.code == Code::Overloaded => failed = refusal,
                done => return done,
            }
            let room = Arc::clone(self);
            if !spawn_blocking(move || room.sweep(true)).await.is_ok_and(|given_back| given_back > 0) {
                break;
            }
        }
        Err(failed)
    }

    fn now_ms(&self) -> u64 {
        clock::millis(self.began.elapsed())
    }

    /// How many it gave back.
    fn sweep(&self, full: bool) -> usize {
        let now_ms = self.now_ms();
        self.swept_ms.store(now_ms, Ordering::Relaxed);
        let mapped: Vec<_> = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            slots.values().filter(|slot| slot.program.load().is_some()).map(Arc::clone).collect()
        };
        // As they are now: calls go on to change them.
        let mut mapped: Vec<_> =
            mapped.into_iter().map(|slot| (slot.used_ms.load(Ordering::Relaxed), slot)).collect();
        mapped.sort_unstable_by_key(|(used_ms, _)| *used_ms);
        // More than one at once, so that a node at its cap does not sort for each cold start.
        let over = if full { mapped.len() / ROOM_PART + 1 } else { 0 };
        let mut given_back = 0;
        for (index, (used_ms, slot)) in mapped.into_iter().enumerate() {
            if index < over || now_ms.saturating_sub(used_ms) > clock::millis(IDLE_MAX) {
                slot.program.store(None);
                given_back += 1;
            }
        }
        given_back
    }
}
