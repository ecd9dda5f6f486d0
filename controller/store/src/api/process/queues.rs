//! What the queues of a leader hold, and what became of all that they held, for whoever scrapes.

use coracle_raft::{Role, Stop};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing::warn;

use crate::model::{self, Counts, Place};
use crate::replicas::Replica;

/// Queues that are shown, of each group: the first ones by name. Each has some twenty lines.
const QUEUES_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct In {
    namespace: String,
    queue: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Became {
    namespace: String,
    queue: String,
    event: &'static str,
}

/// Only a leader tells: what three replicas tell would be three times as much.
pub(super) fn register(registry: &mut Registry, replicas: &[Replica]) {
    let (messages, events) = (Family::<In, Gauge>::default(), Family::<Became, Counter>::default());
    for replica in replicas.iter().filter(|it| it.status().role == Role::Leader) {
        if let Err(stop) = read(replica, &messages, &events) {
            warn!(%stop, "the queues of a group cannot be read");
        }
    }
    registry.register("queue_messages", "Messages of a queue, by what they wait for", messages);
    registry.register("queue_events", "What became of a queue's messages since it was made", events);
}

fn read(
    replica: &Replica,
    messages: &Family<In, Gauge>,
    events: &Family<Became, Counter>,
) -> Result<(), Stop> {
    let view = replica.state();
    for (place, _) in model::all_queues(&view, QUEUES_MAX)? {
        let counts = model::counts(&view, &place)?;
        let Place { namespace, name } = place;
        let (namespace, queue) = (namespace.to_string(), name.to_string());
        for (state, count) in states(&counts) {
            let labels = In { namespace: namespace.clone(), queue: queue.clone(), state };
            messages.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for (event, count) in became(&counts) {
            let labels = Became { namespace: namespace.clone(), queue: queue.clone(), event };
            events.get_or_create(&labels).inc_by(count);
        }
    }
    Ok(())
}

const fn states(counts: &Counts) -> [(&'static str, u64); 5] {
    [
        ("ready", counts.ready),
        ("delayed", counts.delayed),
        ("behind", counts.behind),
        ("claimed", counts.claimed),
        ("dead", counts.dead),
    ]
}

/// What became of all that a queue was given, by names that the command line shows too.
pub(in super::super) const fn became(counts: &Counts) -> [(&'static str, u64); 16] {
    [
        ("published", counts.published),
        ("repeated", counts.repeated),
        ("refused", counts.refused),
        ("retried", counts.retried),
        ("offered", counts.offered),
        ("lapsed", counts.lapsed),
        ("dead_attempts", counts.dead_attempts),
        ("dead_age", counts.dead_age),
        ("dead_rejected", counts.dead_rejected),
        ("redriven", counts.redriven),
        ("settled", counts.settled),
        ("cancelled", counts.cancelled),
        ("purged", counts.purged),
        ("expired", counts.expired),
        // Before their day was over: a bound of the queue.
        ("forgotten", counts.forgotten),
        ("records_forgotten", counts.records_forgotten),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bounds_made_forgotten_is_counted_too() {
        let counts = Counts { forgotten: 3, records_forgotten: 4, ..Counts::default() };
        let shown = became(&counts);
        assert!(shown.contains(&("forgotten", 3)) && shown.contains(&("records_forgotten", 4)), "{shown:?}");
    }
}
