//! The middle one of the clocks of a group's members: one that is wrong changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::id::NodeId;

/// What a clock of another node said counts for so long, run by the own steady one: a node that has died takes no
/// clock along. A crystal is wrong by some hundredths of a second in that time.
const HEARD_WITHIN: Duration = Duration::from_mins(10);

/// What the clocks of the group's members say.
#[derive(Debug, Default)]
pub(crate) struct Clocks(BTreeMap<NodeId, Heard>);

/// What a clock said.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// When, by the steady clock.
    at: Duration,
    /// Unix milliseconds.
    unix_ms: u64,
}

impl Clocks {
    /// A member's clock said so, when the steady clock showed this.
    pub(crate) fn heard(&mut self, node: NodeId, at: Duration, unix_ms: u64) {
        self.0.insert(node, Heard { at, unix_ms });
        self.0.retain(|_, heard| at.saturating_sub(heard.at) <= HEARD_WITHIN);
    }

    /// Others are no members any more.
    pub(crate) fn keep(&mut self, is_member: impl Fn(NodeId) -> bool) {
        self.0.retain(|node, _| is_member(*node));
    }

    /// How many of them are known now, the own one among them.
    pub(crate) fn known(&self, now: Duration) -> usize {
        let lately = self.0.values().filter(|heard| now.saturating_sub(heard.at) <= HEARD_WITHIN);
        lately.count().saturating_add(1)
    }

    /// The middle one of those that were heard lately and of the own one; of two the earlier one: what fires late can
    /// still fire.
    pub(crate) fn middle(&self, now: Duration, own_ms: u64) -> u64 {
        let passed = |heard: &Heard| now.saturating_sub(heard.at);
        let lately = self.0.values().filter(|heard| passed(heard) <= HEARD_WITHIN);
        let mut all: Vec<u64> =
            lately.map(|heard| heard.unix_ms.saturating_add(millis(passed(heard)))).collect();
        all.push(own_ms);
        all.sort_unstable();
        all.get((all.len() - 1) / 2).copied().unwrap_or(own_ms)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn one_wrong_clock_of_three_changes_nothing() {
        let mut clocks = Clocks::default();
        let at = Duration::from_secs(1);
        assert_eq!(clocks.middle(at, 500), 500, "nobody else was heard");
        clocks.heard(NodeId::new(2), at, 1000);
        assert_eq!(clocks.middle(at, HOUR_MS), 1000, "the earlier one of two");
        assert_eq!(clocks.middle(at, 900), 900);
        clocks.heard(NodeId::new(3), at, 1010);
        for (own_ms, expected) in [(HOUR_MS, 1010), (0, 1000), (1005, 1005)] {
            assert_eq!(clocks.middle(at, own_ms), expected);
        }
        assert_eq!(clocks.middle(at + Duration::from_secs(2), HOUR_MS), 3010, "time has passed for them too");
        assert_eq!(clocks.middle(at + HEARD_WITHIN, 0), 601_000, "whoever has died since");
        let silent = at + HEARD_WITHIN + Duration::from_millis(1);
        assert_eq!(clocks.middle(silent, 77), 77, "who is silent for long does not count");
        clocks.keep(|node| node == NodeId::new(2));
        assert_eq!(clocks.middle(at, 2000), 1000, "who is no member does not count");
    }
}
