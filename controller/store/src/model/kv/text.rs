//! Keys, which may be any bytes, as an event shows them. Written here, and not by a library: what stands in a message belongs to the format.

use std::fmt::Write as _;

/// The key as it is, where it is text that a header may have.
pub(super) fn plain(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok().filter(|text| !text.chars().any(char::is_control))
}

/// The key as text; what is none is percent-encoded (RFC 3986), each byte but unreserved ones.
pub(super) fn subject(key: &[u8]) -> String {
    if let Some(text) = plain(key) {
        return text.to_owned();
    }
    let mut text = String::with_capacity(3 * key.len());
    for byte in key {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(*byte));
        } else {
            // A String takes whatever is written to it.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// A string of JSON (RFC 8259), with its quotation marks.
pub(in super::super) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            char if char < ' ' => {
                // A String takes whatever is written to it.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// With the standard alphabet and padding (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = usize::try_from((word >> (18 - 6 * place)) & 63).unwrap_or_default();
            let letter = ALPHABET.get(digit).filter(|_| place <= chunk.len());
            out.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_text() {
        for (key, shown) in [
            (&b"a/b c"[..], "a/b c"),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
            (b"a\xff-", "a%FF-"),
            (b"a\nb", "a%0Ab"),
        ] {
            assert_eq!(subject(key), shown);
        }
        assert_eq!((plain(b"a\xff"), plain(b"a\0"), plain(b"a%")), (None, None, Some("a%")));
    }

    #[test]
    fn strings_of_json_are_quoted() {
        assert_eq!(json("a\"b\\c\u{1}\u{fc}"), "\"a\\\"b\\\\c\\u0001\u{fc}\"");
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
