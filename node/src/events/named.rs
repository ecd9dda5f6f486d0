//! Which messages of a batch a function says that it could not do: what it answers, as `AWS` Lambda has it.

use std::collections::BTreeSet;

use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::cloudevent::is_json;
use crate::stores::{Delivery, Kept};

const FAILURES: &str = "batchItemFailures";
const ITEM: &str = "itemIdentifier";

/// The ids of the events that it names; none of them: all were done. What says nothing of it names none.
///
/// # Errors
/// Why it cannot be understood: then nobody knows which were done.
pub(super) fn failures<'a>(
    kept: &Kept,
    batch: impl Iterator<Item = &'a Delivery>,
) -> Result<BTreeSet<String>, String> {
    if !kept.is_whole() {
        return Err(format!("the answer has {} bytes, too many to be read for what failed", kept.body_bytes));
    }
    let answer = match serde_json::from_slice(&kept.body) {
        Ok(Value::Object(answer)) => answer,
        Ok(_) => return Ok(BTreeSet::new()),
        Err(error) if means_json(kept) => {
            return Err(format!("the answer cannot be read for what failed: {error}"));
        }
        Err(_) => return Ok(BTreeSet::new()),
    };
    let items = match answer.get(FAILURES) {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(format!("'{FAILURES}' of the answer is no list")),
    };
    let known: BTreeSet<&str> = batch.map(|delivery| delivery.event.id.as_str()).collect();
    let mut named = BTreeSet::new();
    for item in items {
        let Some(id) = item.get(ITEM).and_then(Value::as_str) else {
            return Err(format!("an item of '{FAILURES}' has no text '{ITEM}'"));
        };
        if !known.contains(id) {
            let shown: String = id.chars().take(80).collect();
            return Err(format!("'{FAILURES}' names '{shown}', which is no event of the batch"));
        }
        named.insert(id.to_owned());
    }
    Ok(named)
}

/// Whether an answer says that it is JSON, or begins as what names something would. Another text says nothing.
fn means_json(kept: &Kept) -> bool {
    const MARK: &str = "\u{feff}";
    let says = kept.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json);
    let text = kept.body.strip_prefix(MARK.as_bytes()).unwrap_or(&kept.body);
    !kept.body.is_empty() && (says || text.trim_ascii_start().starts_with(b"{"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn named(body: &str) -> Result<Vec<String>, String> {
        let body_bytes = body.len() as u64;
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        let kept = Kept { status: StatusCode::OK, headers: HeaderMap::new(), body, body_bytes };
        let all = ["a", "b", "c"].map(|id| {
            let mut delivery = crate::events::request::tests::delivery(None, &[]);
            delivery.event.id = id.to_owned();
            delivery
        });
        failures(&kept, all.iter()).map(|named| named.into_iter().collect())
    }

    #[test]
    fn what_failed_is_named_or_nothing_did() {
        for none in [
            "",
            "done",
            "[]",
            "1",
            "{}",
            "{\"batchItemFailures\":null}",
            "{\"batchItemFailures\":[]}",
            "{\"x\":1}",
        ] {
            assert_eq!(named(none), Ok(vec![]), "{none}");
        }
        let two = "{\"batchItemFailures\":[{\"itemIdentifier\":\"c\"},{\"itemIdentifier\":\"a\"},{\"itemIdentifier\":\"a\"}]}";
        assert_eq!(named(two), Ok(vec!["a".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn what_cannot_be_understood_says_why() {
        for (wrong, why) in [
            ("{\"batchItemFailures\":[{\"itemIdentifier\":\"a\"}]", "cannot be read"),
            (" {\"batchItemFailures\":[],}", "cannot be read"),
            ("\u{feff}{\"batchItemFailures\":[{\"itemIdentifier\":\"a\"}]}", "cannot be read"),
            ("{\"batchItemFailures\":{}}", "is no list"),
            ("{\"batchItemFailures\":[1]}", "no text"),
            ("{\"batchItemFailures\":[{\"itemIdentifier\":1}]}", "no text"),
            ("{\"batchItemFailures\":[{\"itemIdentifier\":\"\"}]}", "names ''"),
            ("{\"batchItemFailures\":[{\"itemIdentifier\":\"d\"}]}", "names 'd'"),
        ] {
            let said = named(wrong).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let headers = [(CONTENT_TYPE, "application/json".parse().unwrap())].into_iter().collect();
        let kept = Kept { status: StatusCode::OK, headers, body: "[".into(), body_bytes: 1 };
        assert!(failures(&kept, std::iter::empty()).unwrap_err().contains("cannot be read"));
        let empty = Kept { body: bytes::Bytes::new(), body_bytes: 0, ..kept };
        assert_eq!(failures(&empty, std::iter::empty()), Ok(BTreeSet::new()), "it says nothing");
        let kept = Kept {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            body_bytes: 70_000,
        };
        assert!(failures(&kept, std::iter::empty()).unwrap_err().contains("70000 bytes"));
    }
}
