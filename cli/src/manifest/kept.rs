//! What the stores keep for the functions of a manifest: `[queue.NAME]`, `[topic.NAME]`, `[bucket.NAME]`.

use std::borrow::Cow;

use clap::ValueEnum;
use coracle_proto::id::FunctionId;
use toml::Spanned;
use toml::de::DeValue;

use super::keys::named;
use super::settings::{Setting, Unit};
use super::{Problems, Settings, TriggerEntry, trigger};

type Name<'a, 'i> = &'a Spanned<Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// What may stand in a queue's table.
const QUEUE_KEYS: [&str; 13] = [
    "function",
    "namespace",
    "attempts",
    "backoff",
    "backoff-max",
    "age",
    "dead-keep",
    "messages",
    "size",
    "path",
    "mode",
    "reply",
    "batch",
];
const BUCKET_KEYS: [&str; 6] = ["namespace", "holds", "access", "keys", "size", "bytes"];
// Of a bucket without other bounds, as 'coracle kv create' and 'coracle blob create' make it.
const KEYS: Setting = Setting::new("keys", Unit::Count, 1_000_000, (1, u64::MAX));
const SIZE: Setting = Setting::new("size", Unit::Size, 1 << 30, (1, u64::MAX));
const SIZE_OF_BLOBS: Setting = Setting::new("size", Unit::Size, 10 << 30, (1, u64::MAX));

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
    pub(crate) holds: Holds,
    /// Of one that holds values nobody asks by HTTP.
    pub(crate) access: Access,
}

impl BucketEntry {
    /// As it is made where nothing else is said.
    pub(crate) fn usual(id: FunctionId, holds: Holds) -> Self {
        let size = match holds {
            Holds::Values => &SIZE,
            Holds::Blobs => &SIZE_OF_BLOBS,
        };
        let (keys_max, bytes_max) = (KEYS.bound.default, size.bound.default);
        Self { id, line: 0, keys_max, bytes_max, holds, access: Access::default() }
    }

    /// What is other here than before, for people.
    pub(crate) fn changes(&self, before: &Self) -> Vec<String> {
        let numbers = [(&KEYS, self.keys_max, before.keys_max), (&SIZE, self.bytes_max, before.bytes_max)];
        let numbers = numbers.into_iter().filter(|(_, now, was)| now != was);
        let access = (self.access != before.access)
            .then(|| format!("access {} instead of {}", self.access.name(), before.access.name()));
        numbers.map(|(setting, now, was)| setting.change(now, was)).chain(access).collect()
    }
}

/// What a bucket holds. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Holds {
    /// Small ones, with versions (wasi:keyvalue).
    #[default]
    Values,
    /// Large ones (wasi:blobstore).
    Blobs,
}

impl Holds {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Blobs => "blobs",
        }
    }
}

/// What somebody who comes by HTTP may do with blobs without a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Access {
    /// Nothing.
    #[default]
    Signed,
    /// Read.
    Read,
    /// Read, write and delete.
    Open,
}

impl Access {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Read => "read",
            Self::Open => "open",
        }
    }
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
    let (mut keys_max, mut bytes_max) = (KEYS.bound.default, None);
    let (mut holds, mut access, mut access_span) = (Holds::default(), None, 0..0);
    let line = problems.line(&name.span());
    let before = problems.count();
    let id = named("bucket", name, value, problems, &BUCKET_KEYS, |keys, key, value| {
        match key {
            "holds" => {
                let read = keys.parsed(key, value, |text| Holds::from_str(text, false));
                holds = read.unwrap_or_default();
            }
            "access" => {
                access = keys.parsed(key, value, |text| Access::from_str(text, false));
                access_span = value.span();
            }
            "keys" => keys_max = keys.number(key, value, &KEYS).unwrap_or_default(),
            "size" | "bytes" if bytes_max.is_some() => {
                keys.wrong(key, value, "'size' and 'bytes' say the same")
            }
            "size" | "bytes" => bytes_max = Some(keys.number(key, value, &SIZE).unwrap_or_default()),
            _ => return false,
        }
        true
    });
    if holds == Holds::Values && access.is_some() {
        let place = format!("bucket.{}.access", name.get_ref());
        problems.add(&access_span, &place, "it goes with holds = \"blobs\"");
    }
    let id = id.filter(|_| problems.count() == before)?;
    let usual = BucketEntry::usual(id, holds);
    let (bytes_max, access) = (bytes_max.unwrap_or(usual.bytes_max), access.unwrap_or(usual.access));
    Some(BucketEntry { line, keys_max, bytes_max, access, ..usual })
}
