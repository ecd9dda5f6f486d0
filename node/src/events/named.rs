//! Which messages of a batch a function says that it could not do: what it answers, as `AWS` Lambda has it.

use std::collections::BTreeSet;

use serde_json::Value;

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
    let Ok(Value::Object(answer)) = serde_json::from_slice(&kept.body) else { return Ok(BTreeSet::new()) };
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
            ("{\"batchItemFailures\":{}}", "is no list"),
            ("{\"batchItemFailures\":[1]}", "no text"),
            ("{\"batchItemFailures\":[{\"itemIdentifier\":1}]}", "no text"),
            ("{\"batchItemFailures\":[{\"itemIdentifier\":\"\"}]}", "names ''"),
            ("{\"batchItemFailures\":[{\"itemIdentifier\":\"d\"}]}", "names 'd'"),
        ] {
            let said = named(wrong).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let kept = Kept {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            body_bytes: 70_000,
        };
        assert!(failures(&kept, std::iter::empty()).unwrap_err().contains("70000 bytes"));
    }
}
