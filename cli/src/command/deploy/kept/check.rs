//! What could not be made is refused before anything is deployed, all of it at once.

use std::collections::BTreeMap;

use coracle_proto::id::FunctionId;
use coracle_proto::status::{Code, Refusal};

use super::present::Present;
use super::thing::{self, Thing};
use crate::command::events::Events;
use crate::command::kv::buckets::holds_of;
use crate::exit::{Exit, Failure};
use crate::manifest::{Holds, Manifest, ManifestError, On};

/// What is wrong, each with its line.
#[derive(Debug, Default)]
struct Wrong(Vec<(usize, Failure)>);

impl Wrong {
    /// What was refused is one of them; what was not answered ends it.
    fn take(&mut self, line: usize, what: &str, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Ok(()) => Ok(()),
            Err(failure) => match failure.exit {
                Exit::Usage | Exit::Refused | Exit::NotFound | Exit::Conflict | Exit::Throttled => {
                    let said = failure.message.starts_with(what);
                    self.0.push((line, if said { failure } else { failure.during(what) }));
                    Ok(())
                }
                Exit::Ok
                | Exit::Connect
                | Exit::Denied
                | Exit::Server
                | Exit::TimedOut
                | Exit::Function
                | Exit::Config
                | Exit::Removed => Err(failure.during(what)),
            },
        }
    }

    /// All of them as one; its exit code is theirs where they have one in common.
    fn settle(mut self, manifest: &Manifest) -> Result<(), Failure> {
        self.0.sort_by_key(|(line, _)| *line);
        let Some(exit) = self.0.first().map(|(_, failure)| failure.exit) else { return Ok(()) };
        let exit = if self.0.iter().all(|(_, it)| it.exit == exit) { exit } else { Exit::Refused };
        let problems: Vec<_> = self.0.into_iter().map(|(line, failure)| (line, failure.message)).collect();
        if !manifest.is_file() {
            let all: Vec<_> = problems.into_iter().map(|(_, problem)| problem).collect();
            return Err(Failure::new(exit, all.join("; ")));
        }
        Err(Failure::new(exit, ManifestError::found(&manifest.path, problems).to_string()))
    }
}

pub(super) async fn check(
    manifest: &Manifest,
    present: &Present,
    events: &mut Events,
) -> Result<(), Failure> {
    let mut wrong = Wrong::default();
    functions(manifest, events, &mut wrong).await?;
    let unknown = sources(manifest, present, &mut wrong)?;
    grants(manifest, present, &mut wrong)?;
    replies(manifest, present, &mut wrong)?;
    let unknown = [unknown, secrets(manifest, present, &mut wrong)?].concat();
    let queues = manifest.queues.iter().map(|queue| Thing::Queue(queue, false));
    let buckets = manifest.buckets.iter().map(Thing::Bucket);
    let things = buckets.chain(queues).chain(manifest.topics.iter().map(Thing::Topic));
    let things =
        things.chain(manifest.webhooks.iter().map(Thing::Webhook).filter(|it| !unknown.contains(&it.line())));
    let things =
        things.chain(thing::triggers(manifest).into_iter().filter(|it| !unknown.contains(&it.line())));
    for thing in things.chain(manifest.schedules.iter().map(Thing::Schedule)) {
        let asked = thing.ask(present, events).await;
        wrong.take(thing.line(), &thing.to_string(), asked)?;
    }
    wrong.settle(manifest)
}

/// Each function that is called is of the manifest, or there.
async fn functions(manifest: &Manifest, events: &mut Events, wrong: &mut Wrong) -> Result<(), Failure> {
    let triggers = thing::triggers(manifest).into_iter();
    let called = triggers.chain(manifest.webhooks.iter().map(Thing::Webhook));
    let called = called.chain(manifest.schedules.iter().map(Thing::Schedule)).filter_map(|thing| {
        let function = match thing {
            Thing::Trigger(it, _) => it.function.clone(),
            Thing::Schedule(it) => it.of(),
            Thing::Webhook(it) => it.of(),
            Thing::Bucket(_) | Thing::Queue(..) | Thing::Topic(_) => return None,
        };
        Some((function, thing))
    });
    let mut asked: BTreeMap<FunctionId, Result<(), Failure>> =
        manifest.functions.iter().map(|it| (it.id.clone(), Ok(()))).collect();
    for (function, thing) in called {
        if !asked.contains_key(&function) {
            let found = events.find_function(&function).await;
            asked.insert(function.clone(), found);
        }
        let found = asked.get(&function).cloned().unwrap_or(Ok(()));
        wrong.take(thing.line(), &thing.to_string(), found)?;
    }
    Ok(())
}

/// Each queue, topic and bucket of a trigger is of the manifest, or there; the lines of those that are not.
fn sources(manifest: &Manifest, present: &Present, wrong: &mut Wrong) -> Result<Vec<usize>, Failure> {
    let mut unknown = Vec::new();
    for thing in thing::triggers(manifest) {
        let Thing::Trigger(it, _) = thing else { continue };
        let id = it.source();
        let (code, known) = match it.on {
            On::Queue(_) => {
                let named = manifest.queues.iter().any(|queue| queue.id == id);
                (Code::QueueNotFound, named || present.queue(&id).is_some())
            }
            On::Topic(_) => {
                let named = manifest.topics.iter().any(|topic| topic.id == id);
                (Code::QueueNotFound, named || present.topics.contains_key(&id))
            }
            On::Bucket { ref changes, .. } => {
                let found = holds(manifest, present, &id);
                if let (Some(found), Some(needed)) = (found, changes.holds)
                    && found != needed
                {
                    unknown.push(it.line);
                    wrong.take(it.line, &thing.to_string(), Err(other_kind(&id, found, needed)))?;
                }
                (Code::BucketNotFound, found.is_some())
            }
        };
        if !known {
            unknown.push(it.line);
            let kind = it.kind();
            let sentence =
                format!("there is no {kind} '{id}', neither in the cluster nor as [{kind}.{}] here", id.name);
            wrong.take(it.line, &thing.to_string(), Err(Refusal::new(code, sentence).into()))?;
        }
    }
    Ok(unknown)
}

/// What a bucket of the manifest or of the cluster holds; none where there is none.
fn holds(manifest: &Manifest, present: &Present, id: &FunctionId) -> Option<Holds> {
    let named = manifest.buckets.iter().find(|it| it.id == *id).map(|it| it.holds);
    named.or_else(|| present.buckets.get(id).map(holds_of))
}

fn other_kind(id: &FunctionId, found: Holds, needed: Holds) -> Failure {
    let sentence = format!("bucket '{id}' holds {}, and {} are needed", found.name(), needed.name());
    Refusal::new(Code::InvalidArgument, sentence).into()
}

/// Each secret of a webhook is there; the lines of those where it is not.
fn secrets(manifest: &Manifest, present: &Present, wrong: &mut Wrong) -> Result<Vec<usize>, Failure> {
    let mut unknown = Vec::new();
    for it in &manifest.webhooks {
        let id = FunctionId { namespace: it.id.namespace.clone(), name: it.secret.clone() };
        if !present.secrets.contains(&id) {
            unknown.push(it.line);
            let sentence = format!("there is no secret '{id}': 'coracle secret set {id}' keeps one");
            let refusal = Refusal::new(Code::SecretNotFound, sentence);
            wrong.take(it.line, &Thing::Webhook(it).to_string(), Err(refusal.into()))?;
        }
    }
    Ok(unknown)
}

/// Whether it is a queue or a topic of the manifest, or of the cluster.
fn is_published_to(manifest: &Manifest, present: &Present, id: &FunctionId) -> bool {
    manifest.queues.iter().any(|it| it.id == *id)
        || manifest.topics.iter().any(|it| it.id == *id)
        || present.queue(id).is_some()
        || present.topics.contains_key(id)
}

/// Each queue and topic that the manifest has answers go to is of it, or there.
fn replies(manifest: &Manifest, present: &Present, wrong: &mut Wrong) -> Result<(), Failure> {
    let nothing = Present::default();
    for thing in thing::all(manifest) {
        // What a trigger does not say its queue's table does, whose line it is.
        let (Thing::Trigger(_, None) | Thing::Queue(..) | Thing::Webhook(_)) = thing else { continue };
        let Some(id) = thing.reply(&nothing).filter(|id| !is_published_to(manifest, present, id)) else {
            continue;
        };
        let sentence =
            format!("reply: there is no queue or topic '{}', neither in the cluster nor here", id.name);
        let refusal = Refusal::new(Code::QueueNotFound, sentence);
        wrong.take(thing.line(), &thing.to_string(), Err(refusal.into()))?;
    }
    Ok(())
}

/// Each bucket, queue and topic that functions are granted is of the manifest, or there.
fn grants(manifest: &Manifest, present: &Present, wrong: &mut Wrong) -> Result<(), Failure> {
    for function in &manifest.functions {
        let namespace = &function.id.namespace;
        let mut refuse =
            |failure| wrong.take(function.line, &format!("function {}", function.id), Err(failure));
        let missing = |code, kind: &str, name: &str| -> Failure {
            let sentence = format!("there is no {kind} '{name}', neither in the cluster nor here");
            Refusal::new(code, sentence).into()
        };
        let values = function.spec.keyvalue().iter().map(|it| (it, Holds::Values));
        for (grant, needed) in values.chain(function.spec.blobs().iter().map(|it| (it, Holds::Blobs))) {
            let Ok(id) = FunctionId::parse(namespace.as_str(), grant.bucket()) else { continue };
            match holds(manifest, present, &id) {
                None => refuse(missing(Code::BucketNotFound, "bucket", grant.bucket()))?,
                Some(found) if found != needed => refuse(other_kind(&id, found, needed))?,
                Some(_) => {}
            }
        }
        for name in function.spec.publish() {
            let Ok(id) = FunctionId::parse(namespace.as_str(), name) else { continue };
            if !is_published_to(manifest, present, &id) {
                refuse(missing(Code::QueueNotFound, "queue or topic", name))?;
            }
        }
    }
    Ok(())
}
