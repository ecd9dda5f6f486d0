//! What becomes of an instance when its call has ended well: it rests, where its function has asked for that and the program
//! can take one call after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::call::CallContext;
use super::instance::Instance;
use super::rest::Rest;
use crate::clock;

/// What is said of a program that serves once.
pub(super) const OFF: &str =
    "'reuse' is off on this node: an instance that had served a call trapped at the next";

/// Whether instances of a program can take one call after another.
#[derive(Debug, Default)]
pub(super) struct Manners {
    /// Somebody has begun to find it out,
    asked: AtomicBool,
    /// and this came of it, if anything did.
    known: AtomicBool,
    /// One that had served a call failed at the next.
    serves_once: AtomicBool,
    /// What the first that was told of left behind.
    holds: AtomicUsize,
}

impl Manners {
    /// Those of a program of which nobody has to find out anything.
    pub(super) fn trusted() -> Self {
        Self { asked: AtomicBool::new(true), known: AtomicBool::new(true), ..Self::default() }
    }

    /// Whether it is to be found out by whoever asks: nobody else has begun to.
    pub(super) fn ask(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::Relaxed)
    }

    /// It could not be found out just now.
    pub(super) fn ask_again(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// It was found out: as with `others`.
    pub(super) fn learn(&self, others: &Self) {
        self.serves_once.fetch_or(others.serves_once(), Ordering::Relaxed);
        self.holds.fetch_max(others.holds().unwrap_or(0), Ordering::Relaxed);
        self.known.store(true, Ordering::Release);
    }

    /// Whether an instance that served a call may serve another one. What is not known yet is not tried.
    pub(super) fn serves_again(&self) -> bool {
        self.known.load(Ordering::Acquire) && !self.serves_once()
    }

    /// Whether it does not.
    pub(super) fn serves_once(&self) -> bool {
        self.serves_once.load(Ordering::Relaxed)
    }

    /// How many resources of its call an instance held on to, if any did.
    pub(super) fn holds(&self) -> Option<usize> {
        Some(self.holds.load(Ordering::Relaxed)).filter(|left| *left > 0)
    }
}

/// What is said, once, of a program that holds on to so many resources of a call.
pub(super) fn holds_on(left: usize) -> String {
    format!(
        "'reuse' has no effect: the function holds on to {left} resources of calls that have ended (the request, a body, header \
         fields, streams that it opens at each call), and such an instance serves no other call"
    )
}

/// Where the instance of a call goes.
pub(super) struct After {
    pub(super) rest: Arc<Rest>,
    /// Of the program.
    pub(super) manners: Arc<Manners>,
}

impl After {
    /// The call has ended as it should.
    pub(super) fn ended(&self, mut instance: Instance, invocation: &CallContext) {
        let Some(reuse) = invocation.version.spec.reuse().filter(|_| self.manners.serves_again()) else {
            return;
        };
        // The guest returned, and its answer may have failed all the same, or do so later: whatever rests asks for that.
        let Some(ending) = invocation.account.ending() else { return };
        let left = instance.end();
        if left == 0 && !ending.is_broken() && instance.may_serve(reuse, clock::now()) {
            self.rest.keep(&invocation.version, instance, ending.clone());
        } else if left > 0 && self.manners.holds.swap(left, Ordering::Relaxed) == 0 {
            invocation.author.say(&holds_on(left));
        }
    }

    /// The guest trapped. One that fails at its second call, whatever that is, may be made for one alone.
    pub(super) fn trapped(&self, instance: &Instance, invocation: &CallContext) {
        if instance.serves_second() && !self.manners.serves_once.swap(true, Ordering::Relaxed) {
            // Those at rest are of the same program. Whoever puts one there just now is not waited for: nobody takes it.
            self.rest.forget(&invocation.version.id);
            invocation.author.say(OFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Manners {
        /// Whether somebody has begun to find it out, or has done so.
        pub(in crate::runtime) fn is_asked(&self) -> bool {
            self.asked.load(Ordering::Relaxed)
        }
    }
}
