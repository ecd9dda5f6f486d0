//! Conditions of requests (RFC 9110, 13): those of a change are asked by the store, with the change; those of a reader here.

use std::time::{Duration, UNIX_EPOCH};

use coracle_proto::status::Code;
use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::blobs::{Info, Terms};
use crate::call::CallError;
use crate::clock;

/// What a reader is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Blob,
    /// It has what there is.
    NotModified,
    /// It wanted something else.
    Failed,
}

/// On which terms something is changed. What the store cannot ask in the same moment is refused, and never left out.
pub(super) fn terms(headers: &HeaderMap) -> Result<Terms, CallError> {
    let bad =
        |name: HeaderName, why: &str| CallError::new(Code::BadRequest, format!("header '{name}': {why}"));
    // Beside 'if-match' it is to be ignored, and what is no date too (13.1.4).
    if !headers.contains_key(IF_MATCH) && date(headers, &IF_UNMODIFIED_SINCE).is_some() {
        return Err(bad(IF_UNMODIFIED_SINCE, "is too coarse for a change; 'if-match' is heeded"));
    }
    let mut terms = Terms::default();
    if let Some(tags) = text(headers, &IF_MATCH) {
        let why = "is '*', or one etag in quotes";
        terms.if_match = match tags.trim() {
            "*" => "*".to_owned(),
            one => match tags_of(one).as_deref() {
                // A weak one never matches here (8.8.3.2).
                Some([(true, _)]) => {
                    return Err(CallError::new(Code::PreconditionFailed, "a weak etag matches no blob"));
                }
                Some([(false, tag)]) if !tag.is_empty() && tag != "*" => tag.clone(),
                _ => return Err(bad(IF_MATCH, why)),
            },
        };
    }
    if let Some(tags) = text(headers, &IF_NONE_MATCH) {
        if tags.trim() != "*" {
            return Err(bad(IF_NONE_MATCH, "is '*' where something is changed"));
        }
        terms.if_none_match = true;
    }
    Ok(terms)
}

/// Refuses whatever condition for a step of an upload in parts: it is asked when the upload ends.
pub(super) fn none(headers: &HeaderMap) -> Result<(), CallError> {
    if terms(headers)? == Terms::default() {
        return Ok(());
    }
    let said = "'if-match' and 'if-none-match' are heeded where an upload in parts ends, with POST ?uploadId=ID; nothing was done";
    Err(CallError::new(Code::BadRequest, said))
}

/// Refuses what would be refused anyway with the change, as far as that is known before: what the blob is, if there is one.
pub(super) fn still(terms: &Terms, info: Option<&Info>) -> Result<(), CallError> {
    let Terms { if_match, if_none_match } = terms;
    let other = || info.is_none_or(|info| if_match != "*" && *if_match != info.etag);
    if (*if_none_match && info.is_some()) || (!if_match.is_empty() && other()) {
        let said =
            "the blob is not the one that 'if-match' means, or 'if-none-match' wants none; nothing was kept";
        return Err(CallError::new(Code::PreconditionFailed, said));
    }
    Ok(())
}

/// What a reader sees of a blob, in the order of 13.2.2.
pub(super) fn seen(headers: &HeaderMap, info: &Info) -> Seen {
    let modified = modified_ms(info) / 1000;
    if let Some(tags) = text(headers, &IF_MATCH) {
        if !matches(&tags, info, true) {
            return Seen::Failed;
        }
    } else if date(headers, &IF_UNMODIFIED_SINCE).is_some_and(|since| modified > since) {
        return Seen::Failed;
    }
    if let Some(tags) = text(headers, &IF_NONE_MATCH) {
        if matches(&tags, info, false) {
            return Seen::NotModified;
        }
    } else if date(headers, &IF_MODIFIED_SINCE).is_some_and(|since| modified <= since) {
        return Seen::NotModified;
    }
    Seen::Blob
}

/// Whether a range is wanted of this blob, or all of it if it is another one by now (13.1.5).
pub(super) fn in_range(headers: &HeaderMap, info: &Info) -> bool {
    // A date never matches: a blob may have been another one within its second (8.8.2.2), and each has an etag.
    text(headers, &IF_RANGE).is_none_or(|wanted| wanted.trim() == quoted(&info.etag))
}

/// When it was written, as it is told and compared: whoever wrote it may have had a clock that is ahead.
fn modified_ms(info: &Info) -> u64 {
    info.modified_ms.min(clock::unix_ms())
}

/// What tells this blob from others.
pub(super) fn validators(headers: &mut HeaderMap, info: &Info) {
    if let Ok(tag) = HeaderValue::try_from(quoted(&info.etag)) {
        headers.insert(ETAG, tag);
    }
    let at = UNIX_EPOCH + Duration::from_millis(modified_ms(info));
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(at)) {
        headers.insert(LAST_MODIFIED, date);
    }
}

/// As it stands in a header.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn matches(tags: &str, info: &Info, strong: bool) -> bool {
    if tags.trim() == "*" {
        return true;
    }
    let same = |(weak, tag): &(bool, String)| *tag == info.etag && !(strong && *weak);
    tags_of(tags).is_some_and(|tags| tags.iter().any(same))
}

/// A list of etags, each with whether it is weak; none where it is no such list.
fn tags_of(text: &str) -> Option<Vec<(bool, String)>> {
    let (mut tags, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (weak, after) = rest.strip_prefix("W/").map_or((false, rest), |after| (true, after));
        let (tag, after) = after.strip_prefix('"')?.split_once('"')?;
        tags.push((weak, tag.to_owned()));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start_matches([',', ' ', '\t']),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(tags)
}

/// All lines of a header that is a list.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> =
        headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// In whole seconds.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let at = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
    const BEFORE: &str = "Wed, 21 Oct 2015 07:27:59 GMT";

    fn info() -> Info {
        Info { etag: "abc".to_owned(), modified_ms: 1_445_412_480_999, ..Info::default() }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn readers_see_what_they_do_not_have() {
        for (pairs, expected) in [
            (&[][..], Seen::Blob),
            (&[("if-match", "\"abc\"")], Seen::Blob),
            (&[("if-match", "\"x\", \"abc\"")], Seen::Blob),
            (&[("if-match", "*")], Seen::Blob),
            (&[("if-match", "\"x\"")], Seen::Failed),
            (&[("if-match", "W/\"abc\"")], Seen::Failed),
            (&[("if-match", "abc")], Seen::Failed),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Seen::Blob),
            (&[("if-unmodified-since", BEFORE)], Seen::Failed),
            (&[("if-unmodified-since", AT)], Seen::Blob),
            (&[("if-unmodified-since", "never")], Seen::Blob),
            (&[("if-none-match", "\"abc\"")], Seen::NotModified),
            (&[("if-none-match", "W/\"abc\" , \"y\"")], Seen::NotModified),
            (&[("if-none-match", "*")], Seen::NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], Seen::NotModified),
            (&[("if-none-match", "\"x\""), ("if-modified-since", AT)], Seen::Blob),
            (&[("if-none-match", "\"abc")], Seen::Blob),
            (&[("if-modified-since", AT)], Seen::NotModified),
            (&[("if-modified-since", BEFORE)], Seen::Blob),
            (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Seen::Failed),
        ] {
            assert_eq!(seen(&headers(pairs), &info()), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_range_is_sent_of_the_same_blob_only() {
        for (value, expected) in
            [("\"abc\"", true), ("\"abd\"", false), ("W/\"abc\"", false), (AT, false), ("x", false)]
        {
            assert_eq!(in_range(&headers(&[("if-range", value)]), &info()), expected, "{value}");
        }
        assert!(in_range(&headers(&[]), &info()));
    }

    #[test]
    fn a_clock_that_is_ahead_contradicts_no_date_that_was_told() {
        let (mut told, ahead) = (HeaderMap::new(), Info { modified_ms: clock::unix_ms() + 90_000, ..info() });
        validators(&mut told, &ahead);
        let asked = [(IF_UNMODIFIED_SINCE, told[LAST_MODIFIED].clone())].into_iter().collect();
        // In the next second too, for it is compared as it would be told now: then it is seen as changed, never as older.
        let changed = modified_ms(&ahead) / 1000 > date(&told, &LAST_MODIFIED).unwrap();
        assert_eq!(seen(&asked, &ahead), if changed { Seen::Failed } else { Seen::Blob });
    }

    #[test]
    fn what_is_refused_in_the_end_is_refused_at_the_head() {
        let (there, none) = (info(), None);
        for (if_match, if_none_match, blob, good) in [
            ("", false, none, true),
            ("", true, none, true),
            ("", true, Some(&there), false),
            ("*", false, none, false),
            ("*", false, Some(&there), true),
            ("abc", false, Some(&there), true),
            ("x", false, Some(&there), false),
        ] {
            let terms = Terms { if_match: if_match.to_owned(), if_none_match };
            assert_eq!(still(&terms, blob).is_ok(), good, "{terms:?}");
        }
    }

    #[test]
    fn terms_of_changes_are_kept_or_refused() {
        let asked = |pairs: &[(&'static str, &'static str)]| {
            terms(&headers(pairs)).map(|it| (it.if_match, it.if_none_match)).map_err(|error| error.code())
        };
        assert_eq!(asked(&[]), Ok((String::new(), false)));
        assert_eq!(asked(&[("if-match", " \"abc\" ")]), Ok(("abc".to_owned(), false)));
        assert_eq!(asked(&[("if-match", "*"), ("if-none-match", "*")]), Ok(("*".to_owned(), true)));
        let beside = [("if-match", "*"), ("if-unmodified-since", BEFORE)];
        assert_eq!(asked(&beside), Ok(("*".to_owned(), false)), "it is ignored");
        assert_eq!(asked(&[("if-unmodified-since", "never")]), Ok((String::new(), false)));
        assert!(none(&headers(&[])).is_ok() && none(&headers(&beside)).is_err());
        assert_eq!(asked(&[("if-match", "W/\"abc\"")]), Err(Code::PreconditionFailed));
        for bad in [
            ("if-match", "abc"),
            ("if-match", "\"a\", \"b\""),
            ("if-match", "\"\""),
            ("if-match", "\"*\""),
            ("if-match", ""),
            ("if-none-match", "\"abc\""),
            ("if-unmodified-since", AT),
        ] {
            assert!(none(&headers(&[bad])).is_err(), "{bad:?}");
            assert_eq!(asked(&[bad]), Err(Code::BadRequest), "{bad:?}");
        }
    }
}
