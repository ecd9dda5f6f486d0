//! What the stores keep for the functions of a manifest: `[queue.NAME]`, `[topic.NAME]`, `[bucket.NAME]`.

use std::borrow::Cow;

use coracle_proto::id::FunctionId;
use toml::Spanned;
use toml::de::DeValue;

use super::keys::named;
use super::settings::{Setting, Unit};
use super::{Problems, Settings, TriggerEntry, trigger};

type Name<'a, 'i> = &'a Spanned<Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// What may stand in a queue's table.
const QUEUE_KEYS: [&str; 9] =
    ["function", "namespace", "attempts", "backoff", "backoff-max", "age", "dead-keep", "messages", "size"];
const BUCKET_KEYS: [&str; 3] = ["namespace", "keys", "size"];
// Of a bucket without other bounds, as 'coracle kv create' makes it.
const KEYS: Setting = Setting::new("keys", Unit::Count, 1_000_000, (1, u64::MAX));
const SIZE: Setting = Setting::new("size", Unit::Size, 1 << 30, (1, u64::MAX));

/// One queue of a manifest; who takes its messages is a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueEntry {
    /// Its namespace and name.
    pub(crate) id: FunctionId,
    /// From 1, as all lines here.
    pub(crate) line: usize,
    pub(crate) settings: Settings,
}

/// One topic of a manifest; who gets what is published to it are triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicEntry {
    pub(crate) id: FunctionId,
    pub(crate) line: usize,
}

/// One bucket of a manifest; who watches it are triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketEntry {
    pub(crate) id: FunctionId,
    pub(crate) line: usize,
    pub(crate) keys_max: u64,
    pub(crate) bytes_max: u64,
}

/// A queue, and the trigger that its key `function` is.
pub(super) fn queue(
    name: Name<'_, '_>,
    value: &Value<'_>,
    problems: &mut Problems<'_>,
) -> Option<(QueueEntry, Option<TriggerEntry>)> {
    let (mut settings, mut function) = (Settings::default(), None);
    let line = problems.line(&name.span());
    let id = named("queue", name, value, problems, &QUEUE_KEYS, |keys, key, value| match key {
        "function" => {
            function = keys.name(key, value).map(|name| (name, keys.problems.line(&value.span())));
            true
        }
        other => keys.setting(&mut settings, other, value),
    })?;
    let trigger = function.map(|(name, line)| trigger::of_queue(&id, name, line));
    Some((QueueEntry { id, line, settings }, trigger))
}

pub(super) fn topic(
    name: Name<'_, '_>,
    value: &Value<'_>,
    problems: &mut Problems<'_>,
) -> Option<TopicEntry> {
    let line = problems.line(&name.span());
    let id = named("topic", name, value, problems, &["namespace"], |_, _, _| false)?;
    Some(TopicEntry { id, line })
}

pub(super) fn bucket(
    name: Name<'_, '_>,
    value: &Value<'_>,
    problems: &mut Problems<'_>,
) -> Option<BucketEntry> {
    let (mut keys_max, mut bytes_max) = (KEYS.bound.default, SIZE.bound.default);
    let line = problems.line(&name.span());
    let id = named("bucket", name, value, problems, &BUCKET_KEYS, |keys, key, value| {
        let (slot, setting) = match key {
            "keys" => (&mut keys_max, &KEYS),
            "size" => (&mut bytes_max, &SIZE),
            _ => return false,
        };
        *slot = keys.number(key, value, setting).unwrap_or_default();
        true
    })?;
    Some(BucketEntry { id, line, keys_max, bytes_max })
}
