//! Where a guest's message goes, and what the guest says of it there: `QUEUE`, or `QUEUE?type=T&id=I&group=G&delay=D&subject=S`, each
//! value percent-encoded. The interface has no other place for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::trouble::Trouble;
use crate::cloudevent::{ATTRIBUTES_BYTES_MAX, MESSAGE_TYPE, OWN_TYPES, percent_decoded};
use crate::delay::delay;
use crate::stores::TEXT_BYTES_MAX;

/// By whose value messages are told apart that are delivered one after the other (an extension of `CloudEvents`).
const PARTITION: &str = "partitionkey";

/// What a subject says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Address {
    /// Empty: the message is like no other.
    pub(super) id: String,
    /// Empty: it is of none.
    pub(super) group: String,
    pub(super) delay: Duration,
    pub(super) attributes: BTreeMap<String, String>,
}

/// The queue or topic of a subject.
pub(super) fn queue(subject: &str) -> &str {
    subject.split_once('?').map_or(subject, |(queue, _)| queue)
}

impl Address {
    /// What stands behind the queue.
    pub(super) fn read(subject: &str) -> Result<Self, Trouble> {
        let mut it = Self::default();
        it.attributes.insert("type".to_owned(), MESSAGE_TYPE.to_owned());
        let Some((_, query)) = subject.split_once('?') else { return Ok(it) };
        let mut known = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decoded(value.as_bytes()).map_err(|why| wrong(name, why))?;
            if known.contains(&name) {
                return Err(wrong(name, "stands twice"));
            }
            known.push(name);
            it.put(name, value)?;
        }
        Ok(it)
    }

    fn put(&mut self, name: &str, value: String) -> Result<(), Trouble> {
        if value.is_empty() {
            return Err(wrong(name, "is empty"));
        }
        if value.contains(char::is_control) {
            return Err(wrong(name, "has a control character"));
        }
        let max = if matches!(name, "id" | "group") { TEXT_BYTES_MAX } else { ATTRIBUTES_BYTES_MAX / 2 };
        if value.len() > max {
            return Err(wrong(name, &format!("has {} bytes, and at most {max}", value.len())));
        }
        match name {
            "id" => self.id = value,
            "group" => {
                // The function is told the group that it was delivered in.
                self.attributes.insert(PARTITION.to_owned(), value.clone());
                self.group = value;
            }
            "delay" => self.delay = delay(&value).map_err(|why| wrong(name, &why))?,
            "type" if value != MESSAGE_TYPE && value.starts_with(OWN_TYPES) => {
                return Err(wrong(name, &format!("is '{value}', and such types are the platform's own")));
            }
            "type" | "subject" => {
                self.attributes.insert(name.to_owned(), value);
            }
            _ => return Err(wrong(name, "is none of 'type', 'id', 'group', 'delay' and 'subject'")),
        }
        Ok(())
    }
}

fn wrong(name: &str, why: &str) -> Trouble {
    let end = name.floor_char_boundary(name.len().min(80));
    Trouble::invalid(format!("'{}' of the subject {why}", name.get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_what_becomes_of_its_message() {
        let plain = Address::read("orders").unwrap();
        assert_eq!((queue("orders"), plain.attributes["type"].as_str()), ("orders", MESSAGE_TYPE));
        let subject =
            "orders?type=com.example.placed&id=o%2D1&group=a%26b&delay=10s&subject=Euro%20%E2%82%AC";
        let it = Address::read(subject).unwrap();
        assert_eq!((queue(subject), it.id.as_str(), it.group.as_str()), ("orders", "o-1", "a&b"));
        assert_eq!(it.delay, Duration::from_secs(10));
        let attributes = [("partitionkey", "a&b"), ("subject", "Euro €"), ("type", "com.example.placed")];
        assert_eq!(it.attributes, attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_is_wrong_with_it_is_named() {
        let long = format!("q?id={}", "x".repeat(257));
        for (subject, why) in [
            ("q?", "'' of the subject is empty"),
            ("q?id", "'id' of the subject is empty"),
            ("q?id=%", "'id' of the subject has a '%' without"),
            ("q?id=%0a", "control character"),
            ("q?id=1&id=2", "stands twice"),
            ("q?colour=red", "'colour' of the subject is none of"),
            ("q?delay=soon", "'delay' of the subject 'soon': expected a number"),
            ("q?delay=16d", "more than 15 days"),
            ("q?type=dev.coracle.kv.set", "the platform's own"),
            (&long, "has 257 bytes, and at most 256"),
        ] {
            let error = Address::read(subject).unwrap_err().to_string();
            assert!(error.starts_with("invalid-argument: ") && error.contains(why), "{subject}: {error}");
        }
        assert!(Address::read("q?type=dev.coracle.queue.message").is_ok());
    }
}
