//! What tables of one manifest say of each other.

use std::collections::BTreeMap;

use super::{Manifest, On, Problems, Settings};

/// Names that stand twice, and what contradicts; a queue's settings have those of its trigger too.
pub(super) fn check(manifest: &mut Manifest, problems: &mut Problems<'_>) {
    names(manifest, problems);
    triggers(manifest, problems);
    for trigger in &mut manifest.triggers {
        let On::Queue(_) = &trigger.on else { continue };
        let id = trigger.source();
        let Some(queue) = manifest.queues.iter_mut().find(|queue| queue.id == id) else { continue };
        let settings = std::mem::take(&mut trigger.settings);
        if let Some(name) = queue.settings.contradicts(&settings) {
            let problem =
                format!("'{name}' is told otherwise in line {}, where queue '{id}' stands", queue.line);
            let place = if Settings::KEYS.contains(&name) { "trigger.retry" } else { "trigger" };
            problems.add_at(trigger.line, place, problem);
        }
        queue.settings = queue.settings.clone().over(&settings);
    }
}

/// A name is that of a queue or of a topic, and a schedule's or a webhook's stands once.
fn names(manifest: &Manifest, problems: &mut Problems<'_>) {
    let queues = manifest.queues.iter().map(|it| (("queue or topic", &it.id), it.line, "queue"));
    let topics = manifest.topics.iter().map(|it| (("queue or topic", &it.id), it.line, "topic"));
    let buckets = manifest.buckets.iter().map(|it| (("bucket", &it.id), it.line, "bucket"));
    let schedules = manifest.schedules.iter().map(|it| (("schedule", &it.id), it.line, "schedule"));
    let webhooks = manifest.webhooks.iter().map(|it| (("webhook", &it.id), it.line, "webhook"));
    let mut all: Vec<_> = queues.chain(topics).chain(buckets).chain(schedules).chain(webhooks).collect();
    all.sort_by_key(|(_, line, _)| *line);
    let mut seen = BTreeMap::new();
    for ((what, id), line, table) in all {
        if let Some(first) = seen.insert((what, id), line) {
            let problem = format!("line {first} has a {what} of that name already");
            problems.add_at(line, &format!("{table}.{}", id.name), problem);
        }
    }
}

/// A queue has one function, a topic and a bucket have each once.
fn triggers(manifest: &Manifest, problems: &mut Problems<'_>) {
    let mut seen = BTreeMap::new();
    for trigger in &manifest.triggers {
        let (kind, source) = (trigger.kind(), trigger.source());
        let function = match trigger.on {
            On::Queue(_) => None,
            On::Topic(_) | On::Bucket { .. } => Some(&trigger.function),
        };
        let first = seen.insert((kind, source.clone(), function), (trigger.line, &trigger.function));
        let Some((line, other)) = first else { continue };
        let problem = match *other == trigger.function {
            true => format!("line {line} has a trigger of {kind} '{source}' for '{other}' already"),
            false => format!("line {line} has the messages of queue '{source}' go to '{other}' already"),
        };
        problems.add_at(trigger.line.max(line), "trigger", problem);
    }
}
