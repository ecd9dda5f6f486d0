//! What time it is in a group, for whoever leads it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Members, now};
use crate::model;
use crate::replicas::Replica;

/// The clock of one group. Clones share it.
///
/// It is the middle one of its members' clocks, so that one that jumps takes no lease and no delay along. A group's time never goes
/// back. Where it was ahead it goes on from there at the usual pace, until the clocks have come up to it: what is to come in a
/// second comes in a second.
#[derive(Debug, Clone)]
pub(crate) struct GroupClock {
    replica: Replica,
    members: Members,
    steady: Arc<Mutex<Steady>>,
}

impl GroupClock {
    pub(crate) fn of(replica: Replica, members: Members) -> Self {
        Self { replica, members, steady: Arc::new(Mutex::new(Steady { base_ms: 0, since: now() })) }
    }

    /// The time by which it is said what is due, and with which entries are stamped: Unix milliseconds. Until the members were asked in
    /// this term it goes on by the steady clock only: after a common restart the own one may be the one that is wrong.
    pub(crate) fn now_ms(&self) -> u64 {
        let group_ms = self.group_ms();
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        let steady_ms = steady.advance(now(), group_ms.unwrap_or_default());
        drop(steady);
        // A group without an entry has no time that could go on.
        let shown = group_ms.is_none() || self.members.asked_in(self.replica.status().term);
        if shown { steady_ms.max(self.members.middle_ms()) } else { steady_ms }
    }

    /// The same for an entry of this term: the members are asked before its first one. What a group that has rested for long is
    /// told to keep for a minute would be gone by the next entry otherwise.
    pub(crate) async fn stamp_ms(&self, term: u64) -> u64 {
        self.members.until_asked_in(term).await;
        self.now_ms()
    }

    /// What its members' clocks show.
    #[cfg(test)]
    pub(crate) const fn members(&self) -> &Members {
        &self.members
    }

    /// None: the group has no entry.
    fn group_ms(&self) -> Option<u64> {
        // A group that cannot be read is told by whoever reads more of it.
        let group = model::group(&self.replica.state()).ok().flatten();
        group.map(|group| group.time_ms)
    }
}

/// The greatest time that the group was seen to have, and how much has passed since.
#[derive(Debug)]
struct Steady {
    base_ms: u64,
    since: Instant,
}

impl Steady {
    fn advance(&mut self, at: Instant, group_ms: u64) -> u64 {
        let now_ms = self.base_ms.saturating_add(millis(at.saturating_duration_since(self.since)));
        if group_ms > now_ms {
            *self = Self { base_ms: group_ms, since: at };
        }
        now_ms.max(group_ms)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::NodeId;

    use super::*;
    use crate::world::World;

    const HOUR_MS: u64 = 3_600_000;

    #[tokio::test]
    async fn one_wrong_clock_of_three_takes_no_time_along() {
        let world = World::start().await;
        let clock = &world.served.clock;
        let members = &clock.members;
        let begin_ms = clock.now_ms();
        let is_near = |now_ms: u64| now_ms.abs_diff(begin_ms) < HOUR_MS / 2;
        members.hear(NodeId::new(2), begin_ms + HOUR_MS);
        assert!(is_near(clock.now_ms()), "of two the earlier one");
        members.hear(NodeId::new(3), begin_ms);
        assert!(is_near(clock.now_ms()), "the middle one");
        members.hear(NodeId::new(3), begin_ms + HOUR_MS);
        assert!(!is_near(clock.now_ms()), "two say so");
        members.hear(NodeId::new(2), begin_ms);
        members.hear(NodeId::new(3), begin_ms);
        assert!(is_near(clock.now_ms()), "nothing was written by that time");
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn before_the_members_were_asked_time_goes_on_by_the_steady_clock() {
        let world = World::start().await;
        world.submit("f").await;
        let clock = &world.served.clock;
        let (begin_ms, term) = (clock.now_ms(), world.served.replica.status().term);
        clock.members.set_asked(term - 1);
        for node in [2, 3] {
            clock.members.hear(NodeId::new(node), begin_ms + HOUR_MS);
        }
        assert!(clock.now_ms().abs_diff(begin_ms) < HOUR_MS / 2, "whatever the clocks show");
        clock.members.set_asked(term);
        assert!(clock.now_ms() - begin_ms > HOUR_MS / 2);
        world.end().await;
    }

    #[test]
    fn a_time_that_is_ahead_goes_on_at_the_usual_pace() {
        let begin = now();
        let mut steady = Steady { base_ms: 0, since: begin };
        let mut at = |passed_ms, group_ms| steady.advance(begin + Duration::from_millis(passed_ms), group_ms);
        assert_eq!(at(0, 0), 0);
        assert_eq!(at(10, 5_000_000), 5_000_000, "somebody was ahead");
        assert_eq!(at(260, 5_000_000), 5_000_250);
        assert_eq!(at(300, 5_000_250), 5_000_290, "its own stamps are no news");
        assert_eq!(at(310, 9_000_000), 9_000_000);
        assert_eq!(at(1310, 9_000_000), 9_001_000);
    }
}
