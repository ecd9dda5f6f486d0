//! Writes the leader's orders into the book, once an interval and only while a majority confirms the leader.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, Revision};
use tracing::debug;

use super::{INTERVAL, compute};
use crate::clock;
use crate::context::{Context, REQUEST_TIMEOUT};
use crate::propose::barrier;

/// Orders are thought through anew at least so often: artifacts grow old without a word.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// What orders follow from, beside the time. Thinking them through costs all replicas, and most of the time they come
/// out the same.
#[derive(Debug, PartialEq, Eq)]
struct Basis {
    revision: Revision,
    /// The place of the last change of anybody's lists.
    changed: u64,
    /// Who reported lately.
    live: BTreeSet<NodeId>,
}

/// Runs until it is dropped.
pub(crate) async fn order(context: &Context) {
    let mut urgent = context.soft.subscribe_urgent();
    let mut last: Option<(Basis, Instant)> = None;
    loop {
        // The statuses of a whole interval come first: a new leader knows nobody's artifacts yet.
        // Whether it was the interval or a change that ended the wait makes no difference.
        let _ = tokio::time::timeout(INTERVAL, urgent.changed()).await;
        // Not Raft's barrier alone: what is read below must have reached the hub too.
        if let Err(reason) = barrier(context, clock::now() + REQUEST_TIMEOUT).await {
            debug!(%reason, "no orders are given");
            continue;
        }
        let (now, state, seen) = (clock::now(), context.hub.state(), context.soft.nodes());
        let live = seen
            .iter()
            .filter(|(_, seen)| now.saturating_duration_since(seen.at) <= context.policy.live_within);
        let basis = Basis {
            revision: state.revision(),
            changed: seen.values().map(|seen| seen.changed).max().unwrap_or(0),
            live: live.map(|(node, _)| *node).collect(),
        };
        let same = |(before, at): &(Basis, Instant)| {
            *before == basis && now.saturating_duration_since(*at) < AT_LEAST_EVERY
        };
        if last.as_ref().is_some_and(same) {
            context.orders.renew(&basis.live, now);
            continue;
        }
        context.orders.put(compute(&state, &seen, context.policy, now), now);
        last = Some((basis, now));
    }
}
