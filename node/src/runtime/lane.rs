//! The slow lane: threads of lower priority for guests that compute for long.
//!
//! A guest begins on the thread of its call, and goes on here once it has computed for [`LONG`]: who is short finds the
//! threads of calls free, without anybody saying beforehand who is. A guest that gives way at every tick would only make
//! the line longer; one that does not, for the instruction that fills a memory looks at no clock, would hold its thread.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::threads::Threads;

/// What a guest may compute before it makes way: many times what a small function takes for a call.
pub(super) const LONG: Duration = Duration::from_millis(5);
/// How much nicer its threads are than those of calls: they get a third of the processor against them, and all of it where
/// nobody else wants any.
const NICE: i32 = 5;
/// Calls of a program that begin here after one of them was long.
const REMEMBERED: u8 = 16;

/// Starts its threads.
pub(super) fn start() -> io::Result<Threads> {
    Threads::start("long-guests", NICE)
}

/// Whether the calls of a program tend to be long.
#[derive(Debug, Default)]
pub(super) struct Habit(AtomicU8);

impl Habit {
    /// Whether its next call begins in the slow lane.
    pub(super) fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// A call has been long.
    pub(super) fn was_long(&self) {
        self.0.store(REMEMBERED, Ordering::Relaxed);
    }

    /// A call ended and was not.
    pub(super) fn was_short(&self) {
        // Of two that end at once one may not count.
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_long_is_taken_for_short_again_after_some_calls() {
        let habit = Habit::default();
        assert!(!habit.is_long());
        habit.was_long();
        for _ in 0..REMEMBERED {
            assert!(habit.is_long());
            habit.was_short();
        }
        assert!(!habit.is_long());
        habit.was_short();
        assert!(!habit.is_long());
    }
}
