//! What the outside sees of a guest that it cannot ask while the guest runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::os;
use crate::runtime::budget::Full;
use crate::runtime::ticker::TICK;

/// Set by the guest's store, read by whoever judges it.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Signals {
    /// The bound that was reached, bytes; zero while none was.
    memory_refused: AtomicU64,
    /// The node's own bound, where that one was reached, and what guests had of it.
    node_max: AtomicU64,
    node_given: AtomicU64,
    /// The guest gave way to others, and waits for nothing else.
    turn_over: AtomicBool,
    /// What its thread had computed when its turn began, nanoseconds.
    turn_began: AtomicU64,
}

impl Signals {
    /// The guest asked for more than its grant, bytes.
    pub(in crate::runtime) fn refuse_memory(&self, granted: u64) {
        self.memory_refused.store(granted, Ordering::Relaxed);
    }

    /// The guest asked for more than the node has.
    pub(in crate::runtime) fn lack_memory(&self, full: Full) {
        self.node_given.store(full.given, Ordering::Relaxed);
        self.node_max.store(full.max, Ordering::Relaxed);
    }

    /// The bytes that the guest was granted, if it asked for more.
    pub(in crate::runtime) fn memory_refused(&self) -> Option<u64> {
        Some(self.memory_refused.load(Ordering::Relaxed)).filter(|bound| *bound > 0)
    }

    /// What the node had given, if it had no more when the guest asked.
    pub(in crate::runtime) fn node_full(&self) -> Option<Full> {
        let [given, max] = [&self.node_given, &self.node_max].map(|it| it.load(Ordering::Relaxed));
        Some(Full { given, max }).filter(|full| full.max > 0)
    }

    /// The guest is about to be polled by a thread that has computed for so long.
    pub(in crate::runtime) fn turn_begins(&self, cpu: Duration) {
        self.turn_over.store(false, Ordering::Relaxed);
        self.turn_began.store(nanos(cpu), Ordering::Relaxed);
    }

    /// Whether its turn is over now, by the processor time of its thread: one that was held up by others has used nothing.
    pub(in crate::runtime) fn ends_turn(&self) -> bool {
        let used = nanos(os::thread_cpu_time()).saturating_sub(self.turn_began.load(Ordering::Relaxed));
        let over = used >= nanos(TICK);
        self.turn_over.store(over, Ordering::Relaxed);
        over
    }

    /// Whether it has used up its turn since.
    pub(in crate::runtime) fn turn_is_over(&self) -> bool {
        self.turn_over.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_when_its_thread_has_computed_for_a_tick_and_not_when_time_has_passed() {
        let signals = Signals::default();
        signals.turn_begins(os::thread_cpu_time());
        std::thread::sleep(TICK * 5); // a bounded poll: the processor is others'
        assert!(!signals.ends_turn() && !signals.turn_is_over());
        let before = os::thread_cpu_time();
        while os::thread_cpu_time() - before < TICK {}
        assert!(signals.ends_turn() && signals.turn_is_over());
        signals.turn_begins(os::thread_cpu_time());
        assert!(!signals.turn_is_over());
    }
}
