//! One `[schedule.NAME]` table. When it fires is read by the cluster, which is asked before anything is deployed.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use toml::Spanned;
use toml::de::DeValue;

use super::{Problems, in_order};

type Value<'i> = Spanned<DeValue<'i>>;

/// What may stand in a schedule's table.
const KEYS: [&str; 7] = ["cron", "zone", "function", "data", "missed", "overlap", "namespace"];
/// The zone where none is named.
pub(crate) const ZONE: &str = "UTC";

/// One schedule of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduleEntry {
    /// Its namespace and name.
    pub(crate) id: FunctionId,
    /// From 1; 0: it stands in no file.
    pub(crate) line: usize,
    /// As it was written.
    pub(crate) cron: String,
    /// As it was written.
    pub(crate) zone: String,
    /// Of its namespace.
    pub(crate) function: FunctionName,
    /// With which it is called.
    pub(crate) data: Data,
    pub(crate) missed: Missed,
    pub(crate) overlap: Overlap,
}

impl ScheduleEntry {
    /// The function that it calls.
    pub(crate) fn of(&self) -> FunctionId {
        FunctionId { namespace: self.id.namespace.clone(), name: self.function.clone() }
    }
}

/// With which a schedule's function is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Text(String),
    /// What stands in this file.
    File(PathBuf),
}

impl Data {
    /// A text, or `@FILE`; a file's path is relative to the folder.
    pub(crate) fn given(text: &str, folder: &Path) -> Self {
        match text.strip_prefix('@') {
            Some(file) => Self::File(folder.join(file)),
            None => Self::Text(text.to_owned()),
        }
    }
}

/// What becomes of times at which nobody was there to fire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Missed {
    /// They are left out.
    Skip,
    /// The newest fires.
    #[default]
    Once,
    /// All fire, as far as a bound.
    All,
}

/// What becomes of a time at which the last call has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overlap {
    /// It fires.
    #[default]
    Allow,
    /// It is left out.
    Forbid,
}

/// What a key says.
#[derive(Debug, Clone)]
struct Given<'v> {
    span: Range<usize>,
    text: &'v str,
}

/// Reads the table; `None` where it has problems.
pub(super) fn read(
    name: &Spanned<Cow<'_, str>>,
    value: &Value<'_>,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> Option<ScheduleEntry> {
    let table_name = format!("schedule.{}", name.get_ref());
    let Some(table) = value.get_ref().as_table() else {
        problems.expected(value, &table_name, "a table");
        return None;
    };
    let before = problems.count();
    let mut texts: [Option<Given<'_>>; KEYS.len()] = Default::default();
    for (key, value) in in_order(table) {
        let place = format!("{table_name}.{}", key.get_ref());
        match (KEYS.iter().position(|known| *known == key.get_ref()), value.get_ref().as_str()) {
            (None, _) => problems.unknown_key(&key.span(), &table_name, key.get_ref(), &KEYS),
            (Some(_), None) => problems.expected(value, &place, "text"),
            (Some(at), Some(text)) => {
                let given = Some(Given { span: value.span(), text });
                texts.iter_mut().skip(at).take(1).for_each(|slot| slot.clone_from(&given));
            }
        }
    }
    for key in ["cron", "function"].into_iter().filter(|key| !table.contains_key(*key)) {
        problems.add(&name.span(), &table_name, format!("the key '{key}' is missing"));
    }
    let [cron, zone, function, data, missed, overlap, namespace] = texts;
    let own_span = name.span();
    let own_name = Given { span: own_span.clone(), text: name.get_ref() };
    let parsed = [Some(own_name), function].map(|given| {
        let parse = |text: &str| text.parse::<FunctionName>().map_err(|error| error.to_string());
        checked(given, &table_name, problems, parse)
    });
    let parse = |text: &str| text.parse::<Namespace>().map_err(|error| error.to_string());
    let namespace = checked(namespace, &table_name, problems, parse);
    let missed = checked(missed, &table_name, problems, |text| Missed::from_str(text, false));
    let overlap = checked(overlap, &table_name, problems, |text| Overlap::from_str(text, false));
    let ([Some(name), Some(function)], true) = (parsed, problems.count() == before) else { return None };
    Some(ScheduleEntry {
        id: FunctionId { namespace: namespace.unwrap_or_default(), name },
        line: problems.line(&own_span),
        cron: cron?.text.to_owned(),
        zone: zone.map_or(ZONE, |zone| zone.text).to_owned(),
        function,
        data: Data::given(data.map_or("", |data| data.text), folder),
        missed: missed.unwrap_or_default(),
        overlap: overlap.unwrap_or_default(),
    })
}

/// What a text says, or a problem.
fn checked<T>(
    given: Option<Given<'_>>,
    place: &str,
    problems: &mut Problems<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let Given { span, text } = given?;
    read(text).map_err(|error| problems.add(&span, place, format!("'{text}': {error}"))).ok()
}
