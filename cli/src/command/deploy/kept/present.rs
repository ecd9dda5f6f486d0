//! What stores have of some namespaces.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::pb;

use crate::command::events::Events;
use crate::command::kv::buckets;
use crate::command::queue::all_queues;
use crate::command::queue::name::QueueId;
use crate::command::{schedule, secret, topic, webhook};
use crate::exit::Failure;
use crate::manifest::Settings;

/// As it was when it was looked at.
#[derive(Debug, Default)]
pub(super) struct Present {
    /// Those of the platform among them.
    pub(super) queues: BTreeMap<QueueId, pb::QueueDetail>,
    pub(super) topics: BTreeMap<FunctionId, pb::TopicDetail>,
    pub(super) buckets: BTreeMap<FunctionId, pb::KvBucket>,
    /// With the functions that they call: what else they were told is asked for when it is needed.
    pub(super) schedules: BTreeMap<FunctionId, String>,
    pub(super) webhooks: BTreeMap<FunctionId, pb::WebhookDetail>,
    /// That webhooks may name.
    pub(super) secrets: BTreeSet<FunctionId>,
}

impl Present {
    pub(super) async fn look(namespaces: &BTreeSet<Namespace>, events: &mut Events) -> Result<Self, Failure> {
        let mut present = Self::default();
        for namespace in namespaces {
            // What has a name that this program does not know is left alone.
            let id = |name: &str| FunctionId::parse(namespace.as_str(), name).ok();
            for it in all_queues(events, "queues", namespace, "").await? {
                let id = QueueId { namespace: namespace.clone(), queue: it.queue.clone() };
                present.queues.insert(id, it);
            }
            let topics = topic::all(events, namespace).await?;
            present.topics.extend(topics.into_iter().filter_map(|it| Some((id(&it.topic)?, it))));
            let buckets = buckets::all(events, namespace).await?;
            present.buckets.extend(buckets.into_iter().filter_map(|it| Some((id(&it.bucket)?, it))));
            let webhooks = webhook::all(events, namespace).await?;
            present.webhooks.extend(webhooks.into_iter().filter_map(|it| Some((id(&it.webhook)?, it))));
            let secrets = secret::all(events, namespace).await?;
            present.secrets.extend(secrets.iter().filter_map(|it| id(&it.secret)));
            let schedules = schedule::all(events, namespace).await?;
            present.schedules.extend(
                schedules
                    .into_iter()
                    .filter_map(|it| Some((id(&it.schedule)?, it.spec.unwrap_or_default().function))),
            );
        }
        Ok(present)
    }

    /// A queue of people's.
    pub(super) fn queue(&self, id: &FunctionId) -> Option<&pb::QueueDetail> {
        self.inner(&id.namespace, id.name.as_str())
    }

    /// A queue by the name that stores have for it.
    pub(super) fn inner(&self, namespace: &Namespace, queue: &str) -> Option<&pb::QueueDetail> {
        self.queues.get(&QueueId { namespace: namespace.clone(), queue: queue.to_owned() })
    }

    /// What it was told.
    pub(super) fn settings(&self, namespace: &Namespace, queue: &str) -> Settings {
        let spec = self.inner(namespace, queue).and_then(|it| it.spec.as_ref());
        spec.map(crate::command::settings::told).unwrap_or_default()
    }

    pub(super) fn subscriber(&self, topic: &FunctionId, function: &str) -> Option<&pb::Subscriber> {
        self.topics.get(topic)?.subscribers.iter().find(|it| it.function == function)
    }

    pub(super) fn watcher(&self, bucket: &FunctionId, function: &str) -> Option<&pb::KvWatcher> {
        self.buckets.get(bucket)?.watchers.iter().find(|it| it.function == function)
    }
}

/// Messages of a queue, whatever their state.
pub(super) fn messages(queue: &pb::QueueDetail) -> u64 {
    [queue.ready, queue.delayed, queue.behind, queue.claimed, queue.dead].iter().sum()
}
