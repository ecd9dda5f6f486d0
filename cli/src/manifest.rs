//! `coracle.toml`: which functions there are, what each is granted, what is kept for them and what calls them, read and
//! checked as a whole.

mod delivery;
mod function;
mod kept;
mod keys;
mod problem;
mod schedule;
mod settings;
mod together;
mod trigger;
mod webhook;

use std::ops::Range;
use std::path::{Path, PathBuf};

use coracle_proto::id::FunctionId;
use coracle_proto::route::{RouteGrant, RouteSpec};
use coracle_proto::spec::FunctionSpec;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use delivery::{
    BATCH, BATCH_WAIT, Delivery, Mode, path as delivery_path, reply as delivery_reply,
};
pub(crate) use function::retry;
pub(crate) use kept::{Access, BucketEntry, Holds, QueueEntry, TopicEntry};
pub(crate) use problem::{ManifestError, Problems};
pub(crate) use schedule::{Data, Missed, Overlap, ScheduleEntry, ZONE};
pub(crate) use settings::{Setting, Settings};
pub(crate) use trigger::{Changes, On, TriggerEntry};
pub(crate) use webhook::{PREFIX as WEBHOOK, TOLERANCE, Verify, WebhookEntry, queue_of as webhook_queue};

use crate::address::Address;

/// Its name, where none is given.
pub(crate) const FILE_NAME: &str = "coracle.toml";
/// Bytes of a manifest: a larger file is something else.
const SIZE_MAX: u64 = 1 << 20;
/// What may stand outside of tables.
const KEYS: [&str; 7] = ["addresses", "function", "queue", "topic", "bucket", "trigger", "schedule"];

/// A manifest that was found good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Where it stands; empty: in no file.
    pub(crate) path: PathBuf,
    /// The cluster that the project belongs to; may be empty.
    pub(crate) addresses: Vec<Address>,
    /// In the order of the file, as all of these.
    pub(crate) functions: Vec<FunctionEntry>,
    pub(crate) buckets: Vec<BucketEntry>,
    pub(crate) queues: Vec<QueueEntry>,
    pub(crate) topics: Vec<TopicEntry>,
    /// Queues' functions among them.
    pub(crate) triggers: Vec<TriggerEntry>,
    /// Those of triggers behind those of tables.
    pub(crate) schedules: Vec<ScheduleEntry>,
    pub(crate) webhooks: Vec<WebhookEntry>,
}

impl Manifest {
    /// Whether it was read from a file, and not from flags.
    pub(crate) fn is_file(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }
}

/// One function of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionEntry {
    /// Its namespace and name.
    pub(crate) id: FunctionId,
    /// From 1; 0: it stands in no file.
    pub(crate) line: usize,
    /// The artifact's file.
    pub(crate) component: PathBuf,
    /// Its own routes; none means its name.
    pub(crate) routes: Vec<RouteSpec>,
    /// Whom it lets have routes that take calls from its own.
    pub(crate) route_grants: Vec<RouteGrant>,
    /// What it is granted.
    pub(crate) spec: FunctionSpec,
}

/// Reads a manifest; paths in it are relative to its folder.
pub(crate) fn read(path: &Path) -> Result<Manifest, ManifestError> {
    let text = read_text(path)?;
    let parsed = parse(&text, path.parent().unwrap_or_else(|| Path::new("")));
    let manifest = parsed.map_err(|problems| problems.of(path))?;
    Ok(Manifest { path: path.to_owned(), ..manifest })
}

/// The cluster that the project in this folder names, whatever else is wrong with its manifest.
pub(crate) fn read_addresses(path: &Path) -> Result<Vec<Address>, ManifestError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = read_text(path)?;
    let mut problems = Problems::new(&text);
    let Ok(document) = DeTable::parse(&text) else { return Ok(Vec::new()) };
    let found = document.get_ref().get("addresses").map(|value| addresses(value, &mut problems));
    problems.settle(found.unwrap_or_default()).map_err(|problems| problems.of(path))
}

fn read_text(path: &Path) -> Result<String, ManifestError> {
    let unreadable = |error: std::io::Error| ManifestError::unreadable(path, &error);
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > SIZE_MAX {
        let reason = format!("has {size} bytes, at most {SIZE_MAX}: is it a manifest?");
        return Err(ManifestError::unreadable(path, &reason));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// Checks everything and reports all problems at once.
fn parse<'t>(text: &'t str, folder: &Path) -> Result<Manifest, Problems<'t>> {
    let mut problems = Problems::new(text);
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            problems.add(&error.span().unwrap_or_default(), "", error.message().trim());
            return Err(problems);
        }
    };
    let mut manifest = Manifest::default();
    for (key, value) in in_order(&document) {
        match key.get_ref().as_ref() {
            "addresses" => manifest.addresses = addresses(value, &mut problems),
            "function" => manifest.functions = functions(value, folder, &mut problems),
            "schedule" => {
                let found = tables(value, "schedule", &mut problems, |name, value, problems| {
                    schedule::read(name, value, folder, problems)
                });
                manifest.schedules.splice(0..0, found);
            }
            "queue" => {
                for (queue, trigger) in tables(value, "queue", &mut problems, kept::queue) {
                    manifest.queues.push(queue);
                    manifest.triggers.extend(trigger);
                }
            }
            "topic" => manifest.topics = tables(value, "topic", &mut problems, kept::topic),
            "bucket" => manifest.buckets = tables(value, "bucket", &mut problems, kept::bucket),
            "trigger" => triggers(value, folder, &mut problems, &mut manifest),
            unknown => problems.unknown_key(&key.span(), "", unknown, &KEYS),
        }
    }
    if !KEYS.iter().any(|key| *key != "addresses" && document.contains_key(*key)) {
        problems.add(&(0..0), "", "there is no [function.NAME] table, nor any other: nothing to deploy");
    }
    together::check(&mut manifest, &mut problems);
    problems.settle(manifest)
}

type Key<'a, 'i> = &'a Spanned<std::borrow::Cow<'i, str>>;
type Entry<'a, 'i> = (Key<'a, 'i>, &'a Spanned<DeValue<'i>>);

/// A table's entries as they stand in the file.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn addresses(value: &Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Vec<Address> {
    let texts = function::texts(value, "addresses", problems);
    let mut found = Vec::with_capacity(texts.len());
    for (span, text) in texts {
        match text.parse() {
            Ok(address) => found.push(address),
            Err(error) => problems.add(&span, "addresses", error),
        }
    }
    found
}

fn functions(value: &Spanned<DeValue<'_>>, folder: &Path, problems: &mut Problems<'_>) -> Vec<FunctionEntry> {
    let Some(tables) = value.get_ref().as_table() else {
        problems.expected(value, "function", "tables [function.NAME]");
        return Vec::new();
    };
    if tables.is_empty() {
        problems.add(&value.span(), "function", "there is no function: nothing to deploy");
    }
    let mut found: Vec<FunctionEntry> = Vec::with_capacity(tables.len());
    for (name, value) in in_order(tables) {
        let Some(entry) = function::read(name, value, folder, problems) else { continue };
        if let Some(other) = conflict(&found, &entry) {
            problems.add(&name.span(), &format!("function.{}", name.get_ref()), other);
        }
        found.push(entry);
    }
    found
}

/// Tables `[KIND.NAME]`, each read by what is given.
fn tables<'t, T>(
    value: &Spanned<DeValue<'_>>,
    kind: &str,
    problems: &mut Problems<'t>,
    read: impl Fn(Key<'_, '_>, &Spanned<DeValue<'_>>, &mut Problems<'t>) -> Option<T>,
) -> Vec<T> {
    let Some(tables) = value.get_ref().as_table() else {
        problems.expected(value, kind, &format!("tables [{kind}.NAME]"));
        return Vec::new();
    };
    in_order(tables).into_iter().filter_map(|(name, value)| read(name, value, problems)).collect()
}

fn triggers(
    value: &Spanned<DeValue<'_>>,
    folder: &Path,
    problems: &mut Problems<'_>,
    manifest: &mut Manifest,
) {
    let Some(list) = value.get_ref().as_array() else {
        problems.expected(value, "trigger", "tables [[trigger]]");
        return;
    };
    for one in list.iter() {
        match trigger::read(one, folder, problems) {
            Some(trigger::Read::Trigger(entry)) => manifest.triggers.push(entry),
            Some(trigger::Read::Schedule(entry)) => manifest.schedules.push(entry),
            Some(trigger::Read::Webhook(entry)) => manifest.webhooks.push(entry),
            None => {}
        }
    }
}

/// Two functions of one manifest cannot have one route.
fn conflict(before: &[FunctionEntry], entry: &FunctionEntry) -> Option<String> {
    let route =
        |other: &FunctionEntry| other.routes.iter().find(|route| entry.routes.contains(route)).cloned();
    before
        .iter()
        .find_map(|other| Some(format!("the route '{}' is already that of '{}'", route(other)?, other.id)))
}

/// The line, from 1, in which a span begins.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
