//! What a turn of a guest takes of the processor, by as few looks at its thread's own clock as will do.
//!
//! That clock is a system call, and most turns are shorter than a hundred of them. A short turn is charged by the clock on
//! the wall, of which it cannot have computed for more. A long one may have been held up by others: it is charged by what
//! its thread has computed since that was last looked at, a moment before the turn began.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::{clock, os};

/// A turn up to this long is short: so much of others' time is the most that it can be charged for.
const SHORT: Duration = Duration::from_micros(200);
/// A thread's clock was looked at a moment ago: so much of what came before a long turn is the most that it can be charged for.
const MOMENT: Duration = Duration::from_micros(200);

/// What a thread had computed at some time.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    cpu: Duration,
}

thread_local! {
    /// The last one at this thread.
    static LAST: Cell<Option<Look>> = const { Cell::new(None) };
}

/// Times a turn, on the thread that takes it.
#[derive(Debug)]
pub(super) struct Stopwatch {
    began: Instant,
    cpu_before: Duration,
}

impl Look {
    fn at(now: Instant) -> Self {
        let look = Self { at: now, cpu: os::thread_cpu_time() };
        LAST.set(Some(look));
        look
    }
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        let began = clock::now();
        let recent = LAST.get().filter(|look| began.saturating_duration_since(look.at) <= MOMENT);
        let look = recent.unwrap_or_else(|| Look::at(began));
        Self { began, cpu_before: look.cpu }
    }

    /// What its thread had computed when it began, or a moment before.
    pub(super) const fn cpu_before(&self) -> Duration {
        self.cpu_before
    }

    /// What it has taken of the processor.
    pub(super) fn stop(self) -> Duration {
        let now = clock::now();
        let passed = now.saturating_duration_since(self.began);
        if passed <= SHORT {
            return passed;
        }
        Look::at(now).cpu.saturating_sub(self.cpu_before).min(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(time: Duration) {
        let before = os::thread_cpu_time();
        while os::thread_cpu_time() - before < time {}
    }

    #[test]
    fn what_was_computed_is_charged_and_what_others_took_is_not() {
        for millis in [0, 1, 5] {
            let work = Duration::from_millis(millis);
            let stopwatch = Stopwatch::start();
            compute(work);
            let used = stopwatch.stop();
            assert!(used >= work && used < work + SHORT + MOMENT * 10, "{used:?} for {work:?}");
        }
        let stopwatch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(20)); // a bounded poll: the processor is others'
        let used = stopwatch.stop();
        assert!(used < Duration::from_millis(5), "{used:?}");
    }

    /// What the thread did before for others is charged to nobody, but for a moment of it.
    #[test]
    fn a_turn_is_not_charged_for_what_came_before_it() {
        Stopwatch::start().stop();
        compute(Duration::from_millis(10));
        let stopwatch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(2)); // a bounded poll: it is no short turn
        let used = stopwatch.stop();
        assert!(used < Duration::from_millis(2), "{used:?}");
    }

    #[test]
    fn many_short_turns_add_up() {
        let (before, mut used) = (os::thread_cpu_time(), Duration::ZERO);
        while os::thread_cpu_time() - before < Duration::from_millis(20) {
            let stopwatch = Stopwatch::start();
            compute(Duration::from_micros(50));
            used += stopwatch.stop();
        }
        assert!(used >= Duration::from_millis(10), "{used:?} of twenty milliseconds");
    }
}
