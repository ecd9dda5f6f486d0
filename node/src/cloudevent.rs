//! `CloudEvents` in the binary mode of their HTTP binding (1.0.2, 3.1.3): how an attribute stands in a header.

use std::collections::BTreeMap;

use coracle_proto::trace::{TRACEPARENT, TRACESTATE};

/// Before the name of an attribute.
pub(crate) const PREFIX: &str = "ce-";
/// The type of an event that nobody has given another one.
pub(crate) const MESSAGE_TYPE: &str = "dev.coracle.queue.message";
/// So begin the types of what the platform itself says.
pub(crate) const OWN_TYPES: &str = "dev.coracle.";

/// Bytes of an event's attributes: names and values together.
pub(crate) const ATTRIBUTES_BYTES_MAX: usize = 4 << 10;

const UNENDED: &str = "has a quoted part that does not end";

/// Bytes of attributes, as they are bounded.
pub(crate) fn attributes_bytes(attributes: &BTreeMap<String, String>) -> usize {
    attributes.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum()
}

/// Leaves out of a trace what is too much, where all attributes have more than so many bytes: it goes on without what its vendors say,
/// and one that is no trace goes, too.
pub(crate) fn cut_traces(attributes: &mut BTreeMap<String, String>, bytes_max: usize) {
    if attributes_bytes(attributes) > bytes_max {
        attributes.remove(TRACESTATE);
        if attributes.get(TRACEPARENT).is_some_and(|parent| parent.len() > bytes_max / 2) {
            attributes.remove(TRACEPARENT);
        }
    }
}

/// Whether a media type is JSON by its subtype.
pub(crate) fn is_json(kind: &str) -> bool {
    let name = kind.split(';').next().unwrap_or_default().trim();
    let subtype = name.split_once('/').map_or("", |(_, subtype)| subtype).to_ascii_lowercase();
    subtype == "json" || subtype.ends_with("+json")
}

/// What a header has of a value: what it cannot carry, spaces, quotes and `%` as `%` and two digits for each byte (3.1.3.2).
pub(crate) fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The value that a header has: without the quotes that older senders put around parts of it, and decoded once.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence.
pub(crate) fn decode(header: &[u8]) -> Result<String, &'static str> {
    percent_decoded(&unquoted(header)?)
}

/// What stands where `%` and two digits stand for a byte.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence.
pub(crate) fn percent_decoded(text: &[u8]) -> Result<String, &'static str> {
    let (mut value, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((byte, tail)) = rest.split_first() {
        let (byte, tail) = match byte {
            b'%' => encoded(tail).ok_or("has a '%' without two hexadecimal digits behind it")?,
            byte => (*byte, tail),
        };
        value.push(byte);
        rest = tail;
    }
    String::from_utf8(value).map_err(|_| "is not UTF-8")
}

/// Quoted strings as RFC 9110, 5.6.4, has them.
fn unquoted(header: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (mut plain, mut quoted) = (Vec::with_capacity(header.len()), false);
    let mut bytes = header.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => plain.push(bytes.next().ok_or(UNENDED)?),
            byte => plain.push(byte),
        }
    }
    if quoted { Err(UNENDED) } else { Ok(plain) }
}

/// A byte of two digits, and what stands behind them.
fn encoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = text.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = digit(*high)?.checked_mul(16)?.checked_add(digit(*low)?)?;
    Some((u8::try_from(byte).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_stand_in_headers_as_the_binding_says() {
        for (value, header) in [
            ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("a\"b%c", "a%22b%25c"),
            ("/shop/1?x=~!", "/shop/1?x=~!"),
            ("\u{7f}\t", "%7F%09"),
            ("", ""),
        ] {
            assert_eq!((encode(value).as_str(), decode(header.as_bytes())), (header, Ok(value.to_owned())));
        }
    }

    #[test]
    fn what_older_senders_write_is_understood() {
        for (header, value) in [
            ("%e2%82%aC", "€"),
            ("%41", "A"),
            ("a b", "a b"),
            ("\"a b\"", "a b"),
            ("\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("a\"b c\"d\\", "ab cd\\"),
            ("\"%20\"", " "),
            ("%2541", "%41"),
            ("€", "€"),
        ] {
            assert_eq!(decode(header.as_bytes()), Ok(value.to_owned()), "{header}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for (header, wrong) in [
            (&b"%C0%A0"[..], "UTF-8"),
            (b"\xff", "UTF-8"),
            (b"100%", "two hexadecimal digits"),
            (b"%4", "two hexadecimal digits"),
            (b"%+1", "two hexadecimal digits"),
            (b"%%41", "two hexadecimal digits"),
            (b"\"a", "does not end"),
            (b"\"a\\", "does not end"),
        ] {
            assert!(decode(header).unwrap_err().contains(wrong), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_comes_back(value in any::<String>()) {
            let header = encode(&value);
            prop_assert!(header.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
            prop_assert_eq!(decode(header.as_bytes()), Ok(value));
        }

        #[test]
        fn no_header_is_too_strange(header in any::<Vec<u8>>()) {
            let _ = decode(&header);
        }
    }
}
