//! What a request wants for its messages, in headers of the platform's own.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::status::Code;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::Destination;
use super::attributes::Event;
use super::binary::content_type;
use super::mode::Mode;
use crate::call::CallError;
use crate::clock;
use crate::cloudevent::MESSAGE_TYPE;
use crate::delay::delay;
use crate::front::later;
use crate::front::moment::rfc3339;
use crate::stores::TEXT_BYTES_MAX;

const DELAY: &str = "coracle-delay";
const GROUP: &str = "coracle-group";
const KEY: &str = "idempotency-key";

/// For all messages of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) delay: Duration,
    /// Empty: each message says it itself.
    pub(super) group: String,
    /// The id of a message that has none; empty where none was given.
    key: String,
}

impl Wishes {
    /// # Errors
    /// [`Code::BadRequest`] with the header that is wrong.
    pub(super) fn new(headers: &HeaderMap) -> Result<Self, CallError> {
        let delay = match one(headers, DELAY)? {
            Some(text) => delay(text).map_err(|why| bad(DELAY, &why))?,
            None => Duration::ZERO,
        };
        let group = one(headers, GROUP)?.unwrap_or_default().to_owned();
        if group.len() > TEXT_BYTES_MAX {
            return Err(bad(GROUP, &format!("has {} bytes, at most {TEXT_BYTES_MAX}", group.len())));
        }
        Ok(Self { delay, group, key: later::key(headers)? })
    }

    /// # Errors
    /// [`Code::BadRequest`]: a key was given, and what is published has ids of its own.
    pub(super) fn check(&self, mode: Mode) -> Result<(), CallError> {
        let why = match mode {
            Mode::Own => return Ok(()),
            Mode::Binary | Mode::Structured => "an event has an id of its own, and no key beside it",
            Mode::Batch => "each event of a batch has an id of its own, and no key beside it",
        };
        if self.key.is_empty() { Ok(()) } else { Err(bad(KEY, why)) }
    }

    /// The event that any body is. Under a key it is of whoever has shown the same proof, and the same one.
    pub(super) fn own(
        &self,
        to: &Destination,
        headers: &HeaderMap,
        data: &Bytes,
    ) -> Result<Event, CallError> {
        let mut attributes = BTreeMap::from([
            ("type".to_owned(), MESSAGE_TYPE.to_owned()),
            ("time".to_owned(), rfc3339(clock::unix_ms())),
        ]);
        if let Some(kind) = content_type(headers)? {
            attributes.insert("datacontenttype".to_owned(), kind);
        }
        let source = format!("//{}/queue/{}", to.namespace, to.name);
        let (source, fingerprint) = match (self.key.is_empty(), later::proof(headers)) {
            (true, _) => (source, Bytes::new()),
            (false, None) => (source, fingerprint(to, data)),
            (false, Some(proof)) => (format!("{source}/{proof}"), fingerprint(to, data)),
        };
        Ok(Event { id: self.key.clone(), source, attributes, data: data.clone(), fingerprint })
    }
}

/// Tells two requests under one key apart: SHA-256 over where it goes and the body.
fn fingerprint(to: &Destination, data: &[u8]) -> Bytes {
    let mut hash = Sha256::new();
    hash.update(to.to_string());
    hash.update([0]);
    hash.update(data);
    Bytes::copy_from_slice(&hash.finalize())
}

fn bad(header: &str, why: &str) -> CallError {
    CallError::new(Code::BadRequest, format!("header '{header}': {why}; nothing was published"))
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, CallError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(bad(name, "stands twice")),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| bad(name, "is not plain text"))?.trim();
            if text.is_empty() { Err(bad(name, "is empty")) } else { Ok(Some(text)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(headers: &[(&'static str, &str)]) -> Result<Wishes, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Wishes::new(&map).map_err(|error| error.to_string())
    }

    #[test]
    fn a_delay_is_a_number_with_its_unit() {
        let ms = |text: &str| wishes(&[(DELAY, text)]).map(|it| it.delay.as_millis());
        for (text, expected) in
            [("10s", 10_000), ("0ms", 0), (" 5 m ", 300_000), ("2h", 7_200_000), ("15d", 1_296_000_000)]
        {
            assert_eq!(ms(text), Ok(expected), "{text}");
        }
        for text in ["10", "s", "-1s", "1.5s", "10 S", "99999999999999999999s", "999999999999999999d"] {
            assert!(ms(text).unwrap_err().contains("'coracle-delay'"), "{text}");
        }
        for text in ["16d", "361h"] {
            assert!(ms(text).unwrap_err().contains("15 days"), "{text}");
        }
    }

    #[test]
    fn headers_stand_once_and_are_text() {
        let all = wishes(&[(GROUP, "a b"), ("idempotency-key", "k")]).unwrap();
        assert_eq!((all.group.as_str(), all.key.as_str()), ("a b", "k"));
        let long = "g".repeat(TEXT_BYTES_MAX + 1);
        for (headers, why) in [
            (&[(GROUP, "a"), (GROUP, "b")][..], "'coracle-group': stands twice"),
            (&[(GROUP, "")], "'coracle-group': is empty"),
            (&[(GROUP, long.as_str())], "'coracle-group': has 257 bytes"),
            (&[(DELAY, "é")], "'coracle-delay': is not plain text"),
            (&[("idempotency-key", "")], "'idempotency-key': is empty"),
        ] {
            let said = wishes(headers).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
