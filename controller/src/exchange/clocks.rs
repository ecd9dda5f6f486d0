//! What the nodes say of their clocks, and which of them are wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coracle_proto::id::NodeId;
use coracle_proto::record::NodeState;

use crate::clock::{self, Agreed, agree};
use crate::context::Context;
use crate::soft::{INTERVAL, Seen};

/// The name under which wrong clocks are raised as an alarm.
const SOURCE: &str = "clocks";
/// Clocks of which most are right when one is wrong.
const ENOUGH: usize = 3;
/// What was said longer ago counts no more.
const LATELY: Duration = INTERVAL.saturating_mul(6);

/// Looks at all clocks: sets the one by which this node stamps when it leads, and names those that are off.
pub(super) fn look(context: &Context, now: Instant) {
    let mut told = clocks_told(&context.soft.nodes(), now);
    told.remove(&context.node);
    let agreed = agree(context.node, clock::unix_ms(), &told);
    let state = context.hub.state();
    let alive = state.nodes().filter(|node| node.state == NodeState::Alive).count();
    // Its own, and those of others: three where there are so many, for of two nobody knows which one is wrong.
    let undisputed = agreed.off.is_empty() && told.len() + 1 >= alive.min(ENOUGH);
    context.clock.set(now, agreed.time_ms, undisputed);
    // The leader speaks for all: its alarms are told on.
    let alarms = if context.leads() { alarms(&agreed) } else { Vec::new() };
    context.soft.set_alarms(SOURCE, alarms);
}

/// How late it is now by each node's clock, as it was said lately.
fn clocks_told(seen: &BTreeMap<NodeId, Seen>, now: Instant) -> BTreeMap<NodeId, u64> {
    let at = |(node, seen): (&NodeId, &Seen)| {
        let ago = now.saturating_duration_since(seen.at);
        let told = seen.status.clock_ms > 0 && ago < LATELY;
        told.then(|| (*node, seen.status.clock_ms.saturating_add(clock::millis(ago))))
    };
    seen.iter().filter_map(at).collect()
}

fn alarms(agreed: &Agreed) -> Vec<String> {
    let sentence = |(node, clock_ms): (&NodeId, &u64)| {
        let seconds = clock_ms.abs_diff(agreed.time_ms) / 1000;
        let which = if *clock_ms > agreed.time_ms { "ahead" } else { "behind" };
        format!("clock-off: the clock of node {node} is {seconds} s {which}; set it, by NTP for instance")
    };
    agreed.off.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb;

    use super::*;

    #[test]
    fn a_clock_that_is_off_is_named_and_an_old_word_is_none() {
        let now = clock::now();
        let seen = |clock_ms, ago| {
            let status = pb::NodeStatus { clock_ms, ..pb::NodeStatus::default() };
            Seen::first(&status, now.checked_sub(ago).unwrap())
        };
        let second = Duration::from_secs(1);
        let seen = [seen(100_000, second), seen(0, second), seen(100_000, LATELY)];
        let seen: BTreeMap<_, _> = (2..).map(NodeId::new).zip(seen).collect();
        let told = clocks_told(&seen, now);
        assert_eq!(told, BTreeMap::from([(NodeId::new(2), 101_000)]));
        let named = alarms(&agree(NodeId::new(1), 50_000, &told));
        assert_eq!(named, ["clock-off: the clock of node 2 is 51 s ahead; set it, by NTP for instance"]);
    }
}
