//! Which requests of a stream are unanswered, and since when.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When each unanswered request was sent, the oldest first; as many as the stream lets be under way.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<VecDeque<Instant>>);

impl Owed {
    pub(super) fn sent(&self, now: Instant) {
        self.sends().push_back(now);
    }

    /// The oldest request is answered.
    pub(super) fn answered(&self) {
        self.sends().pop_front();
    }

    /// Until when an answer is waited for: the oldest request's, or while nothing is owed that of one sent now.
    pub(super) fn deadline(&self, now: Instant, patience: Duration) -> Instant {
        self.sends().front().copied().unwrap_or(now) + patience
    }

    /// Whether an answer is owed for so long. A request that was sent while nothing was owed has all of it.
    pub(super) fn is_overdue(&self, now: Instant, patience: Duration) -> bool {
        self.sends().front().is_some_and(|sent| *sent + patience <= now)
    }

    fn sends(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    fn after(ms: u64, start: Instant) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant to begin with: there is no other way to one")]
    fn the_oldest_unanswered_request_counts_from_its_own_sending() {
        let (owed, start) = (Owed::default(), Instant::now());
        let overdue = |ms| owed.is_overdue(after(ms, start), PATIENCE);
        assert_eq!(owed.deadline(start, PATIENCE), after(3_000, start));
        // Nothing was asked for almost as long as an answer may take.
        owed.sent(after(2_950, start));
        assert!(!overdue(3_000));
        assert_eq!(owed.deadline(after(3_000, start), PATIENCE), after(5_950, start));
        owed.sent(after(4_000, start));
        assert!(!overdue(5_949) && overdue(5_950));
        owed.answered();
        assert!(!overdue(5_950) && overdue(7_000));
        owed.answered();
        assert!(!overdue(60_000));
    }
}
