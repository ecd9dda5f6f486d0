//! The keys of one table while it is read: what each says, and what is wrong with it.

use std::fmt::Display;
use std::str::FromStr;

use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use toml::Spanned;
use toml::de::DeValue;

use super::settings::{Setting, Unit};
use super::{Problems, Settings, in_order};
use crate::units;

type Value<'i> = Spanned<DeValue<'i>>;

/// A table, by the name that problems have for it.
#[derive(Debug)]
pub(super) struct Keys<'a, 't> {
    pub(super) table: String,
    pub(super) problems: &'a mut Problems<'t>,
}

impl Keys<'_, '_> {
    /// Something is wrong with a key.
    pub(super) fn wrong(&mut self, key: &str, value: &Value<'_>, problem: impl Display) {
        self.problems.add(&value.span(), &format!("{}.{key}", self.table), problem);
    }

    pub(super) fn text<'v>(&mut self, key: &str, value: &'v Value<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.problems.expected(value, &format!("{}.{key}", self.table), "text");
        }
        text
    }

    /// What a text stands for.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key, value)?;
        read(text).map_err(|error| self.wrong(key, value, error)).ok()
    }

    pub(super) fn name(&mut self, key: &str, value: &Value<'_>) -> Option<FunctionName> {
        self.parsed(key, value, from_text)
    }

    pub(super) fn namespace(&mut self, key: &str, value: &Value<'_>) -> Option<Namespace> {
        self.parsed(key, value, from_text)
    }

    /// A number within its bounds.
    pub(super) fn number(&mut self, key: &str, value: &Value<'_>, setting: &Setting) -> Option<u64> {
        let read = match (setting.unit, value.get_ref()) {
            (Unit::Count, DeValue::Integer(number)) => number.to_string().parse().map_err(|_| {
                let (min, max) = (setting.bound.min, setting.bound.max);
                format!("{number} is not between {min} and {max}")
            }),
            (Unit::Count, other) => Err(format!("expected a number, got {}", other.type_str())),
            (Unit::Size, DeValue::String(text)) => units::bytes(text).map_err(|error| error.to_string()),
            (Unit::Size, DeValue::Integer(number)) => {
                units::bytes(&number.to_string()).map_err(|error| error.to_string())
            }
            (Unit::Size, other) => {
                Err(format!("expected a size such as \"64MiB\", got {}", other.type_str()))
            }
            (Unit::Duration, DeValue::String(text)) => match units::duration(text) {
                Ok(duration) => Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
                Err(error) => Err(error.to_string()),
            },
            (Unit::Duration, other) => {
                Err(format!("expected a duration such as \"30s\", got {}", other.type_str()))
            }
        };
        let checked = read.and_then(|number| setting.check(number));
        checked.map_err(|error| self.wrong(key, value, error)).ok()
    }

    /// One of a queue's settings; false where it is none.
    pub(super) fn setting(&mut self, settings: &mut Settings, key: &str, value: &Value<'_>) -> bool {
        let Some((setting, slot)) = settings.slot(key) else {
            return settings.delivery.read(self, key, value);
        };
        *slot = self.number(key, value, setting).unwrap_or_default();
        true
    }

    /// A table inside, each of whose keys is read by what is given; false where it does not exist.
    pub(super) fn inner(
        &mut self,
        key: &str,
        value: &Value<'_>,
        known: &[&str],
        mut read: impl FnMut(&mut Keys<'_, '_>, &str, &Value<'_>) -> bool,
    ) {
        let table = format!("{}.{key}", self.table);
        let Some(entries) = value.get_ref().as_table() else {
            self.problems.expected(value, &table, "a table");
            return;
        };
        let mut keys = Keys { table, problems: &mut *self.problems };
        for (key, value) in in_order(entries) {
            if !read(&mut keys, key.get_ref(), value) {
                let table = keys.table.clone();
                keys.problems.unknown_key(&key.span(), &table, key.get_ref(), known);
            }
        }
    }
}

fn from_text<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// A table `[KIND.NAME]`: each key is read by what is given, which says whether there is such a key. None where it has
/// problems.
pub(super) fn named(
    kind: &str,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Value<'_>,
    problems: &mut Problems<'_>,
    known: &[&str],
    mut read: impl FnMut(&mut Keys<'_, '_>, &str, &Value<'_>) -> bool,
) -> Option<FunctionId> {
    let table_name = format!("{kind}.{}", name.get_ref());
    let Some(table) = value.get_ref().as_table() else {
        problems.expected(value, &table_name, "a table");
        return None;
    };
    let before = problems.count();
    let mut keys = Keys { table: table_name, problems };
    let mut namespace = None;
    for (key, value) in in_order(table) {
        match key.get_ref().as_ref() {
            "namespace" => namespace = keys.namespace("namespace", value),
            other if read(&mut keys, other, value) => {}
            unknown => {
                let table = keys.table.clone();
                keys.problems.unknown_key(&key.span(), &table, unknown, known);
            }
        }
    }
    let Keys { table, problems } = keys;
    let own: Result<FunctionName, String> = from_text(name.get_ref());
    let own = own.map_err(|error| problems.add(&name.span(), &table, error)).ok();
    let id = FunctionId { namespace: namespace.unwrap_or_default(), name: own? };
    (problems.count() == before).then_some(id)
}
