//! The memory that the guests of a node may have together: counted where it is given, so that nothing is given that is not there.
//!
//! A call is admitted with what calls of its program came to lately, so that it is rather refused than begun in vain;
//! what it grows beyond that is counted as it grows. Memory counts from the moment that a guest has it, touched or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coracle_proto::status::Code;

use crate::call::CallError;

/// What all guests have, and may have.
#[derive(Debug)]
pub(super) struct Budget {
    max: u64,
    given: AtomicU64,
}

/// What one call has of it, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
    used: u64,
    typical: Arc<Typical>,
}

/// What calls of a program come to.
#[derive(Debug, Default)]
pub(super) struct Typical(AtomicU64);

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
        Arc::new(Self { max, given: AtomicU64::new(0) })
    }

    /// Bytes that guests have.
    pub(super) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Begins a call, with room for what such calls come to and no more than `most`.
    pub(super) fn begin(self: &Arc<Self>, typical: &Arc<Typical>, most: u64) -> Result<Share, CallError> {
        let bytes = typical.bytes().min(most);
        if let Err(full) = self.take(bytes) {
            let said = format!(
                "guests have {} of the {} MiB that this node has for them ('--guests-memory'), and this call would need \
                 about {} MiB",
                full.given >> 20,
                full.max >> 20,
                bytes.div_ceil(1 << 20)
            );
            return Err(CallError::new(Code::Overloaded, said));
        }
        Ok(Share { budget: Arc::clone(self), bytes, used: 0, typical: Arc::clone(typical) })
    }

    fn take(&self, bytes: u64) -> Result<(), Full> {
        let add = |given: u64| given.checked_add(bytes).filter(|sum| *sum <= self.max);
        let taken = self.given.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map(drop).map_err(|given| Full { given, max: self.max })
    }
}

impl Share {
    /// The guest is to have so many bytes.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) {
            self.budget.take(more)?;
            self.bytes = bytes;
        }
        self.used = self.used.max(bytes);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.given.fetch_sub(self.bytes, Ordering::Relaxed);
        self.typical.note(self.used);
    }
}

impl Typical {
    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The most of the last calls, an eighth less with each that took less. Of two that end at once one may not count.
    fn note(&self, used: u64) {
        let before = self.bytes();
        self.0.store(used.max(before - before / 8), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_given_is_counted_and_comes_back() {
        let (budget, typical) = (Budget::new(10 * MIB), Arc::default());
        let mut one = budget.begin(&typical, u64::MAX).unwrap();
        one.grow(6 * MIB).unwrap();
        one.grow(5 * MIB).unwrap();
        let mut two = budget.begin(&typical, u64::MAX).unwrap();
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

    /// A counter that goes below zero would let everything in, one that stays up nothing.
    #[test]
    fn many_at_once_never_have_more_than_there_is() {
        let (budget, typical) = (Budget::new(100), Arc::<Typical>::default());
        std::thread::scope(|scope| {
            for thread in 1..=4_u64 {
                let (budget, typical) = (&budget, &typical);
                scope.spawn(move || {
                    for round in 0..1000 {
                        if let Ok(mut share) = budget.begin(typical, 10) {
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
