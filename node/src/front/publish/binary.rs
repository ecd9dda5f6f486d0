//! The binary mode: attributes in headers that begin with `ce-`, data in the body.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::attributes::{Attributes, Event};
use super::wrong;
use crate::call::CallError;
use crate::cloudevent::{PREFIX, decode};

/// Whether the headers have any attribute: then they are to have all that an event needs.
pub(super) fn is_event(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

/// The event of a request.
pub(super) fn event(headers: &HeaderMap, data: Bytes) -> Result<Event, CallError> {
    let mut attributes = Attributes::default();
    let attribute = |(name, value): (_, _)| {
        let (name, value): (&HeaderName, &HeaderValue) = (name, value);
        Some((name.as_str().strip_prefix(PREFIX)?.to_owned(), value.clone()))
    };
    for (name, value) in headers.iter().filter_map(attribute) {
        if name == "datacontenttype" {
            return Err(wrong(
                &name,
                "is what 'content-type' says in this mode, and has no header of its own",
            ));
        }
        let value = decode(value.as_bytes()).map_err(|why| wrong(&name, why))?;
        attributes.add(&name, value)?;
    }
    if let Some(kind) = content_type(headers)? {
        attributes.add("datacontenttype", kind)?;
    }
    attributes.event(data)
}

/// What the body is said to be.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<String>, CallError> {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let text = kind.to_str().ok().map(str::trim).filter(|text| !text.contains(char::is_control));
    let text =
        text.ok_or_else(|| wrong("datacontenttype", "(the header 'content-type') is not plain text"))?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(others: &[(&'static str, &[u8])]) -> Result<Event, CallError> {
        let usual: [(&str, &[u8]); 4] =
            [("ce-specversion", b"1.0"), ("ce-id", b"1"), ("ce-source", b"/s"), ("ce-type", b"t")];
        let mut headers = HeaderMap::new();
        for (name, value) in usual.iter().chain(others) {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        event(&headers, Bytes::from_static(b"data"))
    }

    #[test]
    fn attributes_are_decoded_and_other_headers_left() {
        let event = read(&[
            ("ce-subject", b"Euro%20%E2%82%AC"),
            ("ce-old", b"\"a b\""),
            ("content-type", b"text/plain; charset=utf-8"),
            ("x-own", b"1"),
        ])
        .unwrap();
        let all: Vec<_> =
            event.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("datacontenttype", "text/plain; charset=utf-8"),
            ("old", "a b"),
            ("subject", "Euro €"),
            ("type", "t"),
        ];
        assert_eq!((all, &event.data[..]), (expected.to_vec(), &b"data"[..]));
        assert!(!read(&[]).unwrap().attributes.contains_key("datacontenttype"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (name, value, attribute, why) in [
            ("ce-datacontenttype", &b"a/b"[..], "datacontenttype", "no header of its own"),
            ("ce-subject", b"%C0%A0", "subject", "is not UTF-8"),
            ("ce-subject", b"100%", "subject", "two hexadecimal digits"),
            ("ce-subject", b"%0a", "subject", "control character"),
            ("ce-id", b"2", "id", "stands twice"),
            ("ce-com-example", b"", "com-example", "a-z"),
            ("content-type", b"\xff", "datacontenttype", "plain text"),
        ] {
            let said = read(&[(name, value)]).unwrap_err().to_string();
            assert!(said.contains(&format!("attribute '{attribute}'")) && said.contains(why), "{said}");
        }
    }
}
