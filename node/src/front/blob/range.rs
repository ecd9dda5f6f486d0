//! Which bytes of a blob a `Range` asks for (RFC 9110, 14.1.2 and 14.2).

use std::ops::Range;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: nothing else is asked for, or not in a way that is known, or in several ranges, which nobody has to heed.
    Whole,
    /// At least one byte, and not more than there are.
    Some(Range<u64>),
    /// Nothing of what is asked for is there.
    Nothing,
}

/// What the header says of a blob of so many bytes.
pub(super) fn asked(header: Option<&str>, bytes: u64) -> Asked {
    let Some((unit, set)) = header.and_then(|header| header.split_once('=')) else { return Asked::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Asked::Whole;
    }
    let range = match (first.trim_end(), last.trim_start()) {
        ("", suffix) => match number(suffix) {
            // Of nothing the end is all there is.
            Some(count) if count > 0 && bytes == 0 => return Asked::Whole,
            Some(count) => bytes.saturating_sub(count)..bytes,
            None => return Asked::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => first..bytes,
            None => return Asked::Whole,
        },
        (first, last) => match number(first).zip(number(last)) {
            Some((first, last)) if first <= last => first..last.saturating_add(1).min(bytes),
            _ => return Asked::Whole,
        },
    };
    if range.is_empty() { Asked::Nothing } else { Asked::Some(range) }
}

/// As many digits as there may be: what is greater than any blob is as great as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_the_standard_says() {
        let some = |range| Asked::Some(range);
        for (header, bytes, expected) in [
            ("bytes=0-0", 10, some(0..1)),
            ("bytes=0-9", 10, some(0..10)),
            ("bytes=0-99999999999999999999999", 10, some(0..10)),
            ("bytes=4-", 10, some(4..10)),
            ("bytes=9-", 10, some(9..10)),
            ("bytes=-3", 10, some(7..10)),
            ("bytes=-30", 10, some(0..10)),
            ("Bytes= 2-3 ", 10, some(2..4)),
            ("bytes=10-", 10, Asked::Nothing),
            ("bytes=10-12", 10, Asked::Nothing),
            ("bytes=18446744073709551615-18446744073709551615", 10, Asked::Nothing),
            ("bytes=-0", 10, Asked::Nothing),
            ("bytes=0-", 0, Asked::Nothing),
            ("bytes=-5", 0, Asked::Whole),
            ("bytes=3-2", 10, Asked::Whole),
            ("bytes=0-1,3-4", 10, Asked::Whole),
            ("bytes=-", 10, Asked::Whole),
            ("bytes=a-b", 10, Asked::Whole),
            ("bytes=+1-2", 10, Asked::Whole),
            ("bytes=--2", 10, Asked::Whole),
            ("bytes", 10, Asked::Whole),
            ("lines=1-2", 10, Asked::Whole),
            ("", 10, Asked::Whole),
        ] {
            assert_eq!(asked(Some(header), bytes), expected, "{header} of {bytes}");
        }
        assert_eq!(asked(None, 10), Asked::Whole);
    }
}
