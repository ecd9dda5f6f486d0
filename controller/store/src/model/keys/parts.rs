//! Of what keys are made, and how they are taken apart.

use bytes::Bytes;

use super::super::name::Place;
use super::kind::Kind;

/// The place with which a subject begins, and what follows it.
pub(in super::super) fn subject_parts(subject: &[u8]) -> Option<(Place, &[u8])> {
    let (namespace, rest) = text(subject)?;
    let (name, rest) = text(rest)?;
    Some((Place::parse(namespace, name).ok()?, rest))
}

/// The place of which the whole rest of a key is.
pub(in super::super) fn place_of(key: &[u8]) -> Option<Place> {
    subject_parts(key.get(1..)?).filter(|(_, rest)| rest.is_empty()).map(|(place, _)| place)
}

/// From a prefix on to whatever does not begin with it.
pub(super) fn range(prefix: Bytes) -> (Bytes, Bytes) {
    let to = after(&prefix);
    (prefix, to)
}

/// The least bytes that are greater than all that begin with `prefix`. Every key begins with a letter, so there are some.
pub(super) fn after(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end.into()
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}

/// A key in the making.
#[derive(Clone)]
pub(super) struct Parts(Vec<u8>);

impl Parts {
    pub(super) fn of(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(kind.byte());
        Self(bytes)
    }

    pub(super) fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).byte(0)
    }

    pub(super) fn place(self, place: &Place) -> Self {
        self.text(place.namespace.as_str()).text(place.name.as_str())
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn key(self) -> Bytes {
        self.0.into()
    }
}
