//! One thing of a manifest that stores keep: what it is to be, what it is, and how it is made. All kinds have one shape.

use std::fmt;

use coracle_proto::id::FunctionId;
use coracle_proto::pb;

use super::facts::{Facts, of_bucket, of_changes, of_schedule, of_settings, of_webhook};
use super::present::Present;
use crate::command::events::Events;
use crate::command::kv::buckets;
use crate::command::settings::spec;
use crate::command::{queue, schedule, topic, webhook};
use crate::exit::{Exit, Failure};
use crate::manifest::{
    BucketEntry, Changes, Manifest, On, QueueEntry, ScheduleEntry, Settings, TopicEntry, TriggerEntry,
    WebhookEntry,
};
use crate::output::rfc3339;

/// A thing of a manifest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Thing<'m> {
    Bucket(&'m BucketEntry),
    /// With whether a trigger says who takes its messages: that is told when the function is there.
    Queue(&'m QueueEntry, bool),
    Topic(&'m TopicEntry),
    /// That of a queue with the queue's settings, where the manifest has it.
    Trigger(&'m TriggerEntry, Option<&'m QueueEntry>),
    Schedule(&'m ScheduleEntry),
    Webhook(&'m WebhookEntry),
}

impl fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(it) => write!(f, "bucket {}", it.id),
            Self::Queue(it, _) => write!(f, "queue {}", it.id),
            Self::Topic(it) => write!(f, "topic {}", it.id),
            Self::Trigger(it, _) => write!(f, "trigger of {} by {} {}", it.function, it.kind(), it.source()),
            Self::Schedule(it) => write!(f, "schedule {}", it.id),
            Self::Webhook(it) => write!(f, "webhook {}", it.id),
        }
    }
}

/// Whether some trigger takes a queue's messages.
pub(super) fn has_function(manifest: &Manifest, queue: &QueueEntry) -> bool {
    manifest.triggers.iter().any(|it| matches!(it.on, On::Queue(_)) && it.source() == queue.id)
}

/// All triggers.
pub(super) fn triggers(manifest: &Manifest) -> Vec<Thing<'_>> {
    let queue = |it: &TriggerEntry| {
        let id = matches!(it.on, On::Queue(_)).then(|| it.source())?;
        manifest.queues.iter().find(|queue| queue.id == id)
    };
    manifest.triggers.iter().map(|it| Thing::Trigger(it, queue(it))).collect()
}

/// All of a manifest.
pub(super) fn all(manifest: &Manifest) -> Vec<Thing<'_>> {
    let Manifest {
        functions: _,
        addresses: _,
        path: _,
        buckets,
        queues,
        topics,
        triggers: _,
        schedules,
        webhooks,
    } = manifest;
    let all = buckets.iter().map(Thing::Bucket);
    let all = all.chain(queues.iter().map(|queue| Thing::Queue(queue, has_function(manifest, queue))));
    let all = all.chain(topics.iter().map(Thing::Topic)).chain(triggers(manifest));
    let all = all.chain(webhooks.iter().map(Thing::Webhook));
    all.chain(schedules.iter().map(Thing::Schedule)).collect()
}

/// What the queue of a trigger is to be told: what its own table says, or what the trigger says and else as it is.
fn told(it: &TriggerEntry, queue: Option<&QueueEntry>, present: &Present) -> Settings {
    match queue {
        Some(queue) => queue.settings.clone(),
        None => it.settings.clone().over(&present.settings(&it.function.namespace, &it.queue())),
    }
}

fn watcher(it: &TriggerEntry, changes: &Changes) -> pb::KvWatcher {
    let Changes { sets, deletes, prefix, suffix, holds: _ } = changes.clone();
    pb::KvWatcher {
        function: it.function.name.to_string(),
        queue: String::new(),
        sets,
        deletes,
        prefix,
        suffix,
    }
}

impl Thing<'_> {
    /// The line in which it stands.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Bucket(it) => it.line,
            Self::Queue(it, _) => it.line,
            Self::Topic(it) => it.line,
            Self::Trigger(it, _) => it.line,
            Self::Schedule(it) => it.line,
            Self::Webhook(it) => it.line,
        }
    }

    /// Where the answers of its function go, also where only the cluster says it.
    pub(super) fn reply(&self, present: &Present) -> Option<FunctionId> {
        let (namespace, settings) = match self {
            Self::Queue(it, _) => (&it.id.namespace, it.settings.clone()),
            Self::Trigger(it, queue) => (&it.function.namespace, told(it, *queue, present)),
            Self::Webhook(it) => (&it.id.namespace, told_webhook(it, present)),
            Self::Bucket(_) | Self::Topic(_) | Self::Schedule(_) => return None,
        };
        // None is the empty name, and no name.
        FunctionId::parse(namespace.as_str(), &settings.delivery.reply?).ok()
    }

    /// What it is to be.
    pub(super) async fn wanted(&self, present: &Present) -> Result<Facts, Failure> {
        Ok(match self {
            Self::Bucket(it) => of_bucket(it.keys_max, it.bytes_max, it.access),
            Self::Queue(it, true) => of_settings(&it.settings),
            Self::Queue(it, false) => with(of_settings(&it.settings), "function", String::new()),
            Self::Topic(_) => Facts::new(),
            Self::Trigger(it, queue) => match &it.on {
                On::Queue(_) => {
                    let function = it.function.name.to_string();
                    with(of_settings(&told(it, *queue, present)), "function", function)
                }
                On::Topic(_) => of_settings(&told(it, None, present)),
                On::Bucket { changes, .. } => {
                    [of_changes(changes), of_settings(&told(it, None, present))].concat()
                }
            },
            Self::Schedule(it) => of_schedule(&schedule::spec(it).await?),
            Self::Webhook(it) => {
                let spec = webhook_spec(it, &told_webhook(it, present));
                [of_webhook(&spec), of_settings(&told_webhook(it, present))].concat()
            }
        })
    }

    /// What it is; none where there is none.
    pub(super) async fn before(
        &self,
        present: &Present,
        events: &mut Events,
    ) -> Result<Option<Facts>, Failure> {
        Ok(match self {
            // One that is being deleted is none: the store says when it may be made again.
            Self::Bucket(it) => present
                .buckets
                .get(&it.id)
                .filter(|it| !it.dropping)
                .map(|it| of_bucket(it.keys_max, it.bytes_max, buckets::access_of(it))),
            Self::Queue(it, has_function) => present.queue(&it.id).map(|found| {
                let told = of_settings(&present.settings(&it.id.namespace, &found.queue));
                if *has_function { told } else { with(told, "function", found.function.clone()) }
            }),
            Self::Topic(it) => present.topics.get(&it.id).map(|_| Facts::new()),
            Self::Trigger(it, queue) => before_trigger(it, *queue, present),
            Self::Schedule(it) => match schedule::shown(events, &it.id).await {
                Ok(found) => Some(of_schedule(&found.spec.unwrap_or_default())),
                Err(failure) if failure.exit == Exit::NotFound => None,
                Err(failure) => return Err(failure),
            },
            Self::Webhook(it) => present.webhooks.get(&it.id).map(|found| {
                let told = of_settings(&present.settings(&it.id.namespace, &it.queue()));
                [of_webhook(&found.spec.clone().unwrap_or_default()), told].concat()
            }),
        })
    }

    /// Asks whether it could be, as far as stores can tell before the rest is there.
    pub(super) async fn ask(&self, present: &Present, events: &mut Events) -> Result<(), Failure> {
        match self {
            Self::Bucket(it) => buckets::put(events, it, true).await,
            Self::Queue(it, _) => {
                let spec = spec(&unanswered(it.settings.clone()), "");
                queue::put(events, &it.id, &spec, true).await.map(|_| ())
            }
            Self::Topic(it) => topic::put(events, &it.id, true).await.map(|_| ()),
            Self::Trigger(it, queue) => match &it.on {
                On::Queue(_) => {
                    let spec = spec(&unanswered(told(it, *queue, present)), it.function.name.as_str());
                    queue::put(events, &it.source(), &spec, true).await.map(|_| ())
                }
                On::Topic(_) if present.topics.contains_key(&it.source()) => {
                    let spec = spec(&unanswered(told(it, None, present)), it.function.name.as_str());
                    topic::join(events, &it.source(), &spec, true).await.map(|_| ())
                }
                On::Bucket { changes, .. } if present.buckets.contains_key(&it.source()) => {
                    let settings = unanswered(told(it, None, present));
                    let watcher = watcher(it, changes);
                    buckets::begin(events, &it.source(), &watcher, &settings, true).await.map(|_| ())
                }
                On::Topic(_) | On::Bucket { .. } => Ok(()),
            },
            Self::Webhook(it) => {
                let asked = webhook_spec(it, &unanswered(told_webhook(it, present)));
                webhook::put(events, &it.id, &asked, true).await.map(|_| ())
            }
            Self::Schedule(it) => {
                schedule::put(events, &it.id, &schedule::spec(it).await?, true).await.map(|_| ())
            }
        }
    }

    /// Makes it, or tells it anew; answers with what more there is to say.
    pub(super) async fn make(&self, present: &Present, events: &mut Events) -> Result<String, Failure> {
        match self {
            Self::Bucket(it) => buckets::put(events, it, false).await?,
            Self::Queue(it, has_function) => {
                // Whoever takes its messages now goes on until the trigger is made.
                let now = present.queue(&it.id).filter(|_| *has_function);
                let function = now.map_or("", |it| it.function.as_str());
                queue::put(events, &it.id, &spec(&it.settings, function), false).await?;
            }
            Self::Topic(it) => {
                topic::put(events, &it.id, false).await?;
            }
            Self::Trigger(it, queue) => {
                let (source, function) = (it.source(), it.function.name.as_str());
                match &it.on {
                    On::Queue(_) => {
                        let spec = spec(&told(it, *queue, present), function);
                        queue::put(events, &source, &spec, false).await?;
                    }
                    On::Topic(_) => {
                        let spec = spec(&told(it, None, present), function);
                        topic::join(events, &source, &spec, false).await?;
                    }
                    On::Bucket { changes, .. } => {
                        let settings = told(it, None, present);
                        buckets::begin(events, &source, &watcher(it, changes), &settings, false).await?;
                    }
                }
            }
            Self::Webhook(it) => {
                webhook::put(events, &it.id, &webhook_spec(it, &told_webhook(it, present)), false).await?;
                return Ok(format!("; it is sent to at {}", webhook::path(&it.id)));
            }
            Self::Schedule(it) => {
                let made = schedule::put(events, &it.id, &schedule::spec(it).await?, false).await?;
                let next = made.and_then(|made| made.next_ms.first().copied());
                return Ok(next.map(|at| format!("; it fires next at {}", rfc3339(at))).unwrap_or_default());
            }
        }
        Ok(String::new())
    }
}

fn before_trigger(it: &TriggerEntry, queue: Option<&QueueEntry>, present: &Present) -> Option<Facts> {
    let (source, function) = (it.source(), it.function.name.as_str());
    let settings = |queue: &str| of_settings(&present.settings(&source.namespace, queue));
    match &it.on {
        On::Queue(_) => {
            let found = present.queue(&source).filter(|found| !found.function.is_empty())?;
            // Its settings were told before, where the manifest has it.
            let told = queue.map_or_else(|| settings(&found.queue), |queue| of_settings(&queue.settings));
            Some(with(told, "function", found.function.clone()))
        }
        On::Topic(_) => present.subscriber(&source, function).map(|found| settings(&found.queue)),
        On::Bucket { .. } => present.watcher(&source, function).map(|found| {
            let pb::KvWatcher { sets, deletes, prefix, suffix, queue, .. } = found.clone();
            [of_changes(&Changes { sets, deletes, prefix, suffix, holds: None }), settings(&queue)].concat()
        }),
    }
}

/// Without where answers go: that may be made in the same deploy, and is looked at beside.
fn unanswered(mut settings: Settings) -> Settings {
    settings.delivery.reply = None;
    settings
}

/// What a webhook's queue is to be told: what is said, and else as it is.
fn told_webhook(it: &WebhookEntry, present: &Present) -> Settings {
    it.settings.clone().over(&present.settings(&it.id.namespace, &it.queue()))
}

fn webhook_spec(it: &WebhookEntry, settings: &Settings) -> pb::WebhookSpec {
    pb::WebhookSpec {
        function: it.function.to_string(),
        verify: it.verify.name().to_owned(),
        secret: it.secret.to_string(),
        tolerance_ms: it.tolerance_ms,
        queue: Some(spec(settings, "")),
    }
}

fn with(mut facts: Facts, name: &'static str, value: String) -> Facts {
    facts.push((name, value));
    facts
}
