//! `coracle.toml`: which functions there are and what each is granted, read and checked as a whole.

mod function;
mod problem;
mod schedule;

use std::ops::Range;
use std::path::{Path, PathBuf};

use coracle_proto::id::FunctionId;
use coracle_proto::route::{RouteGrant, RouteSpec};
use coracle_proto::spec::FunctionSpec;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use function::retry;
pub(crate) use problem::{ManifestError, Problems};
pub(crate) use schedule::{Data, Missed, Overlap, ScheduleEntry, ZONE};

use crate::address::Address;

/// Its name, where none is given.
pub(crate) const FILE_NAME: &str = "coracle.toml";
/// Bytes of a manifest: a larger file is something else.
const SIZE_MAX: u64 = 1 << 20;
/// What may stand outside tables of functions and schedules.
const KEYS: [&str; 3] = ["addresses", "function", "schedule"];

/// A manifest that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The cluster that the project belongs to; may be empty.
    pub(crate) addresses: Vec<Address>,
    /// In the order of the file; at least one.
    pub(crate) functions: Vec<FunctionEntry>,
    /// In the order of the file.
    pub(crate) schedules: Vec<ScheduleEntry>,
}

/// One function of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionEntry {
    /// Its namespace and name.
    pub(crate) id: FunctionId,
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
    parse(&text, path.parent().unwrap_or_else(|| Path::new(""))).map_err(|problems| problems.of(path))
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
    let mut manifest = Manifest { addresses: Vec::new(), functions: Vec::new(), schedules: Vec::new() };
    for (key, value) in in_order(&document) {
        match key.get_ref().as_ref() {
            "addresses" => manifest.addresses = addresses(value, &mut problems),
            "function" => manifest.functions = functions(value, folder, &mut problems),
            "schedule" => manifest.schedules = schedules(value, folder, &mut problems),
            unknown => problems.unknown_key(&key.span(), "", unknown, &KEYS),
        }
    }
    if !document.contains_key("function") {
        problems.add(&(0..0), "", "there is no [function.NAME] table: nothing to deploy");
    }
    problems.settle(manifest)
}

type Entry<'a, 'i> = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

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

fn schedules(value: &Spanned<DeValue<'_>>, folder: &Path, problems: &mut Problems<'_>) -> Vec<ScheduleEntry> {
    let Some(tables) = value.get_ref().as_table() else {
        problems.expected(value, "schedule", "tables [schedule.NAME]");
        return Vec::new();
    };
    in_order(tables)
        .into_iter()
        .filter_map(|(name, value)| schedule::read(name, value, folder, problems))
        .collect()
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
