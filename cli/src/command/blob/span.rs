//! A part of a blob, as a person says it.

use std::str::FromStr;

use crate::exit::Failure;

/// Bytes from the first to the last, both counted from 0 and both meant; or the last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    From(u64, Option<u64>),
    Last(u64),
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('+'));
        let span = text.split_once('-').and_then(|(first, last)| match (first, last) {
            ("", last) => number(last).filter(|last| *last > 0).map(Self::Last),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        });
        span.ok_or_else(|| format!("'{text}': expected FIRST-LAST, FIRST- or -COUNT, bytes counted from 0"))
    }
}

impl Span {
    /// Where it begins, and the byte behind it, in so many bytes.
    pub(super) fn within(self, bytes: u64) -> Result<(u64, u64), Failure> {
        let (from, to) = match self {
            Self::From(first, last) => (first, last.map_or(bytes, |last| last.saturating_add(1).min(bytes))),
            Self::Last(count) => (bytes.saturating_sub(count), bytes),
        };
        if from < to {
            Ok((from, to))
        } else {
            Err(Failure::usage(format!("--range: the blob has {bytes} bytes")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_as_http_has_it() {
        let within = |text: &str| text.parse::<Span>().unwrap().within(100);
        assert_eq!(within("0-0"), Ok((0, 1)));
        assert_eq!(within("10-19"), Ok((10, 20)));
        assert_eq!(within("90-1000"), Ok((90, 100)));
        assert_eq!(within("90-"), Ok((90, 100)));
        assert_eq!(within("-10"), Ok((90, 100)));
        assert_eq!(within("-1000"), Ok((0, 100)));
        assert!(within("100-").is_err());
        for bad in ["", "-", "5", "5-4", "-0", "a-b", "+1-2", "1-2-3"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
