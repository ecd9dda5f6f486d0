//! One `[[trigger]]` table: which function is called by what.

mod fires;

use clap::ValueEnum as _;
use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use toml::Spanned;
use toml::de::DeValue;

use std::path::Path;

use self::fires::{Fires, WEBHOOK};
use super::keys::Keys;
use super::{
    Data, Delivery, Holds, Missed, Overlap, Problems, ScheduleEntry, Settings, TOLERANCE, Verify,
    WebhookEntry, ZONE, in_order,
};

type Value<'i> = Spanned<DeValue<'i>>;

/// What may stand in a trigger's table.
const KEYS: [&str; 21] = [
    "function",
    "queue",
    "topic",
    "bucket",
    "schedule",
    "on",
    "filter",
    "retry",
    "namespace",
    "name",
    "zone",
    "data",
    "missed",
    "overlap",
    "verify",
    "secret",
    "tolerance",
    "path",
    "mode",
    "reply",
    "batch",
];
/// What fires it: exactly one of them stands there, unless it is a webhook.
const SOURCES: [&str; 4] = ["queue", "topic", "bucket", "schedule"];
/// What may stand in `retry`, by the names that a queue has for it.
const RETRY: [(&str, &str); 7] = [
    ("attempts", "attempts"),
    ("backoff", "backoff"),
    ("backoff-max", "backoff-max"),
    ("max-age", "age"),
    ("dead-keep", "dead-keep"),
    ("messages", "messages"),
    ("size", "size"),
];

/// One trigger of a manifest, unless it is a schedule's or a webhook's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TriggerEntry {
    pub(crate) line: usize,
    pub(crate) function: FunctionId,
    pub(crate) on: On,
    /// Of the queue in which its messages wait.
    pub(crate) settings: Settings,
}

/// What fires it, of the function's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum On {
    /// A message of a queue.
    Queue(FunctionName),
    /// A message of a topic.
    Topic(FunctionName),
    /// A change of a bucket.
    Bucket { name: FunctionName, changes: Changes },
}

/// Of which changes of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) sets: bool,
    pub(crate) deletes: bool,
    /// Of keys; empty: all.
    pub(crate) prefix: String,
    pub(crate) suffix: String,
    /// What the bucket must hold; none: whatever it does.
    pub(crate) holds: Option<Holds>,
}

impl TriggerEntry {
    /// What fires it, by its namespace and name.
    pub(crate) fn source(&self) -> FunctionId {
        let (On::Queue(name) | On::Topic(name) | On::Bucket { name, .. }) = &self.on;
        FunctionId { namespace: self.function.namespace.clone(), name: name.clone() }
    }

    /// The name of the queue in which its messages wait, as stores have it.
    pub(crate) fn queue(&self) -> String {
        match &self.on {
            On::Queue(name) => name.to_string(),
            On::Topic(name) | On::Bucket { name, .. } => {
                format!("{}/{name}/{}", self.kind(), self.function.name)
            }
        }
    }

    /// `queue`, `topic`, `bucket`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.on {
            On::Queue(_) => "queue",
            On::Topic(_) => "topic",
            On::Bucket { .. } => "bucket",
        }
    }
}

/// That of a queue's key `function`.
pub(super) fn of_queue(queue: &FunctionId, function: FunctionName, line: usize) -> TriggerEntry {
    TriggerEntry {
        line,
        function: FunctionId { namespace: queue.namespace.clone(), name: function },
        on: On::Queue(queue.name.clone()),
        settings: Settings::default(),
    }
}

/// What a table says.
#[derive(Debug)]
pub(super) enum Read {
    Trigger(TriggerEntry),
    Schedule(ScheduleEntry),
    Webhook(WebhookEntry),
}

/// What was found of it so far.
#[derive(Debug, Default)]
struct Draft {
    function: Option<FunctionName>,
    namespace: Option<Namespace>,
    /// A queue's, a topic's or a bucket's.
    source: Option<FunctionName>,
    fires: Option<Fires>,
    filter: (String, String),
    settings: Settings,
    name: Option<FunctionName>,
    cron: Option<String>,
    zone: Option<String>,
    data: Option<String>,
    missed: Option<Missed>,
    overlap: Option<Overlap>,
    verify: Option<Verify>,
    secret: Option<FunctionName>,
    tolerance_ms: u64,
}

/// Reads the table; `None` where it has problems.
pub(super) fn read(value: &Value<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Read> {
    let Some(table) = value.get_ref().as_table() else {
        problems.expected(value, "trigger", "tables [[trigger]]");
        return None;
    };
    let before = problems.count();
    let entries = in_order(table);
    let span = entries.first().map_or_else(|| value.span(), |(key, _)| key.span());
    let mut draft = Draft::default();
    let mut keys = Keys { table: "trigger".to_owned(), problems };
    for (key, value) in &entries {
        if !draft.read(&mut keys, key.get_ref(), value) {
            keys.problems.unknown_key(&key.span(), "trigger", key.get_ref(), &KEYS);
        }
    }
    let Keys { problems, .. } = keys;
    let mut sources: Vec<_> = SOURCES.into_iter().filter(|source| table.contains_key(*source)).collect();
    sources.extend((draft.fires == Some(Fires::Webhook)).then_some(WEBHOOK));
    let source = match sources.as_slice() {
        [one] => *one,
        [] => {
            let keys = SOURCES.join(", ");
            let problem = format!("one of the keys {keys} is missing, or on = \"{WEBHOOK}\"");
            problems.add(&span, "trigger", problem);
            return None;
        }
        several => {
            let problem = format!("{} stand there: a trigger has one of them", several.join(" and "));
            problems.add(&span, "trigger", problem);
            return None;
        }
    };
    let needed: &[&str] = if source == WEBHOOK { &["function", "verify", "secret"] } else { &["function"] };
    for key in needed.iter().filter(|key| !table.contains_key(**key)) {
        problems.add(&span, "trigger", format!("the key '{key}' is missing"));
    }
    for (key, value) in &entries {
        if let Some(only) = belongs(key.get_ref()).filter(|only| !only.contains(&source)) {
            let place = format!("trigger.{}", key.get_ref());
            problems.add(
                &value.span(),
                &place,
                format!("it goes with {}, not with {source}", only.join(", ")),
            );
        }
    }
    let line = problems.line(&span);
    if problems.count() == before { draft.entry(source, folder, line) } else { None }
}

/// With which sources a key goes; none: with all, or there is no such key.
fn belongs(key: &str) -> Option<&'static [&'static str]> {
    match key {
        "on" => Some(&["bucket", WEBHOOK]),
        "filter" => Some(&["bucket"]),
        "retry" => Some(&["queue", "topic", "bucket", WEBHOOK]),
        "name" => Some(&["schedule", WEBHOOK]),
        "zone" | "data" | "missed" | "overlap" => Some(&["schedule"]),
        "verify" | "secret" | "tolerance" => Some(&[WEBHOOK]),
        delivery if Delivery::KEYS.contains(&delivery) => Some(&["queue", "topic", "bucket", WEBHOOK]),
        _ => None,
    }
}

impl Draft {
    /// Reads one key; false where it does not exist.
    fn read(&mut self, keys: &mut Keys<'_, '_>, key: &str, value: &Value<'_>) -> bool {
        let text = |keys: &mut Keys<'_, '_>| keys.text(key, value).map(ToOwned::to_owned);
        match key {
            "function" => self.function = keys.name(key, value),
            "namespace" => self.namespace = keys.namespace(key, value),
            "queue" | "topic" | "bucket" => self.source = keys.name(key, value),
            "on" => self.fires = fires::read(keys, value),
            "filter" => keys.inner(key, value, &["prefix", "suffix"], |keys, key, value| {
                let text = keys.text(key, value).unwrap_or_default().to_owned();
                match key {
                    "prefix" => self.filter.0 = text,
                    "suffix" => self.filter.1 = text,
                    _ => return false,
                }
                true
            }),
            "retry" => keys.inner(key, value, &RETRY.map(|(key, _)| key), |keys, key, value| {
                let known = RETRY.iter().find(|(known, _)| *known == key);
                let slot = known.and_then(|(_, name)| self.settings.slot(name));
                let Some((setting, slot)) = slot else { return false };
                *slot = keys.number(key, value, setting).unwrap_or_default();
                true
            }),
            "schedule" => self.cron = text(keys),
            "name" => self.name = keys.name(key, value),
            "zone" => self.zone = text(keys),
            "data" => self.data = text(keys),
            "missed" => self.missed = keys.parsed(key, value, |text| Missed::from_str(text, false)),
            "overlap" => self.overlap = keys.parsed(key, value, |text| Overlap::from_str(text, false)),
            "verify" => self.verify = keys.parsed(key, value, |text| Verify::from_str(text, false)),
            "secret" => self.secret = keys.name(key, value),
            "tolerance" => self.tolerance_ms = keys.number(key, value, &TOLERANCE).unwrap_or_default(),
            delivery => return self.settings.delivery.read(keys, delivery, value),
        }
        true
    }

    /// None where something is missing, which was told.
    fn entry(self, source: &str, folder: &Path, line: usize) -> Option<Read> {
        let function = FunctionId { namespace: self.namespace.unwrap_or_default(), name: self.function? };
        let on = match source {
            "schedule" => {
                let name = self.name.unwrap_or_else(|| function.name.clone());
                return Some(Read::Schedule(ScheduleEntry {
                    id: FunctionId { namespace: function.namespace, name },
                    line,
                    cron: self.cron?,
                    zone: self.zone.unwrap_or_else(|| ZONE.to_owned()),
                    function: function.name,
                    data: Data::given(&self.data.unwrap_or_default(), folder),
                    missed: self.missed.unwrap_or_default(),
                    overlap: self.overlap.unwrap_or_default(),
                }));
            }
            WEBHOOK => {
                let name = self.name.unwrap_or_else(|| function.name.clone());
                return Some(Read::Webhook(WebhookEntry {
                    id: FunctionId { namespace: function.namespace, name },
                    line,
                    function: function.name,
                    verify: self.verify?,
                    secret: self.secret?,
                    tolerance_ms: self.tolerance_ms,
                    settings: self.settings,
                }));
            }
            "queue" => On::Queue(self.source?),
            "topic" => On::Topic(self.source?),
            _ => {
                let (prefix, suffix) = self.filter;
                let (holds, sets, deletes) = match self.fires {
                    Some(Fires::Changes { holds, sets, deletes }) => (Some(holds), sets, deletes),
                    Some(Fires::Webhook) | None => (None, true, true),
                };
                On::Bucket { name: self.source?, changes: Changes { sets, deletes, prefix, suffix, holds } }
            }
        };
        Some(Read::Trigger(TriggerEntry { line, function, on, settings: self.settings }))
    }
}
