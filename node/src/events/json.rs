//! Events in the JSON format of `CloudEvents` (1.0.2): one in the structured mode, or many in a batch.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::cloudevent::is_json;
use crate::stores::{Delivery, Event};

pub(super) const STRUCTURED: &str = "application/cloudevents+json";
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// Members that are no attributes, or are the event's own whatever attributes it was given.
const OWN: [&str; 5] = ["specversion", "id", "source", "data", "data_base64"];

/// One event.
pub(super) fn one(delivery: &Delivery) -> Bytes {
    let mut json = String::new();
    write(&mut json, &delivery.event, attributes(delivery));
    json.into()
}

/// All of a call. What headers tell of one message is told in attributes here: its attempt, and its fence.
pub(super) fn many<'a>(deliveries: impl Iterator<Item = &'a Delivery>) -> Bytes {
    let mut json = String::from("[");
    for (index, delivery) in deliveries.enumerate() {
        if index > 0 {
            json.push(',');
        }
        let mut attributes = attributes(delivery);
        attributes.insert("coracleattempt".to_owned(), delivery.attempt.to_string());
        attributes.insert("coraclefence".to_owned(), delivery.ticket.fence.sequence.to_string());
        write(&mut json, &delivery.event, attributes);
    }
    json.push(']');
    json.into()
}

/// Bytes that an event has in a batch, with what stands between two of them.
pub(super) fn weight(delivery: &Delivery) -> usize {
    many(std::iter::once(delivery)).len().saturating_sub(1)
}

/// In large and small letters names are one; what is no name is left out.
fn attributes(delivery: &Delivery) -> BTreeMap<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    // One of its own says more.
    let mut all = BTreeMap::from([("sequence".to_owned(), delivery.ticket.message.to_string())]);
    for (name, value) in &delivery.event.attributes {
        let name = name.to_ascii_lowercase();
        if !name.is_empty() && name.bytes().all(plain) && !OWN.contains(&name.as_str()) {
            all.insert(name, value.clone());
        }
    }
    all
}

fn write(json: &mut String, event: &Event, attributes: BTreeMap<String, String>) {
    let kind = attributes.get("datacontenttype").cloned();
    json.push_str("{\"specversion\":\"1.0\"");
    member(json, "id", &event.id);
    member(json, "source", &event.source);
    for (name, value) in &attributes {
        member(json, name, value);
    }
    data(json, kind.as_deref(), &event.data);
    json.push('}');
}

fn member(json: &mut String, name: &str, text: &str) {
    json.push(',');
    json.push_str(&quoted(name));
    json.push(':');
    json.push_str(&quoted(text));
}

/// As JSON where it says that it is, as a text where it says that, and otherwise as what it is, byte by byte.
fn data(json: &mut String, kind: Option<&str>, data: &Bytes) {
    if data.is_empty() {
        return;
    }
    let text = std::str::from_utf8(data).ok();
    match (kind, text) {
        (Some(kind), Some(text)) if is_json(kind) && serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            json.push_str(",\"data\":");
            json.push_str(text);
        }
        (Some(kind), Some(text)) if is_text(kind) => member(json, "data", text),
        _ => member(json, "data_base64", &STANDARD.encode(data)),
    }
}

fn is_text(kind: &str) -> bool {
    kind.trim_start().get(..5).is_some_and(|main| main.eq_ignore_ascii_case("text/")) && !is_json(kind)
}

/// Texts always have a JSON form.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::{InvocationId, Namespace};
    use serde_json::{Value, json};

    use super::*;
    use crate::stores::{Fence, Manner, Ticket};

    fn delivery(attributes: &[(&str, &str)], data: &'static [u8]) -> Delivery {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Delivery {
            ticket: Ticket {
                namespace: Namespace::default(),
                queue: "q".to_owned(),
                message: 9,
                fence: Fence { term: 3, sequence: 40 },
            },
            attempt: 2,
            function: "f".parse().unwrap(),
            invocation: InvocationId::new(7),
            event: Event {
                kind: "queue".to_owned(),
                source: "/s".to_owned(),
                id: "i \"1\"".to_owned(),
                attributes: attributes.collect(),
                head: None,
                data: data.into(),
            },
            how: Manner::default(),
        }
    }

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn an_event_is_what_it_is_in_json() {
        let attributes =
            [("type", "t"), ("Subject", "\u{20ac}\n"), ("bad name", "x"), ("ID", "x"), ("data", "x")];
        let seen = read(&one(&delivery(&attributes, b"")));
        let expected = json!({
            "specversion": "1.0", "id": "i \"1\"", "source": "/s", "type": "t", "subject": "\u{20ac}\n", "sequence": "9"
        });
        assert_eq!(seen, expected);
    }

    #[test]
    fn data_stands_as_its_type_says_or_in_base64() {
        for (kind, data, name, value) in [
            ("application/json", &b" {\"a\": [1.0]}"[..], "data", json!({"a": [1.0]})),
            ("application/vnd.x+json; charset=utf-8", b"\"s\"", "data", json!("s")),
            ("application/json", b"{broken", "data_base64", json!("e2Jyb2tlbg==")),
            ("application/json", b"1 2", "data_base64", json!("MSAy")),
            ("text/plain; charset=utf-8", "h\u{e9}\0".as_bytes(), "data", json!("h\u{e9}\0")),
            ("TEXT/csv", b"a,b", "data", json!("a,b")),
            ("text/plain", b"\xff", "data_base64", json!("/w==")),
            ("application/octet-stream", b"text", "data_base64", json!("dGV4dA==")),
            ("", b"text", "data_base64", json!("dGV4dA==")),
        ] {
            let kinds = if kind.is_empty() { vec![] } else { vec![("datacontenttype", kind)] };
            let seen = read(&one(&delivery(&kinds, data)));
            assert_eq!(seen[name], value, "{kind}");
            assert_eq!(
                seen.as_object()
                    .unwrap()
                    .keys()
                    .filter(|key| key.starts_with("data") && *key != "datacontenttype")
                    .count(),
                1
            );
        }
    }

    #[test]
    fn each_event_of_a_batch_tells_its_attempt() {
        let all = [
            delivery(&[("type", "t"), ("sequence", "own")], b""),
            delivery(&[("coracleattempt", "99")], b"x"),
        ];
        let seen = read(&many(all.iter()));
        assert_eq!(seen.as_array().unwrap().len(), 2);
        assert_eq!((&seen[0]["sequence"], &seen[0]["coraclefence"]), (&json!("own"), &json!("40")));
        assert_eq!(seen[1]["coracleattempt"], json!("2"), "what the platform says counts");
        assert_eq!(read(&many(std::iter::empty())), json!([]));
        let worst = delivery(&[("datacontenttype", "text/plain"), ("subject", "\"\n\u{1}")], b"\0\0\0\0\0\0");
        let all = [&all[0], &all[1], &worst];
        let weights: usize = all.iter().map(|it| weight(it)).sum();
        assert_eq!(many(all.into_iter()).len(), weights + 1, "whatever has to be escaped");
    }
}
