//! What became of a value, as an event tells it.

use serde::Deserialize;

const SET: &str = "dev.coracle.kv.set";
const DELETED: &str = "dev.coracle.kv.deleted";

/// A value that was set, or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) is_set: bool,
}

#[derive(Deserialize)]
struct Told {
    bucket: String,
    key: String,
    /// Of a key that is no text.
    key_base64: Option<String>,
}

impl Change {
    /// Nothing where the event tells of something else.
    ///
    /// # Errors
    /// Why nobody can be told of it.
    pub(super) fn read(kind: Option<&str>, data: &[u8]) -> Result<Option<Self>, String> {
        let is_set = match kind {
            Some(SET) => true,
            Some(DELETED) => false,
            Some(_) | None => return Ok(None),
        };
        let wrong = |error| format!("the event's data does not tell of a value: {error}");
        let Told { bucket, key, key_base64 } = serde_json::from_slice(data).map_err(wrong)?;
        match key_base64 {
            Some(_) => Err(format!("the key '{key}' is no text, which 'wasi:keyvalue/watcher' wants")),
            None => Ok(Some(Self { bucket, key, is_set })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_from_what_the_platform_tells() {
        let data = br#"{"bucket":"b","key":"k","version":43,"bytes":0}"#;
        for (kind, is_set) in [(SET, true), (DELETED, false)] {
            let change = Change { bucket: "b".to_owned(), key: "k".to_owned(), is_set };
            assert_eq!(Change::read(Some(kind), data), Ok(Some(change)));
        }
        assert_eq!(Change::read(Some("other"), b"x"), Ok(None));
        assert_eq!(Change::read(None, data), Ok(None));
        assert!(Change::read(Some(SET), b"x").is_err());
        let no_text = br#"{"bucket":"b","key":"%FF","key_base64":"/w==","version":1,"bytes":0}"#;
        assert!(Change::read(Some(SET), no_text).unwrap_err().contains("no text"));
    }
}
