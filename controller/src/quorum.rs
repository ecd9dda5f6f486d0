//! Whether a leader has heard of a majority lately: asked for each proposal, looked at some times a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_raft::{Raft, Role};

use crate::machine::MetaMachine;

/// A leader hears of its followers with each heartbeat (100 ms by default).
const LOST_AFTER: Duration = Duration::from_secs(2);
/// The look builds Raft's whole status; what it says is older than this by nature.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the last look said.
#[derive(Debug, Default)]
pub(crate) struct Quorum(Mutex<Option<(Instant, bool)>>);

impl Quorum {
    /// Whether this node leads and has not heard of a majority lately.
    pub(crate) fn lost(&self, raft: &Raft<MetaMachine>, now: Instant) -> bool {
        self.within(now, || look(raft))
    }

    fn within(&self, now: Instant, look: impl FnOnce() -> bool) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, lost)) if now.saturating_duration_since(at) < LOOK_EVERY => lost,
            Some(_) | None => {
                let lost = look();
                *last = Some((now, lost));
                lost
            }
        }
    }
}

fn look(raft: &Raft<MetaMachine>) -> bool {
    let status = raft.status();
    let leads_others = status.role == Role::Leader && status.voters.len() > 1;
    leads_others && status.quorum_acked.is_none_or(|ago| ago >= LOST_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn proposals_of_one_moment_share_a_look() {
        let (quorum, now) = (Quorum::default(), clock::now());
        let mut looks = 0;
        let mut lost = |now, answer| {
            quorum.within(now, || {
                looks += 1;
                answer
            })
        };
        assert!(!lost(now, false));
        assert!(!lost(now + LOOK_EVERY / 2, true), "as it was");
        assert!(lost(now + LOOK_EVERY, true));
        assert_eq!(looks, 2);
    }
}
