//! The attributes of an event, checked by what `CloudEvents` 1.0.2 says of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::status::Code;
use http::HeaderValue;

use super::wrong;
use crate::call::CallError;
use crate::cloudevent::{MESSAGE_TYPE, OWN_TYPES};
use crate::front::moment::is_rfc3339;
use crate::hops::{ATTRIBUTE as HOPS, HOPS_MAX};
use crate::stores::{BODY_BYTES_MAX, TEXT_BYTES_MAX};

/// Bytes of a name. The specification asks for no more than 20.
const NAME_BYTES_MAX: usize = 64;
/// What has something in it where it is there.
const FILLED: [&str; 4] = ["type", "subject", "datacontenttype", "dataschema"];

/// An event that is as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Empty: it has none of its own.
    pub(super) id: String,
    pub(super) source: String,
    /// All others, without the version of the specification.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) data: Bytes,
    /// Of what was asked under its id: the same one with another is refused. Empty: that is not looked at.
    pub(super) fingerprint: Bytes,
}

/// What was read of one so far.
#[derive(Debug, Default)]
pub(super) struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// Takes one more.
    ///
    /// # Errors
    /// [`Code::BadRequest`] with its name.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<(), CallError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
            return Err(wrong(name, &format!("has a name that is not 1 to {NAME_BYTES_MAX} of a-z and 0-9")));
        }
        if name == "data" {
            return Err(wrong(name, "has the name of what is no attribute"));
        }
        if value.contains(char::is_control) {
            return Err(wrong(name, "has a control character"));
        }
        match self.0.insert(name.to_owned(), value) {
            Some(_) => Err(wrong(name, "stands twice")),
            None => Ok(()),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The event, with its data.
    ///
    /// # Errors
    /// [`Code::BadRequest`] with the attribute that is wrong or missing, [`Code::RequestTooLarge`].
    pub(super) fn event(mut self, data: Bytes) -> Result<Event, CallError> {
        let version = self.required("specversion")?;
        if version != "1.0" {
            return Err(wrong("specversion", &format!("is '{version}', and only 1.0 is understood")));
        }
        let (id, source) = (self.required("id")?, self.required("source")?);
        if !is_uri_reference(&source) {
            return Err(wrong("source", &format!("is '{source}', which is no URI-reference (RFC 3986)")));
        }
        for (name, text) in [("id", &id), ("source", &source)] {
            if text.len() > TEXT_BYTES_MAX {
                return Err(wrong(name, &format!("has {} bytes, and at most {TEXT_BYTES_MAX}", text.len())));
            }
        }
        self.check_type()?;
        self.check()?;
        let event = Event { id, source, attributes: self.0, data, fingerprint: Bytes::new() };
        event.check_data()?;
        Ok(event)
    }

    fn required(&mut self, name: &str) -> Result<String, CallError> {
        match self.0.remove(name) {
            None => Err(wrong(name, "is missing")),
            Some(value) if value.is_empty() => Err(wrong(name, "is empty")),
            Some(value) => Ok(value),
        }
    }

    /// What the platform says nobody else says in its name.
    fn check_type(&self) -> Result<(), CallError> {
        let kind = self.get("type").ok_or_else(|| wrong("type", "is missing"))?;
        if kind == MESSAGE_TYPE || !kind.starts_with(OWN_TYPES) {
            return Ok(());
        }
        let why = format!(
            "is '{kind}': types that begin with '{OWN_TYPES}' are the platform's own, and only '{MESSAGE_TYPE}' is published"
        );
        Err(wrong("type", &why))
    }

    fn check(&self) -> Result<(), CallError> {
        if let Some(name) = FILLED.into_iter().find(|name| self.get(name).is_some_and(str::is_empty)) {
            return Err(wrong(name, "is empty"));
        }
        if let Some(time) = self.get("time").filter(|time| !is_rfc3339(time)) {
            return Err(wrong("time", &format!("is '{time}', which is no moment of RFC 3339")));
        }
        let kind = self.get("datacontenttype").unwrap_or_default();
        if !kind.is_ascii() || HeaderValue::try_from(kind).is_err() {
            return Err(wrong("datacontenttype", &format!("is '{kind}', which is no media type")));
        }
        let Some(hops) = self.get(HOPS) else { return Ok(()) };
        match hops.parse::<usize>() {
            Ok(hops) if hops <= HOPS_MAX => Ok(()),
            Ok(hops) => {
                let said = format!(
                    "functions caused one another's events {hops} times in a row before this one, and no chain is longer than \
                     {HOPS_MAX}: do they feed themselves? Nothing was published"
                );
                Err(CallError::new(Code::LoopDetected, said))
            }
            Err(_) => Err(wrong(HOPS, "is no number, and says how many calls led to the event")),
        }
    }
}

impl Event {
    /// Whether its data is within its bound.
    pub(super) fn check_data(&self) -> Result<(), CallError> {
        let bytes = self.data.len();
        if bytes <= BODY_BYTES_MAX {
            return Ok(());
        }
        let said = format!(
            "a message has {bytes} bytes of data, and at most {BODY_BYTES_MAX}; nothing was published"
        );
        Err(CallError::new(Code::RequestTooLarge, said))
    }
}

/// Whether a text has nothing that no URI-reference has.
fn is_uri_reference(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let digits =
            || tail.first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let fits = match byte {
            b'%' => digits(),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            byte => byte.is_ascii_graphic(),
        };
        if !fits {
            return false;
        }
        rest = tail;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(others: &[(&str, &str)]) -> Result<Event, CallError> {
        let usual = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")];
        let mut attributes = Attributes::default();
        for (name, value) in usual.iter().filter(|(name, _)| !others.iter().any(|(other, _)| other == name)) {
            attributes.add(name, (*value).to_owned())?;
        }
        for (name, value) in others.iter().filter(|(_, value)| *value != "-") {
            attributes.add(name, (*value).to_owned())?;
        }
        attributes.event(Bytes::from_static(b"x"))
    }

    #[test]
    fn an_event_has_what_was_told() {
        let made = event(&[("time", "2018-04-05T17:31:00Z"), ("comexample1", ""), ("hops", "16")]).unwrap();
        assert_eq!((made.id.as_str(), made.source.as_str(), &made.data[..]), ("1", "/s", &b"x"[..]));
        let all: Vec<_> =
            made.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("comexample1", ""), ("hops", "16"), ("time", "2018-04-05T17:31:00Z"), ("type", "t")];
        assert_eq!(all, expected);
        for kind in ["dev.coracle.queue.message", "dev.coracles", "com.dev.coracle.x"] {
            event(&[("type", kind)]).unwrap();
        }
        for source in ["//a.example:81/b?c#d", "urn:uuid:6e8bc430", "a%20b", "mailto:x@example.org"] {
            event(&[("source", source)]).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let name = "n".repeat(NAME_BYTES_MAX + 1);
        for (attribute, value, why) in [
            ("specversion", "-", "missing"),
            ("id", "-", "missing"),
            ("source", "-", "missing"),
            ("type", "-", "missing"),
            ("specversion", "0.3", "'0.3'"),
            ("id", "", "empty"),
            ("source", "", "empty"),
            ("type", "", "empty"),
            ("type", "dev.coracle.kv.set", "the platform's own"),
            ("type", "dev.coracle.", "the platform's own"),
            ("subject", "", "empty"),
            ("dataschema", "", "empty"),
            ("datacontenttype", "", "empty"),
            ("datacontenttype", "é", "media type"),
            ("source", "a b", "URI-reference"),
            ("source", "a%2", "URI-reference"),
            ("source", "<a>", "URI-reference"),
            ("source", "é", "URI-reference"),
            ("id", &long, "257 bytes"),
            ("source", &long, "257 bytes"),
            ("time", "yesterday", "RFC 3339"),
            ("hops", "many", "no number"),
            ("comExample", "", "a-z"),
            ("com-example", "", "a-z"),
            ("", "", "a-z"),
            (&name, "", "a-z"),
            ("data", "x", "no attribute"),
            ("x", "a\nb", "control"),
            ("x", "a\u{9f}b", "control"),
        ] {
            let error = event(&[(attribute, value)]).unwrap_err();
            let said = error.to_string();
            assert_eq!(error.code(), Code::BadRequest, "{attribute}: {said}");
            assert!(said.contains(&format!("attribute '{attribute}'")) && said.contains(why), "{said}");
        }
        assert!(event(&[("x", "1"), ("x", "2")]).unwrap_err().to_string().contains("'x' stands twice"));
        assert_eq!(event(&[("hops", "17")]).unwrap_err().code(), Code::LoopDetected);
    }

    #[test]
    fn data_has_a_bound() {
        let with = |bytes: usize| {
            let data = vec![0; bytes].into();
            let event = Event { data, ..event(&[]).unwrap() };
            event.check_data().map_err(|error| error.code())
        };
        assert_eq!(with(BODY_BYTES_MAX), Ok(()));
        assert_eq!(with(BODY_BYTES_MAX + 1), Err(Code::RequestTooLarge));
    }
}
