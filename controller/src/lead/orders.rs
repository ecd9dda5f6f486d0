//! What workers are to hold and to delete: thought through once an interval, and only while a majority confirms the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, Revision};
use coracle_proto::pb;
use tokio::sync::watch;
use tracing::debug;

use super::duty::{Agenda, Duty, Leading, drive};
use crate::clock;
use crate::context::{Context, REQUEST_TIMEOUT};
use crate::propose::barrier;
use crate::soft::{INTERVAL, compute};

/// Orders are thought through anew at least so often: artifacts grow old without a word.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
pub(super) async fn order(Leading { context, .. }: Leading<'_>) {
    let urgent = context.soft.subscribe_urgent();
    drive(Orders { context, urgent, last: None }).await;
}

/// What the last orders followed from.
#[derive(Debug)]
struct Orders<'a> {
    context: &'a Context,
    urgent: watch::Receiver<u64>,
    last: Option<(Basis, Instant)>,
}

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

/// What is written into the book, and as of when.
#[derive(Debug)]
enum Entry {
    /// The same as before, for these.
    Renewed(BTreeSet<NodeId>, Instant),
    /// New ones.
    Given(BTreeMap<NodeId, pb::Orders>, Instant),
}

impl Duty for Orders<'_> {
    const NAME: &'static str = "orders";

    type Act = Entry;

    async fn wake(&mut self) {
        loop {
            // The statuses of a whole interval come first: a new leader knows nobody's artifacts yet.
            // Whether it was the interval or a change that ended the wait makes no difference.
            let _ = tokio::time::timeout(INTERVAL, self.urgent.changed()).await;
            // Not Raft's barrier alone: what is read after this must have reached the hub too.
            match barrier(self.context, clock::now() + REQUEST_TIMEOUT).await {
                Ok(_) => return,
                Err(reason) => debug!(%reason, "no orders are given"),
            }
        }
    }

    fn plan(&mut self, now: Instant) -> Agenda<Entry> {
        let context = self.context;
        let (state, seen) = (context.hub.state(), context.soft.nodes());
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
        if self.last.as_ref().is_some_and(same) {
            return Agenda::of([Entry::Renewed(basis.live, now)]);
        }
        self.last = Some((basis, now));
        Agenda::of([Entry::Given(compute(&state, &seen, context.policy, now), now)])
    }

    async fn act(&mut self, act: Entry) -> Result<(), String> {
        match act {
            Entry::Renewed(nodes, now) => self.context.orders.renew(&nodes, now),
            Entry::Given(orders, now) => self.context.orders.put(orders, now),
        }
        Ok(())
    }
}
