//! How far a chain of calls has come: functions that call one another in a circle would do so for ever.
//!
//! Each request that a function makes names the functions' platform once more in `CDN-Loop` (RFC 8586), whatever the
//! function itself has put there; proxies between pass it on. Gateways count.

use coracle_proto::status::Code;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::call::CallError;

/// The header.
pub(crate) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// What stands in it for this platform.
const ID: &str = "coracle";
/// The attribute of an event that says so, and its header.
pub(crate) const ATTRIBUTE: &str = "hops";
const CE_HOPS: HeaderName = HeaderName::from_static("ce-hops");
/// Bytes of the attribute's name and its value.
pub(crate) const ATTRIBUTE_BYTES_MAX: usize = ATTRIBUTE.len() + 2;
/// Calls in one chain after the first: real ones have a handful.
pub(crate) const HOPS_MAX: usize = 16;

/// Refuses a call whose chain is too long.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), CallError> {
    if !headers.contains_key(CDN_LOOP) || count(headers) <= HOPS_MAX {
        return Ok(());
    }
    let said = format!(
        "functions called functions {HOPS_MAX} times in a row before this call, and no chain is longer: do they call each \
         other in a circle?"
    );
    Err(CallError::new(Code::LoopDetected, said))
}

/// What a function's own request says, where its call said `headers`.
pub(crate) fn onward(headers: &HeaderMap) -> HeaderValue {
    if !headers.contains_key(CDN_LOOP) {
        return HeaderValue::from_static(ID);
    }
    let mut list: Vec<&str> = elements(headers).collect();
    list.push(ID);
    // What came in a header fits into one.
    HeaderValue::try_from(list.join(", ")).unwrap_or(HeaderValue::from_static(ID))
}

/// What says that so many calls came before; none where there were none. More than are allowed are said to be one too many.
pub(crate) fn after(count: usize) -> Option<HeaderValue> {
    let ids = vec![ID; count.min(HOPS_MAX.saturating_add(1))];
    if ids.is_empty() { None } else { HeaderValue::try_from(ids.join(", ")).ok() }
}

/// How far a chain of events had come with this one.
fn of_event(headers: &HeaderMap) -> u32 {
    let text = headers.get(CE_HOPS).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How far a chain had come with a call that says so in its headers, of calls or of events: the greater. More than are allowed
/// are said to be one too many.
pub(crate) fn so_far(headers: &HeaderMap) -> u32 {
    let events = usize::try_from(of_event(headers)).unwrap_or(usize::MAX);
    u32::try_from(count(headers).max(events).min(HOPS_MAX.saturating_add(1))).unwrap_or(u32::MAX)
}

/// Calls in the chain before this one.
pub(crate) fn count(headers: &HeaderMap) -> usize {
    let id = |element: &&str| element.split(';').next().is_some_and(|id| id.trim().eq_ignore_ascii_case(ID));
    elements(headers).filter(id).count()
}

fn elements(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CDN_LOOP).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_how_far_its_chain_has_come() {
        let said = |text: &str| of_event(&HeaderMap::from_iter([(CE_HOPS, text.parse().unwrap())]));
        assert_eq!((said("3"), said("-1"), said("x"), of_event(&HeaderMap::new())), (3, 0, 0, 0));
    }

    #[test]
    fn a_chain_is_as_long_as_the_longer_word_of_it() {
        let said = |calls: &str, events: &str| {
            let mut all = headers(&[calls]);
            all.insert(CE_HOPS, events.parse().unwrap());
            so_far(&all)
        };
        assert_eq!((said("coracle, coracle", "1"), said("coracle", "3"), said("other", "x")), (2, 3, 0));
        assert_eq!((said("", "4294967295"), so_far(&HeaderMap::new())), (17, 0));
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CDN_LOOP, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn every_call_adds_one_and_the_seventeenth_is_refused() {
        let mut now = headers(&["foo123.foocdn.example, barcdn.example; trace=\"abcdef\"", "Coracle;a=b"]);
        for _ in 1..HOPS_MAX {
            check(&now).unwrap();
            let next = onward(&now);
            now = HeaderMap::from_iter([(CDN_LOOP, next)]);
        }
        assert_eq!(count(&now), HOPS_MAX, "others do not count");
        check(&now).unwrap();
        let error = check(&HeaderMap::from_iter([(CDN_LOOP, onward(&now))])).unwrap_err();
        assert_eq!(error.code(), Code::LoopDetected);
        assert!(error.to_string().contains("16 times"), "{error}");
        for (count, counted) in [(0, 0), (1, 1), (16, 16), (17, 17), (usize::MAX, 17)] {
            let said = after(count).map(|value| (CDN_LOOP, value));
            assert_eq!(super::count(&HeaderMap::from_iter(said)), counted, "{count}");
        }
        assert_eq!(onward(&headers(&[])), "coracle");
        assert_eq!(onward(&headers(&[" , ,", "a"])), "a, coracle");
    }
}
