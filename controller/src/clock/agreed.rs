//! The time by which the leader stamps: this machine's, unless most nodes tell another one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use coracle_proto::id::NodeId;

use super::millis;

/// A clock that differs by more is wrong: what a node tells of its clock is up to two intervals of reports old.
const OFF_MS: u64 = 5_000;

/// What the clocks of all nodes come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Unix milliseconds.
    pub(crate) time_ms: u64,
    /// Nodes whose clocks are far from it, with what they say.
    pub(crate) off: BTreeMap<NodeId, u64>,
}

/// This node's own clock as long as it is near the middle one of all, else that. Of two that differ nobody knows which is
/// wrong: each keeps its own, and both are told of.
pub(crate) fn agree(node: NodeId, own_ms: u64, told: &BTreeMap<NodeId, u64>) -> Agreed {
    let mut all: BTreeMap<NodeId, u64> = told.clone();
    all.insert(node, own_ms);
    let mut sorted: Vec<u64> = all.values().copied().collect();
    sorted.sort_unstable();
    let middle = |at: usize| sorted.get(at).copied().unwrap_or(own_ms);
    let (low, high) = (middle((sorted.len() - 1) / 2), middle(sorted.len() / 2));
    let near = (low.saturating_sub(OFF_MS)..=high.saturating_add(OFF_MS)).contains(&own_ms);
    let time_ms = if near { own_ms } else { own_ms.clamp(low, high) };
    all.retain(|_, clock_ms| clock_ms.abs_diff(time_ms) > OFF_MS);
    Agreed { time_ms, off: all }
}

/// The agreed time between two looks at the clocks: it goes on with a clock that does not jump.
#[derive(Debug)]
pub(crate) struct ClusterClock(Mutex<Reading>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    unix_ms: u64,
    undisputed: bool,
}

impl ClusterClock {
    /// So late it is by this node's clock, at the moment `now`; no other one was heard of yet.
    pub(crate) const fn new(now: Instant, unix_ms: u64) -> Self {
        Self(Mutex::new(Reading { at: now, unix_ms, undisputed: false }))
    }

    /// What the clocks came to at the moment `now`; undisputed where enough of them were heard, and none was off.
    pub(crate) fn set(&self, now: Instant, unix_ms: u64, undisputed: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reading { at: now, unix_ms, undisputed };
    }

    /// Unix milliseconds at the moment `now`.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        self.read(now).0
    }

    /// The same, if no clock says otherwise: what time goes on by when nobody asks for anything. A wrong clock moves it no
    /// further than somebody's change does, by one step.
    pub(crate) fn undisputed_at(&self, now: Instant) -> Option<u64> {
        let (unix_ms, undisputed) = self.read(now);
        undisputed.then_some(unix_ms)
    }

    fn read(&self, now: Instant) -> (u64, bool) {
        let reading = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = millis(now.saturating_duration_since(reading.at));
        (reading.unix_ms.saturating_add(passed), reading.undisputed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn told(clocks: &[(u64, u64)]) -> BTreeMap<NodeId, u64> {
        clocks.iter().map(|(node, clock_ms)| (NodeId::new(*node), *clock_ms)).collect()
    }

    #[test]
    fn a_leader_with_a_wrong_clock_stamps_by_that_of_the_others() {
        let one = NodeId::new(1);
        for wrong in [NOW + HOUR, NOW - HOUR] {
            let agreed = agree(one, wrong, &told(&[(2, NOW), (3, NOW + 10)]));
            assert!(agreed.time_ms.abs_diff(NOW) <= 10, "{agreed:?}");
            assert_eq!(agreed.off, told(&[(1, wrong)]));
        }
    }

    #[test]
    fn a_wrong_clock_elsewhere_moves_nothing_and_is_named() {
        let others = told(&[(2, NOW + HOUR), (3, NOW - 900)]);
        let agreed = agree(NodeId::new(1), NOW, &others);
        assert_eq!(agreed, Agreed { time_ms: NOW, off: told(&[(2, NOW + HOUR)]) });
    }

    #[test]
    fn alone_or_of_two_each_keeps_its_own() {
        let one = NodeId::new(1);
        assert_eq!(agree(one, NOW, &told(&[])), Agreed { time_ms: NOW, off: told(&[]) });
        let of_two = agree(one, NOW, &told(&[(2, NOW + HOUR)]));
        assert_eq!(of_two, Agreed { time_ms: NOW, off: told(&[(2, NOW + HOUR)]) });
    }

    #[test]
    fn between_two_looks_time_goes_on() {
        let now = clock::now();
        let cluster = ClusterClock::new(now, NOW);
        assert_eq!(cluster.at(now + Duration::from_secs(2)), NOW + 2_000);
        cluster.set(now, NOW - HOUR, false);
        assert_eq!((cluster.at(now), cluster.undisputed_at(now)), (NOW - HOUR, None));
        cluster.set(now, NOW, true);
        assert_eq!(cluster.undisputed_at(now), Some(NOW));
    }
}
