//! What stores have of a manifest's namespaces and the manifest does not name: it stays, unless it is to be deleted.

use std::fmt;

use coracle_proto::id::FunctionId;

use super::present::{Present, messages};
use crate::command::events::Events;
use crate::command::kv::buckets;
use crate::command::queue::name::QueueId;
use crate::command::queue::{drop_queue, name};
use crate::command::{schedule, topic};
use crate::exit::{Exit, Failure};
use crate::manifest::{FunctionEntry, Manifest, On, TriggerEntry};
use crate::output::Talk;

/// It is to be deleted.
#[derive(Debug, Clone, Copy)]
pub(in crate::command::deploy) struct Prune {
    /// Also what has messages or values.
    pub(in crate::command::deploy) force: bool,
    /// Without being asked.
    pub(in crate::command::deploy) yes: bool,
}

/// Something that the manifest does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unnamed {
    what: What,
    /// Messages, or values.
    holds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Schedule(FunctionId),
    /// The topic, the function, and the queue in which its messages wait.
    Subscriber(FunctionId, String, QueueId),
    Watcher(FunctionId, String, QueueId),
    Queue(QueueId),
    Topic(FunctionId),
    Bucket(FunctionId),
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Schedule(id) => write!(f, "schedule {id}"),
            What::Subscriber(id, function, _) => write!(f, "trigger of {function} by topic {id}"),
            What::Watcher(id, function, _) => write!(f, "trigger of {function} by bucket {id}"),
            What::Queue(id) => write!(f, "queue {id}"),
            What::Topic(id) => write!(f, "topic {id}"),
            What::Bucket(id) => write!(f, "bucket {id}"),
        }
    }
}

/// All of it, in the order in which it can go: who uses something before that.
pub(super) fn unnamed(manifest: &Manifest, present: &Present) -> Vec<Unnamed> {
    let mut found = Vec::new();
    let schedule = |id: &&FunctionId| !manifest.schedules.iter().any(|it| it.id == **id);
    let schedules = present.schedules.iter().filter(schedule);
    found.extend(schedules.map(|id| Unnamed { what: What::Schedule(id.clone()), holds: 0 }));
    triggers(manifest, present, &mut found);
    let uses = |id: &FunctionId, kind: &str| {
        let fires = |it: &TriggerEntry| it.kind() == kind && it.source() == *id;
        manifest.triggers.iter().any(fires) || manifest.functions.iter().any(|it| grants(it, id, kind))
    };
    for (id, queue) in &present.queues {
        // Others than people's go with what they are for.
        let Ok(own) = FunctionId::parse(id.namespace.as_str(), &id.queue) else { continue };
        if !manifest.queues.iter().any(|it| it.id == own) && !uses(&own, "queue") {
            found.push(Unnamed { what: What::Queue(id.clone()), holds: messages(queue) });
        }
    }
    for id in present.topics.keys() {
        if !manifest.topics.iter().any(|it| it.id == *id) && !uses(id, "topic") {
            found.push(Unnamed { what: What::Topic(id.clone()), holds: 0 });
        }
    }
    for (id, bucket) in &present.buckets {
        if !manifest.buckets.iter().any(|it| it.id == *id) && !uses(id, "bucket") {
            found.push(Unnamed { what: What::Bucket(id.clone()), holds: bucket.keys });
        }
    }
    found
}

/// Whether a function may use it.
fn grants(function: &FunctionEntry, id: &FunctionId, kind: &str) -> bool {
    let (spec, name) = (&function.spec, id.name.as_str());
    let granted = match kind {
        "bucket" => spec.keyvalue().iter().any(|it| it.bucket() == name),
        _ => spec.publish().iter().any(|it| it == name),
    };
    granted && function.id.namespace == id.namespace
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
        let function = function.to_owned();
        let what = match is_topic {
            true => What::Subscriber(id.clone(), function, queue),
            false => What::Watcher(id.clone(), function, queue),
        };
        found.push(Unnamed { what, holds });
    };
    for (id, topic) in &present.topics {
        topic.subscribers.iter().for_each(|it| add(id, &it.function, &it.queue, true));
    }
    for (id, bucket) in &present.buckets {
        bucket.watchers.iter().for_each(|it| add(id, &it.function, &it.queue, false));
    }
}

impl Prune {
    /// Asks, before anything is deployed; what holds something needs force.
    pub(super) fn may(self, unnamed: &[Unnamed], talk: Talk) -> Result<(), Failure> {
        let holding: Vec<_> = unnamed.iter().filter(|it| it.holds > 0).map(Unnamed::holding).collect();
        if !self.force && !holding.is_empty() {
            let sentence = "would lose what is in them; --force deletes them all the same";
            return Err(Failure::new(Exit::Conflict, format!("--prune: {} {sentence}", holding.join(", "))));
        }
        if unnamed.is_empty() {
            return Ok(());
        }
        let all: Vec<_> = unnamed.iter().map(ToString::to_string).collect();
        talk.confirm(&format!("Delete what the manifest does not name: {}?", all.join(", ")), self.yes)
    }
}

impl Unnamed {
    fn holding(&self) -> String {
        let what = match (&self.what, self.holds) {
            (What::Bucket(_), 1) => "value",
            (What::Bucket(_), _) => "values",
            (_, 1) => "message",
            (_, _) => "messages",
        };
        format!("{self} ({} {what})", self.holds)
    }

    pub(super) async fn delete(&self, prune: Prune, events: &mut Events) -> Result<(), Failure> {
        let done = match &self.what {
            What::Schedule(id) => schedule::drop_schedule(events, id).await,
            What::Subscriber(id, function, queue) => match topic::leave(events, id, function).await {
                Ok(_) => self.delete_queue(queue, prune, events).await,
                Err(failure) => Err(failure),
            },
            What::Watcher(id, function, queue) => match buckets::end(events, id, function).await {
                Ok(_) => self.delete_queue(queue, prune, events).await,
                Err(failure) => Err(failure),
            },
            What::Queue(id) => self.delete_queue(id, prune, events).await,
            What::Topic(id) => topic::drop_topic(events, id, prune.force).await,
            What::Bucket(id) => {
                let all = buckets::all(events, &id.namespace).await?;
                let found = all.iter().find(|it| it.bucket == id.name.as_str());
                self.still(found.map_or(0, |it| it.keys), prune)?;
                buckets::drop_bucket(events, id, prune.force).await
            }
        };
        match done {
            // Somebody else has done it.
            Err(failure) if failure.exit == Exit::NotFound => Ok(()),
            done => done,
        }
    }

    /// Its function is no reason to keep it, so it is forced; what came since it was looked at is one.
    async fn delete_queue(&self, id: &QueueId, prune: Prune, events: &mut Events) -> Result<(), Failure> {
        let found = name::get(events, "queue", id).await?;
        self.still(messages(&found), prune)?;
        drop_queue(events, id, true).await.map(|_| ())
    }

    fn still(&self, holds: u64, prune: Prune) -> Result<(), Failure> {
        if holds == 0 || prune.force {
            return Ok(());
        }
        let now = Self { holds, ..self.clone() }.holding();
        Err(Failure::new(Exit::Conflict, format!("--prune: {now} is not empty any more, and stays")))
    }
}
