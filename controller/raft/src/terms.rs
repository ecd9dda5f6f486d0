//! Terms that no election can have led to are refused: one message with the greatest of them would end elections for
//! good, for there is none above it.

use std::sync::atomic::{AtomicU64, Ordering};

use coracle_proto::id::NodeId;
use tokio::sync::watch;
use tonic::Status;

/// How far above what was heard a term may be. An election a second makes so many in 136 years, and as many messages
/// again would be needed to come near the end of terms.
pub(crate) const TERM_STEP_MAX: u64 = 1 << 32;

/// What a member takes that has neither a vote nor a log: the group may have come a long way before it was added. Half of
/// all terms are left above it.
pub(crate) const FIRST_TERM_MAX: u64 = 1 << 63;

/// A term that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsurdTerm {
    /// Who sent it.
    pub from: NodeId,
    /// The term.
    pub term: u64,
}

/// The terms of one group.
#[derive(Debug)]
pub(crate) struct Terms {
    heard: AtomicU64,
    absurd: watch::Sender<Option<AbsurdTerm>>,
}

impl Terms {
    pub(crate) fn new(own: u64) -> Self {
        Self { heard: AtomicU64::new(own), absurd: watch::Sender::new(None) }
    }

    /// Takes note of a term, unless it is absurd.
    pub(crate) fn check(&self, from: NodeId, term: u64) -> Result<(), Status> {
        let heard = self.heard.load(Ordering::Relaxed);
        let highest = match heard {
            0 => FIRST_TERM_MAX - 1,
            heard => heard.saturating_add(TERM_STEP_MAX),
        };
        if term <= highest {
            self.heard.fetch_max(term, Ordering::Relaxed);
            return Ok(());
        }
        let absurd = AbsurdTerm { from, term };
        if self.absurd.send_replace(Some(absurd)) != Some(absurd) {
            tracing::warn!(%from, term, heard, "refused a term that no election can have led to");
        }
        Err(Status::out_of_range(format!(
            "term {term} is above {highest}, and the highest heard of is {heard}"
        )))
    }

    /// The last one that was refused.
    pub(crate) fn absurd(&self) -> Option<AbsurdTerm> {
        *self.absurd.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_move_by_bounded_steps() {
        let (terms, from) = (Terms::new(7), NodeId::new(3));
        for term in [u64::MAX, 1 << 63, 8 + TERM_STEP_MAX] {
            assert!(terms.check(from, term).is_err());
            assert_eq!(terms.absurd(), Some(AbsurdTerm { from, term }));
        }
        assert!(terms.check(from, 7 + TERM_STEP_MAX).is_ok());
        assert!(terms.check(from, 8 + TERM_STEP_MAX).is_ok(), "it was heard of a higher one");
        assert!(Terms::new(u64::MAX - 1).check(from, u64::MAX).is_ok());
    }

    /// One step was taken long ago: members that are new have to follow all the same.
    #[test]
    fn a_new_member_follows_wherever_the_group_is() {
        let (terms, from, far) = (Terms::new(0), NodeId::new(3), 5 * TERM_STEP_MAX);
        assert!(terms.check(from, FIRST_TERM_MAX).is_err());
        assert!(terms.check(from, far).is_ok());
        assert!(terms.check(from, far + TERM_STEP_MAX + 1).is_err(), "it has heard of one");
    }
}
