//! What the queues and topics of a leader hold, and what became of all that they held, for whoever scrapes.
//!
//! Labels are bounded: of each group the first thousand queues and the first thousand topics are shown, in the order of namespace and
//! name, and how many there are is told beside them. A topic has no line for each subscriber: those are its queues.

use coracle_proto::id::GroupId;
use coracle_raft::{Role, Stop, View};
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
/// The same of topics, each of which has two.
const TOPICS_MAX: usize = 1000;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    namespace: String,
    topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    group: u32,
}

#[derive(Debug, Default)]
struct Shown {
    messages: Family<In, Gauge>,
    events: Family<Became, Counter>,
    subscribers: Family<Topic, Gauge>,
    published: Family<Topic, Counter>,
    named: Family<Of, Gauge>,
}

/// Only a leader tells: what three replicas tell would be three times as much.
pub(super) fn register(registry: &mut Registry, replicas: &[(GroupId, Replica)]) {
    let shown = Shown::default();
    for (group, replica) in replicas.iter().filter(|(_, it)| it.status().role == Role::Leader) {
        let view = replica.state();
        let read = shown.queues(&view).and_then(|()| shown.topics(&view, *group));
        if let Err(stop) = read {
            warn!(%group, %stop, "the queues of a group cannot be read");
        }
    }
    let Shown { messages, events, subscribers, published, named } = shown;
    registry.register("queue_messages", "Messages of a queue, by what they wait for", messages);
    registry.register("queue_events", "What became of a queue's messages since it was made", events);
    registry.register("topic_subscribers", "Functions that hear a topic", subscribers);
    registry.register("topic_published", "Messages that a topic has taken since it was made", published);
    registry.register("queues_and_topics", "Those of a group, other than the queues of functions", named);
}

impl Shown {
    fn topics(&self, view: &View, group: GroupId) -> Result<(), Stop> {
        for (place, topic) in model::all_topics(view, TOPICS_MAX)? {
            let labels = Topic { namespace: place.namespace.to_string(), topic: place.name.to_string() };
            let subscribers = i64::try_from(topic.subscribers.len()).unwrap_or(i64::MAX);
            self.subscribers.get_or_create(&labels).set(subscribers);
            self.published.get_or_create(&labels).inc_by(topic.published);
        }
        let count = i64::try_from(model::named_count(view)?).unwrap_or(i64::MAX);
        self.named.get_or_create(&Of { group: group.get() }).set(count);
        Ok(())
    }

    fn queues(&self, view: &View) -> Result<(), Stop> {
        for (place, _) in model::all_queues(view, QUEUES_MAX)? {
            let counts = model::counts(view, &place)?;
            let Place { namespace, name } = place;
            let (namespace, queue) = (namespace.to_string(), name.to_string());
            for (state, count) in states(&counts) {
                let labels = In { namespace: namespace.clone(), queue: queue.clone(), state };
                self.messages.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            for (event, count) in became(&counts) {
                let labels = Became { namespace: namespace.clone(), queue: queue.clone(), event };
                self.events.get_or_create(&labels).inc_by(count);
            }
        }
        Ok(())
    }
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
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::model::{Effect, Name, Op, Publish, Settings};
    use crate::world::{GROUP, World};

    #[tokio::test(flavor = "multi_thread")]
    async fn queues_and_topics_of_a_leader_are_shown() {
        let world = World::start().await;
        let (topic, function) = (Place::parse("shop", "done").unwrap(), Name::parse("f").unwrap());
        world.done(Op::PutTopic { topic: topic.clone() }).await;
        let settings = Settings::DEFAULT;
        world.done(Op::Subscribe { topic: topic.clone(), function, settings }).await;
        let publish = Publish { queue: topic, ..world.publish() };
        let effects = vec![Effect::Publish(Box::new(publish))];
        world.done(Op::Perform { effects, hops: 0 }).await;
        let mut registry = Registry::default();
        register(&mut registry, &[(GROUP, world.served.replica.clone())]);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "queue_messages{namespace=\"shop\",queue=\"topic/done/f\",state=\"ready\"} 1",
            "topic_subscribers{namespace=\"shop\",topic=\"done\"} 1",
            "topic_published_total{namespace=\"shop\",topic=\"done\"} 1",
            "queues_and_topics{group=\"1\"} 2",
        ] {
            assert!(text.contains(line), "no '{line}' in {text}");
        }
        world.end().await;
    }

    #[test]
    fn what_bounds_made_forgotten_is_counted_too() {
        let counts = Counts { forgotten: 3, records_forgotten: 4, ..Counts::default() };
        let shown = became(&counts);
        assert!(shown.contains(&("forgotten", 3)) && shown.contains(&("records_forgotten", 4)), "{shown:?}");
    }
}
