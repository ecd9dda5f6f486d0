//! Buckets and their values.

mod bucket;

use coracle_proto::pb;
use serde::Serialize;

pub(crate) use bucket::BucketView;

use crate::output::{Detail, Row, rfc3339};
use crate::units::show_bytes;

/// A key, with what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EntryView {
    /// Where it is no UTF-8, what of it is.
    key: String,
    version: u64,
    /// When it goes; none: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// Where it was asked for and is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl From<pb::KvEntry> for EntryView {
    fn from(wire: pb::KvEntry) -> Self {
        let value = String::from_utf8(wire.value.to_vec()).ok().filter(|value| !value.is_empty());
        Self {
            key: String::from_utf8_lossy(&wire.key).into_owned(),
            version: wire.version,
            expires: (wire.expires_ms > 0).then(|| rfc3339(wire.expires_ms)),
            value,
        }
    }
}

impl Row for EntryView {
    const COLUMNS: &'static [&'static str] = &["KEY", "VERSION", "EXPIRES"];
    const WIDE_FROM: usize = 3;

    fn cells(&self) -> Vec<String> {
        vec![self.key.clone(), self.version.to_string(), self.expires.clone().unwrap_or_default()]
    }

    fn name(&self) -> String {
        self.key.clone()
    }
}

impl Detail for EntryView {
    fn name(&self) -> String {
        self.key.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        let size = self.value.as_ref().map(|value| show_bytes(value.len() as u64)).unwrap_or_default();
        format!("{} version {} {size}\n", self.key, self.version)
    }
}

/// What an increment made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NumberView {
    key: String,
    version: u64,
    number: i64,
}

impl NumberView {
    pub(crate) fn new(key: &str, version: u64, number: i64) -> Self {
        Self { key: key.to_owned(), version, number }
    }
}

impl Detail for NumberView {
    fn name(&self) -> String {
        self.key.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        format!("{}\n", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_where_it_is_text() {
        let wire = pb::KvEntry { key: "a".into(), value: "1".into(), version: 7, expires_ms: 0 };
        let view = EntryView::from(wire.clone());
        assert_eq!(view.cells(), ["a", "7", ""]);
        assert_eq!(serde_json::to_string(&view).unwrap(), r#"{"key":"a","version":7,"value":"1"}"#);
        let binary = EntryView::from(pb::KvEntry { value: vec![0xff].into(), expires_ms: 1000, ..wire });
        assert_eq!(binary.cells(), ["a", "7", "1970-01-01T00:00:01.000Z"]);
        assert_eq!(binary.value, None);
    }
}
