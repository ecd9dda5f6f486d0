//! What stores have of a manifest's namespaces and the manifest does not name.

use std::fmt;

use coracle_proto::id::{FunctionId, Namespace};

use super::present::{Present, messages};
use super::thing::{self, Thing};
use crate::command::granted::{Grants, Kind};
use crate::command::kv::buckets::holds_of;
use crate::command::queue::name::QueueId;
use crate::command::webhook::queue_of;
use crate::manifest::{FunctionEntry, Holds, Manifest, On, TriggerEntry, WEBHOOK};

/// As many are told one by one.
const TOLD_MAX: usize = 10;

/// Something that the manifest does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unnamed {
    pub(super) what: What,
    /// Messages, or values.
    pub(super) holds: u64,
    /// Functions that the manifest does not have, and that are called by it or may use it.
    pub(super) others: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Schedule(FunctionId),
    /// The topic, the function, and the queue in which its messages wait.
    Subscriber(FunctionId, String, QueueId),
    Watcher(FunctionId, String, QueueId),
    /// One of people's.
    Queue(FunctionId),
    /// That of a subscriber or a watcher which is none any more.
    Left(QueueId),
    Topic(FunctionId),
    /// With what it holds.
    Bucket(FunctionId, Holds),
    /// With its queue.
    Webhook(FunctionId, QueueId),
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Schedule(id) => write!(f, "schedule {id}"),
            What::Subscriber(id, function, _) => write!(f, "trigger of {function} by topic {id}"),
            What::Watcher(id, function, _) => write!(f, "trigger of {function} by bucket {id}"),
            What::Queue(id) => write!(f, "queue {id}"),
            What::Left(id) => write!(f, "queue {id}"),
            What::Topic(id) => write!(f, "topic {id}"),
            What::Bucket(id, _) => write!(f, "bucket {id}"),
            What::Webhook(id, _) => write!(f, "webhook {id}"),
        }
    }
}

impl Unnamed {
    /// Why it needs force to go; none where nobody would miss it.
    pub(super) fn in_use(&self) -> Option<String> {
        let what = match (&self.what, self.holds) {
            (_, 0) => None,
            (What::Bucket(_, Holds::Values), 1) => Some("1 value".to_owned()),
            (What::Bucket(_, Holds::Blobs), 1) => Some("1 blob".to_owned()),
            (What::Bucket(_, holds), many) => Some(format!("{many} {}", holds.name())),
            (_, 1) => Some("1 message".to_owned()),
            (_, many) => Some(format!("{many} messages")),
        };
        let others = match self.others.as_slice() {
            [] => None,
            [one] => Some(format!("for '{one}', which is not of this manifest")),
            many => Some(format!("for '{}', which are not of this manifest", many.join("', '"))),
        };
        let reasons: Vec<_> = what.into_iter().chain(others).collect();
        (!reasons.is_empty()).then(|| format!("{self} ({})", reasons.join(", ")))
    }
}

/// Functions that the manifest does not have may use some of it.
pub(super) fn add_granted(all: &mut [Unnamed], manifest: &Manifest, grants: &Grants) {
    for unnamed in all {
        let (id, kind) = match &unnamed.what {
            What::Queue(id) => (id, Kind::Queue),
            What::Topic(id) => (id, Kind::Topic),
            What::Bucket(id, holds) => (id, Kind::of(*holds)),
            What::Schedule(_)
            | What::Subscriber(..)
            | What::Watcher(..)
            | What::Left(_)
            | What::Webhook(..) => continue,
        };
        for function in grants.of(id, kind) {
            let others = outside(manifest, &function.namespace, function.name.as_str());
            let new = others.into_iter().find(|it| !unnamed.others.contains(it));
            unnamed.others.extend(new);
        }
    }
}

/// What is said of it where it stays: of many only how many.
pub(super) fn notes(unnamed: &[Unnamed]) -> Vec<String> {
    let way = "'coracle deploy --prune' deletes";
    if unnamed.len() > TOLD_MAX {
        let count = unnamed.len();
        return vec![format!(
            "{count} things of the same namespace are not named here, and stay: they may be another project's; \
             {way} them"
        )];
    }
    let note = |it| format!("{it} is not named here, and stays: it may be another project's; {way} it");
    unnamed.iter().map(note).collect()
}

/// All of it, in the order in which it can go: who uses something before that.
pub(super) fn unnamed(manifest: &Manifest, present: &Present) -> Vec<Unnamed> {
    let mut found = Vec::new();
    for (id, function) in &present.schedules {
        if !manifest.schedules.iter().any(|it| it.id == *id) {
            let others = outside(manifest, &id.namespace, function);
            found.push(Unnamed { what: What::Schedule(id.clone()), holds: 0, others });
        }
    }
    triggers(manifest, present, &mut found);
    webhooks(manifest, present, &mut found);
    let uses = |id: &FunctionId, kind: &str| {
        let fires = |it: &TriggerEntry| it.kind() == kind && it.source() == *id;
        // Answers go to a queue or a topic, whichever has that name.
        let answers = |it: &Thing<'_>| kind != "bucket" && it.reply(present).as_ref() == Some(id);
        manifest.triggers.iter().any(fires)
            || manifest.functions.iter().any(|it| grants(it, id, kind))
            || thing::all(manifest).iter().any(answers)
    };
    queues(manifest, present, &uses, &mut found);
    for id in present.topics.keys() {
        if !manifest.topics.iter().any(|it| it.id == *id) && !uses(id, "topic") {
            found.push(Unnamed { what: What::Topic(id.clone()), holds: 0, others: Vec::new() });
        }
    }
    // One that is being deleted goes anyway.
    for (id, bucket) in present.buckets.iter().filter(|(_, bucket)| !bucket.dropping) {
        if !manifest.buckets.iter().any(|it| it.id == *id) && !uses(id, "bucket") {
            let what = What::Bucket(id.clone(), holds_of(bucket));
            found.push(Unnamed { what, holds: bucket.keys, others: Vec::new() });
        }
    }
    found
}

/// Each with what waits in its queue.
fn webhooks(manifest: &Manifest, present: &Present, found: &mut Vec<Unnamed>) {
    for (id, webhook) in &present.webhooks {
        if manifest.webhooks.iter().any(|it| it.id == *id) {
            continue;
        }
        let function = webhook.spec.as_ref().map_or("", |spec| spec.function.as_str());
        let queue = queue_of(id);
        let holds = present.inner(&id.namespace, &queue.queue).map_or(0, messages);
        let others = outside(manifest, &id.namespace, function);
        found.push(Unnamed { what: What::Webhook(id.clone(), queue), holds, others });
    }
}

/// A function, where the manifest does not have it.
fn outside(manifest: &Manifest, namespace: &Namespace, function: &str) -> Vec<String> {
    let here = |it: &FunctionEntry| it.id.namespace == *namespace && it.id.name.as_str() == function;
    if function.is_empty() || manifest.functions.iter().any(here) {
        Vec::new()
    } else {
        vec![function.to_owned()]
    }
}

/// Whether a function may use it.
fn grants(function: &FunctionEntry, id: &FunctionId, kind: &str) -> bool {
    let (spec, name) = (&function.spec, id.name.as_str());
    let granted = match kind {
        "bucket" => spec.keyvalue().iter().chain(spec.blobs()).any(|it| it.bucket() == name),
        _ => spec.publish().iter().any(|it| it == name),
    };
    granted && function.id.namespace == id.namespace
}

/// People's queues, and those of subscribers and watchers that are gone.
fn queues(
    manifest: &Manifest,
    present: &Present,
    uses: &impl Fn(&FunctionId, &str) -> bool,
    found: &mut Vec<Unnamed>,
) {
    for (id, queue) in &present.queues {
        let (namespace, holds) = (&id.namespace, messages(queue));
        let others = outside(manifest, namespace, &queue.function);
        match id.queue.split('/').collect::<Vec<_>>().as_slice() {
            [name] => {
                let Ok(own) = FunctionId::parse(namespace.as_str(), name) else { continue };
                if !manifest.queues.iter().any(|it| it.id == own) && !uses(&own, "queue") {
                    found.push(Unnamed { what: What::Queue(own), holds, others });
                }
            }
            [kind @ ("topic" | "bucket"), name, function] => {
                let Ok(source) = FunctionId::parse(namespace.as_str(), name) else { continue };
                let heard = match *kind {
                    "topic" => present.subscriber(&source, function).is_some(),
                    _ => present.watcher(&source, function).is_some(),
                };
                let wanted =
                    |it: &TriggerEntry| it.function.namespace == *namespace && it.queue() == id.queue;
                if !heard && !manifest.triggers.iter().any(wanted) {
                    found.push(Unnamed { what: What::Left(id.clone()), holds, others });
                }
            }
            [WEBHOOK, name] => {
                let Ok(source) = FunctionId::parse(namespace.as_str(), name) else { continue };
                let named = manifest.webhooks.iter().any(|it| it.id == source);
                if !named && !present.webhooks.contains_key(&source) {
                    found.push(Unnamed { what: What::Left(id.clone()), holds, others });
                }
            }
            // A function's own goes with it.
            _ => {}
        }
    }
}

/// Subscribers and watchers that no trigger names.
fn triggers(manifest: &Manifest, present: &Present, found: &mut Vec<Unnamed>) {
    let named = |id: &FunctionId, function: &str, is_topic: bool| {
        manifest.triggers.iter().any(|it| {
            let same = match it.on {
                On::Queue(_) => false,
                On::Topic(_) => is_topic,
                On::Bucket { .. } => !is_topic,
            };
            same && it.source() == *id && it.function.name.as_str() == function
        })
    };
    let mut add = |id: &FunctionId, function: &str, queue: &str, is_topic: bool| {
        if named(id, function, is_topic) {
            return;
        }
        let holds = present.inner(&id.namespace, queue).map_or(0, messages);
        let queue = QueueId { namespace: id.namespace.clone(), queue: queue.to_owned() };
        let others = outside(manifest, &id.namespace, function);
        let function = function.to_owned();
        let what = match is_topic {
            true => What::Subscriber(id.clone(), function, queue),
            false => What::Watcher(id.clone(), function, queue),
        };
        found.push(Unnamed { what, holds, others });
    };
    for (id, topic) in &present.topics {
        topic.subscribers.iter().for_each(|it| add(id, &it.function, &it.queue, true));
    }
    for (id, bucket) in &present.buckets {
        bucket.watchers.iter().for_each(|it| add(id, &it.function, &it.queue, false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_things_only_their_count_is_told() {
        let all: Vec<_> = (0..TOLD_MAX + 1)
            .map(|number| {
                let id = FunctionId::parse("default", &format!("t{number}")).unwrap();
                Unnamed { what: What::Topic(id), holds: 0, others: Vec::new() }
            })
            .collect();
        let few = notes(&all[..TOLD_MAX]);
        assert_eq!(few.len(), TOLD_MAX);
        assert!(few[0].starts_with("topic t0 is not named here") && few[0].contains("another project's"));
        let many = notes(&all);
        assert_eq!(many.len(), 1);
        assert!(many[0].starts_with("11 things of the same namespace are not named here"), "{many:?}");
    }
}
