//! The structured mode and the batch mode: events as JSON (the JSON event format of `CloudEvents` 1.0.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_proto::status::Code;

use super::attributes::{Attributes, Event};
use super::json::{Kind, Raw};
use super::wrong;
use crate::call::CallError;
use crate::cloudevent::is_json;
use crate::stores::PUBLISHED_MAX;

/// What these are texts of, whatever they stand for.
const TEXTS: [&str; 9] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
];
const JSON: &str = "application/json";

/// The one event of a body.
pub(super) fn one(body: &[u8]) -> Result<Event, CallError> {
    event(value(body)?)
}

/// All events of a body.
pub(super) fn batch(body: &[u8]) -> Result<Vec<Event>, CallError> {
    let events = value(body)?.elements().ok_or_else(|| bad("a batch is a JSON array of events"))?;
    if events.len() > PUBLISHED_MAX {
        let said = format!("a batch has {} events, and at most {PUBLISHED_MAX}", events.len());
        return Err(CallError::new(Code::RequestTooLarge, format!("{said}; nothing was published")));
    }
    if events.is_empty() {
        return Err(bad("there is no event in the batch"));
    }
    let numbered = |(index, raw): (usize, Raw<'_>)| {
        event(raw).map_err(|CallError { refusal, .. }| {
            let said = format!("event {} of the batch: {}", index.saturating_add(1), refusal.message);
            CallError::new(refusal.code, said)
        })
    };
    events.into_iter().enumerate().map(numbered).collect()
}

fn bad(why: &str) -> CallError {
    CallError::new(Code::BadRequest, format!("{why}; nothing was published"))
}

fn value(body: &[u8]) -> Result<Raw<'_>, CallError> {
    let text = std::str::from_utf8(body).map_err(|error| bad(&format!("the body is not UTF-8: {error}")))?;
    Raw::of(text).map_err(|why| bad(&format!("the body {why}")))
}

fn event(raw: Raw<'_>) -> Result<Event, CallError> {
    let members = raw.members().ok_or_else(|| bad("an event is a JSON object"))?;
    let (mut attributes, mut data, mut binary) = (Attributes::default(), None, None);
    for (name, raw) in members {
        let place = match name.as_str() {
            "data" => &mut data,
            "data_base64" => &mut binary,
            name => {
                if let Some(value) = attribute(name, raw)? {
                    attributes.add(name, value)?;
                }
                continue;
            }
        };
        if place.replace(raw).is_some() {
            return Err(bad(&format!("'{name}' stands twice")));
        }
    }
    let data = match (data, binary.filter(|raw| raw.kind() != Kind::Null)) {
        (Some(_), Some(_)) => {
            return Err(bad("'data' and 'data_base64' stand together, and an event has one of them"));
        }
        (Some(data), None) => plain(&mut attributes, data)?,
        (None, Some(data)) => decoded(data)?,
        (None, None) => Bytes::new(),
    };
    attributes.event(data)
}

/// The text of an attribute's value; none where it is not set.
fn attribute(name: &str, raw: Raw<'_>) -> Result<Option<String>, CallError> {
    let whole = || raw.0.parse::<i32>().ok().map(|number| number.to_string());
    let value = match raw.kind() {
        Kind::Null => return Ok(None),
        Kind::Text => raw.text(),
        Kind::Boolean | Kind::Number if TEXTS.contains(&name) => {
            return Err(wrong(name, "is no text, which it has to be"));
        }
        Kind::Boolean => Some(raw.0.to_owned()),
        Kind::Number => {
            let value =
                whole().ok_or_else(|| wrong(name, "is a number that is not a whole one of 32 bits"))?;
            return Ok(Some(value));
        }
        Kind::Nested => {
            return Err(wrong(
                name,
                "is an object or a list: attributes are texts, booleans and whole numbers",
            ));
        }
    };
    value.map(Some).ok_or_else(|| wrong(name, "is a text that is not Unicode"))
}

/// Data as JSON, or as a text of another kind.
fn plain(attributes: &mut Attributes, data: Raw<'_>) -> Result<Bytes, CallError> {
    let Some(kind) = attributes.get("datacontenttype") else {
        attributes.add("datacontenttype", JSON.to_owned())?;
        return Ok(Bytes::copy_from_slice(data.0.as_bytes()));
    };
    if is_json(kind) {
        return Ok(Bytes::copy_from_slice(data.0.as_bytes()));
    }
    let text = if data.kind() == Kind::Text { data.text() } else { None };
    text.map(Bytes::from).ok_or_else(|| {
        bad(&format!("'data' is of the type '{kind}' and so a text; what is no text stands in 'data_base64'"))
    })
}

fn decoded(data: Raw<'_>) -> Result<Bytes, CallError> {
    let text = if data.kind() == Kind::Text { data.text() } else { None };
    let text = text.ok_or_else(|| bad("'data_base64' is no text"))?;
    let bytes =
        STANDARD.decode(text).map_err(|error| bad(&format!("'data_base64' is no Base64: {error}")))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"";

    fn read(others: &str) -> Result<Event, CallError> {
        one(format!("{{{USUAL}{others}}}").as_bytes())
    }

    fn data(others: &str) -> (String, String) {
        let event = read(others).unwrap();
        let kind = event.attributes.get("datacontenttype").cloned().unwrap_or_default();
        (kind, String::from_utf8(event.data.to_vec()).unwrap())
    }

    #[test]
    fn attributes_become_texts() {
        let event = read(
            ",\"subject\":\"\\u20ac \\ud83d\\ude00\",\"count\":-5,\"zero\":-0,\"good\":true,\"gone\":null,\"time\":null",
        )
        .unwrap();
        let all: Vec<_> =
            event.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            all,
            [("count", "-5"), ("good", "true"), ("subject", "€ 😀"), ("type", "t"), ("zero", "0")]
        );
        assert_eq!((event.id.as_str(), event.source.as_str(), event.data.len()), ("1", "/s", 0));
    }

    #[test]
    fn data_is_what_its_type_says() {
        let of = |kind: &str, data: &str| (kind.to_owned(), data.to_owned());
        let json = "application/json";
        assert_eq!(data(",\"data\": {\"b\":1.0, \"a\":2}"), of(json, "{\"b\":1.0, \"a\":2}"));
        assert_eq!(data(",\"data\":\"text\""), of(json, "\"text\""));
        assert_eq!(data(",\"data\":null"), of(json, "null"));
        assert_eq!(
            data(",\"datacontenttype\":\"Text/JSON; a=b\",\"data\":\"x\""),
            of("Text/JSON; a=b", "\"x\"")
        );
        assert_eq!(
            data(",\"data\":[1],\"datacontenttype\":\"application/vnd.x+json\""),
            of("application/vnd.x+json", "[1]")
        );
        assert_eq!(
            data(",\"datacontenttype\":\"application/xml\",\"data\":\"<a b=\\\"c\\\"/>\""),
            of("application/xml", "<a b=\"c\"/>")
        );
        assert_eq!(data(",\"data_base64\":\"aMOpIQ==\""), of("", "hé!"));
        assert_eq!(data(",\"data_base64\":null,\"data\":1"), of(json, "1"));
        assert_eq!(data(""), of("", ""));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (others, why) in [
            (",\"x\":{}", "attribute 'x' is an object"),
            (",\"x\":[1]", "attribute 'x' is an object or a list"),
            (",\"x\":1.5", "attribute 'x' is a number"),
            (",\"x\":1e3", "attribute 'x' is a number"),
            (",\"x\":2147483648", "attribute 'x' is a number"),
            (",\"subject\":5", "attribute 'subject' is no text"),
            (",\"x\":\"\\ud800\"", "attribute 'x' is a text that is not Unicode"),
            (",\"id\":\"2\"", "attribute 'id' stands twice"),
            (",\"Xy\":1", "attribute 'Xy'"),
            (",\"time\":\"now\"", "attribute 'time'"),
            (",\"data\":1,\"data\":2", "'data' stands twice"),
            (",\"data\":1,\"data_base64\":\"\"", "stand together"),
            (",\"data_base64\":5", "'data_base64' is no text"),
            (",\"data_base64\":\"a\"", "'data_base64' is no Base64"),
            (",\"datacontenttype\":\"text/plain\",\"data\":{}", "'data' is of the type 'text/plain'"),
            (",", "line 1 column"),
        ] {
            let error = read(others).unwrap_err();
            assert!(error.code() == Code::BadRequest && error.to_string().contains(why), "{others}: {error}");
        }
        let said = |body: &[u8]| one(body).unwrap_err().to_string();
        assert!(said(b"\xff").contains("not UTF-8") && said(b"[]").contains("JSON object"));
        assert!(said(b"{}").contains("attribute 'specversion' is missing"));
    }

    #[test]
    fn a_batch_is_read_whole_or_the_event_that_is_wrong_is_told() {
        let all = |count: usize, last: &str| {
            let one = format!("{{{USUAL}}}");
            let mut events = vec![one.as_str(); count];
            events.extend((!last.is_empty()).then_some(last));
            batch(format!("[{}]", events.join(" , ")).as_bytes())
        };
        assert_eq!(all(PUBLISHED_MAX, "").unwrap().len(), PUBLISHED_MAX);
        assert!(all(0, "").unwrap_err().to_string().contains("no event in the batch"));
        let error = all(2, "{\"specversion\":\"1.0\"}").unwrap_err();
        assert!(error.to_string().contains("event 3 of the batch: attribute 'id' is missing"), "{error}");
        assert_eq!(all(PUBLISHED_MAX + 1, "").unwrap_err().code(), Code::RequestTooLarge);
        let large = format!("{{{USUAL},\"data\":\"{}\"}}", "x".repeat(64 << 10));
        let error = all(1, &large).unwrap_err();
        assert!(error.code() == Code::RequestTooLarge && error.to_string().contains("event 2"), "{error}");
        assert_eq!(batch(b"{}").unwrap_err().code(), Code::BadRequest);
    }
}
