//! What a caller prefers (RFC 7240), as far as the gateway knows it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Preferences of one request. Of each the first one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::front) struct Preferences {
    /// An answer at once, that it will be done.
    pub(in crate::front) respond_async: bool,
    /// How long the answer may take.
    pub(in crate::front) wait: Option<Duration>,
}

impl Preferences {
    /// Those of a request's headers, of however many lines. What is not understood is left out: they are preferences.
    pub(in crate::front) fn new(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
        for preference in lines.flat_map(|line| parts(line, ',')) {
            // Parameters say more about a preference; those that are known here have none.
            let preference = parts(preference, ';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("respond-async") {
                found.respond_async = true;
            } else if name.eq_ignore_ascii_case("wait") && found.wait.is_none() {
                found.wait = value.parse().ok().map(Duration::from_secs);
            }
        }
        found
    }
}

/// Takes out of the headers what is known here, which was done or is not the function's; what else is preferred stays.
pub(super) fn take(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers.get_all(PREFER).iter().filter_map(others).collect();
    headers.remove(PREFER);
    for line in lines {
        headers.append(PREFER, line);
    }
}

/// The others of a line; none where there are none.
fn others(line: &HeaderValue) -> Option<HeaderValue> {
    // What is no text is not understood here: it may be the function's.
    let Ok(text) = line.to_str() else { return Some(line.clone()) };
    let others = parts(text, ',').map(str::trim).filter(|preference| {
        let name = parts(preference, ';').next().unwrap_or_default();
        let name = name.split_once('=').map_or(name, |(name, _)| name).trim();
        !name.is_empty() && !["respond-async", "wait"].iter().any(|own| name.eq_ignore_ascii_case(own))
    });
    let others = others.collect::<Vec<_>>().join(", ");
    if others.is_empty() { None } else { HeaderValue::try_from(others).ok() }
}

/// The parts of a text, without separators that stand in quotes.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |char| {
        let was_escaped = escaped;
        escaped = quoted && !was_escaped && char == '\\';
        if char == '"' && !was_escaped {
            quoted = !quoted;
        }
        char == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferences(lines: &[&str]) -> (bool, Option<u64>) {
        let headers = lines.iter().map(|line| (PREFER, line.parse().unwrap())).collect();
        let found = Preferences::new(&headers);
        (found.respond_async, found.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn what_is_not_known_here_stays() {
        for (lines, left) in [
            (&["respond-async, wait=10"][..], &[][..]),
            (
                &["return=minimal, Respond-Async;x=1 , handling=lenient"][..],
                &["return=minimal, handling=lenient"],
            ),
            (&["respond-async", "return=minimal", "WAIT = 3"][..], &["return=minimal"]),
            (&["note=\"a, respond-async\", respond-async"][..], &["note=\"a, respond-async\""]),
            (&[", ,"][..], &[]),
        ] {
            let mut headers: HeaderMap = lines.iter().map(|line| (PREFER, line.parse().unwrap())).collect();
            take(&mut headers);
            assert_eq!(headers.get_all(PREFER).iter().collect::<Vec<_>>(), left, "{lines:?}");
        }
    }

    #[test]
    fn preferences_are_found_however_they_are_written() {
        for (lines, found) in [
            (&[][..], (false, None)),
            (&["respond-async"][..], (true, None)),
            (&["Respond-Async"][..], (true, None)),
            (&["return=minimal, respond-async; a=b , wait=10"][..], (true, Some(10))),
            (&["return=minimal", "respond-async;x"][..], (true, None)),
            (&["wait=\"5\", wait=6"][..], (false, Some(5))),
            (&["wait = 7"][..], (false, Some(7))),
            (&["wait=soon"][..], (false, None)),
            (&["respond-asynchronously"][..], (false, None)),
            (&["note=\"a, respond-async\""][..], (false, None)),
            (&["note=\"a\\\", respond-async\", wait=1"][..], (false, Some(1))),
            (&["note;by=\"x, respond-async;\", respond-async"][..], (true, None)),
            (&[", ,;=,"][..], (false, None)),
        ] {
            assert_eq!(preferences(lines), found, "{lines:?}");
        }
    }
}
