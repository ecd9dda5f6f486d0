//! The memory that the guests of a node may have together: counted where it is given, so that nothing is given that is not there.
//!
//! A call is admitted with what calls of its program came to lately, so that it is rather refused than begun in vain;
//! what it grows beyond that is counted as it grows. Memory counts from the moment that a guest has it, touched or not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use coracle_proto::status::Code;

use crate::call::CallError;

/// What all guests have, and may have.
#[derive(Debug)]
pub(super) struct Budget {
    max: u64,
    given: AtomicU64,
    spare: OnceLock<Weak<dyn Spare>>,
}

/// Whose need it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A caller's: what rests gives way to it.
    Caller,
    /// The node's own, of a probe: it takes what nobody has.
    Probe,
}

/// Who has memory of the budget that nobody needs just now.
pub(super) trait Spare: Send + Sync {
    /// Gives something of it back; false when there is none.
    fn give_up(&self) -> bool;
}

/// What one call has of it, given back when the last clone is dropped: a store tells of its guest's end before it gives up
/// the guest's memory.
#[derive(Debug, Clone)]
pub(super) struct Share(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    budget: Arc<Budget>,
    typical: Arc<Typical>,
    need: Need,
    /// Taken from the budget, and the most that was used of it.
    bytes: AtomicU64,
    used: AtomicU64,
}

/// What calls of a program come to.
#[derive(Debug, Default)]
pub(super) struct Typical {
    /// What each of them has from its start.
    least: u64,
    /// What they came to lately.
    recent: AtomicU64,
}

/// A guest's growth that the node has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    /// Bytes that guests have.
    pub(super) given: u64,
    /// Bytes that they may have.
    pub(super) max: u64,
}

impl Budget {
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, given: AtomicU64::new(0), spare: OnceLock::new() })
    }

    /// Whoever finds no room asks for what `spare` has.
    pub(super) fn ask_first(&self, spare: Weak<dyn Spare>) {
        // There is one, for the whole life of the budget.
        let _ = self.spare.set(spare);
    }

    /// Bytes that guests have.
    pub(super) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Begins a call, with room for what such calls come to and no more than `most`.
    pub(super) fn begin(self: &Arc<Self>, typical: &Arc<Typical>, most: u64) -> Result<Share, CallError> {
        self.begin_for(Need::Caller, typical, most)
    }

    /// Begins one that takes nothing from what rests, at its beginning and as it grows.
    pub(super) fn begin_probe(
        self: &Arc<Self>,
        typical: &Arc<Typical>,
        most: u64,
    ) -> Result<Share, CallError> {
        self.begin_for(Need::Probe, typical, most)
    }

    fn begin_for(
        self: &Arc<Self>,
        need: Need,
        typical: &Arc<Typical>,
        most: u64,
    ) -> Result<Share, CallError> {
        let bytes = typical.bytes().min(most);
        if let Err(full) = self.take(bytes, need) {
            // Else what one call needed once would keep all others out for as long as the memory is taken.
            typical.note(0);
            let said = format!(
                "guests have {} of the {} MiB that this node has for them ('--guests-memory'), and this call would need \
                 about {} MiB",
                full.given >> 20,
                full.max >> 20,
                bytes.div_ceil(1 << 20)
            );
            return Err(CallError::new(Code::Overloaded, said));
        }
        let (budget, typical) = (Arc::clone(self), Arc::clone(typical));
        let counted =
            Counted { budget, typical, need, bytes: AtomicU64::new(bytes), used: AtomicU64::new(0) };
        Ok(Share(Arc::new(counted)))
    }

    fn take(&self, bytes: u64, need: Need) -> Result<(), Full> {
        let add = |given: u64| given.checked_add(bytes).filter(|sum| *sum <= self.max);
        loop {
            let taken = self.given.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            let Err(given) = taken else { return Ok(()) };
            // What nobody could have is not asked for; and each round gives back something. Instances that others are just
            // dropping, one to a thread, are not waited for.
            let asks = need == Need::Caller && bytes <= self.max;
            let spare = self.spare.get().filter(|_| asks).and_then(Weak::upgrade);
            if !spare.is_some_and(|spare| spare.give_up()) {
                return Err(Full { given, max: self.max });
            }
        }
    }
}

impl Share {
    /// The guest is to have so many bytes. One guest has one share, and asks for one thing after the other.
    pub(super) fn grow(&self, bytes: u64) -> Result<(), Full> {
        let counted = &self.0;
        if let Some(more) = bytes.checked_sub(counted.bytes.load(Ordering::Relaxed)).filter(|more| *more > 0)
        {
            counted.budget.take(more, counted.need)?;
            counted.bytes.store(bytes, Ordering::Relaxed);
        }
        counted.used.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.budget.given.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
        self.typical.note(*self.used.get_mut());
    }
}

impl Typical {
    /// Of a program whose calls have so many bytes from their start.
    pub(super) fn at_least(least: u64) -> Self {
        Self { least, recent: AtomicU64::new(0) }
    }

    fn bytes(&self) -> u64 {
        self.least.max(self.recent.load(Ordering::Relaxed))
    }

    /// The most of the last calls, an eighth less with each that took less. Of two that end at once one may not count.
    fn note(&self, used: u64) {
        let before = self.recent.load(Ordering::Relaxed);
        self.recent.store(used.max(before - before / 8), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// What rests, until it is given up.
    struct Resting(Mutex<Option<Share>>);

    impl Spare for Resting {
        fn give_up(&self) -> bool {
            let share = self.0.lock().unwrap().take();
            share.is_some()
        }
    }

    #[test]
    fn what_rests_gives_way_to_callers_and_not_to_a_probe() {
        let (budget, typical) = (Budget::new(10 * MIB), Arc::default());
        let share = budget.begin(&typical, u64::MAX).unwrap();
        share.grow(8 * MIB).unwrap();
        let resting: Arc<dyn Spare> = Arc::new(Resting(Mutex::new(Some(share))));
        budget.ask_first(Arc::downgrade(&resting));
        let large = Arc::new(Typical::at_least(8 * MIB));
        assert!(budget.begin_probe(&large, u64::MAX).unwrap_err().not_started());
        let probe = budget.begin_probe(&Arc::default(), u64::MAX).unwrap();
        probe.grow(2 * MIB).unwrap();
        assert_eq!(probe.grow(3 * MIB), Err(Full { given: 10 * MIB, max: 10 * MIB }));
        let caller = budget.begin(&large, u64::MAX).unwrap();
        assert_eq!(budget.given(), 10 * MIB, "of what rested nothing is left");
        drop((probe, caller));
        assert_eq!(budget.given(), 0);
    }

    #[test]
    fn what_is_given_is_counted_and_comes_back() {
        let (budget, typical) = (Budget::new(10 * MIB), Arc::default());
        let one = budget.begin(&typical, u64::MAX).unwrap();
        one.grow(6 * MIB).unwrap();
        one.grow(5 * MIB).unwrap();
        let two = budget.begin(&typical, u64::MAX).unwrap();
        assert_eq!(two.grow(5 * MIB), Err(Full { given: 6 * MIB, max: 10 * MIB }));
        two.grow(4 * MIB).unwrap();
        assert_eq!(budget.given(), 10 * MIB);
        drop(two);
        drop(one);
        assert_eq!(budget.given(), 0);
    }

    #[test]
    fn a_call_that_would_not_fit_does_not_begin() {
        let (budget, typical) = (Budget::new(10 * MIB), Arc::default());
        budget.begin(&typical, u64::MAX).unwrap().grow(7 * MIB).unwrap();
        let first = budget.begin(&typical, u64::MAX).unwrap();
        let error = budget.begin(&typical, u64::MAX).unwrap_err();
        assert!(error.not_started(), "another node may have room");
        assert!(error.to_string().contains("7 of the 10 MiB"), "{error}");
        assert!(budget.begin(&typical, 3 * MIB).is_ok(), "no more than it may have");
        drop(first);
        for _ in 0..20 {
            drop(budget.begin(&typical, u64::MAX).unwrap());
        }
        assert!(typical.bytes() < MIB, "what a call needed once is forgotten: {}", typical.bytes());
    }

    #[test]
    fn what_one_call_needed_keeps_others_out_for_a_while_only() {
        let (budget, typical) = (Budget::new(10 * MIB), Arc::default());
        budget.begin(&typical, u64::MAX).unwrap().grow(8 * MIB).unwrap();
        let others = budget.begin(&Arc::default(), u64::MAX).unwrap();
        others.grow(8 * MIB).unwrap();
        let tries = (1..).find(|_| budget.begin(&typical, u64::MAX).is_ok());
        assert!((2..20).contains(&tries.unwrap()), "{tries:?}");
    }

    /// A counter that goes below zero would let everything in, one that stays up nothing.
    #[test]
    fn many_at_once_never_have_more_than_there_is() {
        let (budget, typical) = (Budget::new(100), Arc::<Typical>::default());
        std::thread::scope(|scope| {
            for thread in 1..=4_u64 {
                let (budget, typical) = (&budget, &typical);
                scope.spawn(move || {
                    for round in 0..1000 {
                        if let Ok(share) = budget.begin(typical, 10) {
                            let _ = share.grow(thread * round % 60);
                            assert!(budget.given() <= 100);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.given(), 0);
    }
}
