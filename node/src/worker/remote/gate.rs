//! Whether the head of a call has left: decided once, by whoever comes first.

use std::sync::atomic::{AtomicU8, Ordering};

const CLOSED: u8 = 0;
const PASSED: u8 = 1;
const SHUT: u8 = 2;

/// The head passes it, or it is shut before and nothing of the call ever leaves: so a call that is said to be not sent
/// was not sent, whichever task is faster.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU8);

impl Gate {
    /// Lets the head through; false when it was shut.
    pub(super) fn pass(&self) -> bool {
        self.turn(PASSED)
    }

    /// Shuts it; false when the head has passed.
    pub(super) fn shut(&self) -> bool {
        self.turn(SHUT)
    }

    fn turn(&self, to: u8) -> bool {
        let turned = self.0.compare_exchange(CLOSED, to, Ordering::AcqRel, Ordering::Acquire);
        turned.map_or_else(|is| is == to, |_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_decides() {
        let (sent, unsent) = (Gate::default(), Gate::default());
        assert!(sent.pass() && !sent.shut() && sent.pass());
        assert!(unsent.shut() && !unsent.pass() && unsent.shut());
    }
}
