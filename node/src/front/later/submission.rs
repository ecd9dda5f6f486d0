//! A request as it is kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::status::Code;
use coracle_proto::trace::{TRACEPARENT, TRACESTATE, write_headers};
use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use tracing::Span;

use super::prefer;
use crate::call::{ASYNC, CallError};
use crate::cloudevent::cut_traces;
use crate::dispatch::Invocation;
use crate::hops;
use crate::stores::{ATTRIBUTES_BYTES_MAX, Event, EventHead, HEADERS_BYTES_MAX, HEADERS_MAX, Submission};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 255;
/// Bytes of a trace among an event's attributes: the length of its chain stands beside it.
const TRACES_BYTES_MAX: usize = ATTRIBUTES_BYTES_MAX - hops::ATTRIBUTE_BYTES_MAX;

/// A request's head, within its bounds.
#[derive(Debug)]
pub(super) struct Head {
    invocation: Invocation,
    key: String,
}

impl Head {
    /// Checks what a guest would see of a request.
    pub(super) fn new(mut invocation: Invocation) -> Result<Self, CallError> {
        let headers = &mut invocation.head.headers;
        prefer::take(headers);
        check(headers)?;
        let key = key(headers)?;
        Ok(Self { invocation, key })
    }

    /// With its body, in the trace of a span.
    pub(super) fn with(self, data: Bytes, span: &Span) -> Submission {
        let Self { invocation, key } = self;
        let (route, head) = (invocation.trigger.route().to_owned(), invocation.head);
        let mut attributes = traces(&head.headers, span);
        let hops = hops::so_far(&head.headers);
        if hops > 0 {
            // What the call does in the platform goes on with its chain from here.
            attributes.insert(hops::ATTRIBUTE.to_owned(), hops.to_string());
        }
        let head = EventHead { method: head.method, uri: head.uri, headers: head.headers, route };
        let fingerprint = fingerprint(&head, &data);
        let (source, id) = (source(&head.headers), invocation.id.to_string());
        let event = Event { kind: ASYNC.to_owned(), source, id, attributes, head: Some(head), data };
        Submission {
            function: invocation.function,
            invocation: invocation.id,
            event,
            idempotency_key: key,
            fingerprint,
        }
    }
}

fn check(headers: &HeaderMap) -> Result<(), CallError> {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len().saturating_add(value.len());
    let (count, bytes) = (headers.len(), headers.iter().map(bytes).sum::<usize>());
    if count <= HEADERS_MAX && bytes <= HEADERS_BYTES_MAX {
        return Ok(());
    }
    let said = format!(
        "a call that is to be run later has at most {HEADERS_MAX} headers of {HEADERS_BYTES_MAX} bytes together, and this \
         one has {count} of {bytes}"
    );
    Err(CallError::new(Code::BadRequest, said))
}

/// The key that a caller gave; empty where there is none.
pub(in crate::front) fn key(headers: &HeaderMap) -> Result<String, CallError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let bad = |why: &str| CallError::new(Code::BadRequest, format!("header 'idempotency-key': {why}"));
    match (keys.next(), keys.next()) {
        (None, _) => Ok(String::new()),
        (Some(_), Some(_)) => Err(bad("stands twice")),
        (Some(key), None) if key.is_empty() => Err(bad("is empty")),
        (Some(key), None) if key.len() > KEY_BYTES_MAX => {
            Err(bad(&format!("has {} bytes, at most {KEY_BYTES_MAX}", key.len())))
        }
        (Some(key), None) => key.to_str().map(str::to_owned).map_err(|_| bad("is not plain text")),
    }
}

/// The trace that its attempts are to join: that of the span, or of the caller where nothing is recorded.
pub(in crate::front) fn traces(headers: &HeaderMap, span: &Span) -> BTreeMap<String, String> {
    let mut told = HeaderMap::new();
    for name in [TRACEPARENT, TRACESTATE] {
        if let Some(value) = headers.get(name) {
            told.insert(HeaderName::from_static(name), value.clone());
        }
    }
    if !span.is_disabled() {
        write_headers(span, &mut told);
    }
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let mut attributes: BTreeMap<_, _> = told.iter().filter_map(text).collect();
    cut_traces(&mut attributes, TRACES_BYTES_MAX);
    attributes
}

fn source(headers: &HeaderMap) -> String {
    proof(headers).map_or_else(|| format!("/{ASYNC}"), |proof| format!("/{ASYNC}/{proof}"))
}

/// Whose keys are one: those of callers who show the same proof of who they are. So nobody comes to the call of another
/// one, whose id opens its result, by guessing a key. 128 bits of SHA-256 tell proofs apart. None: no proof is shown.
pub(in crate::front) fn proof(headers: &HeaderMap) -> Option<String> {
    let mut proofs = [AUTHORIZATION, COOKIE]
        .into_iter()
        .flat_map(|name| headers.get_all(&name).iter().map(move |value| (name.clone(), value)));
    let first = proofs.next()?;
    let mut hash = Sha256::new();
    for (name, value) in std::iter::once(first).chain(proofs) {
        hash.update(name.as_str());
        hash.update([0]);
        hash.update(value.as_bytes());
        hash.update([0]);
    }
    let hash = hash.finalize();
    Some(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// Tells two requests apart: SHA-256 over method, path, query and body. Through which gateway, and by which of its names, it
/// came makes no difference.
fn fingerprint(head: &EventHead, data: &[u8]) -> Bytes {
    let mut hash = Sha256::new();
    hash.update(head.method.as_str());
    hash.update([0]);
    hash.update(head.uri.path_and_query().map_or("/", PathAndQuery::as_str));
    hash.update([0]);
    hash.update(data);
    Bytes::copy_from_slice(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn headers_have_a_bound_in_number_and_in_bytes() {
        let many = |count: usize, bytes: usize| {
            let header =
                |number| (HeaderName::try_from(format!("x-{number:06}")).unwrap(), "v".repeat(bytes));
            let headers =
                (0..count).map(header).map(|(name, value)| (name, value.parse().unwrap())).collect();
            check(&headers).map_err(|error| error.code())
        };
        assert_eq!(many(HEADERS_MAX, HEADERS_BYTES_MAX / HEADERS_MAX - 8), Ok(()));
        assert_eq!(many(HEADERS_MAX, HEADERS_BYTES_MAX / HEADERS_MAX - 7), Err(Code::BadRequest));
        assert_eq!(many(HEADERS_MAX + 1, 1), Err(Code::BadRequest));
    }

    #[test]
    fn a_trace_stays_without_what_is_too_much_of_it() {
        let kept = |state: usize| {
            let value = |text: &str| HeaderValue::try_from(text).unwrap();
            let parent = (HeaderName::from_static(TRACEPARENT), value("00-1-2-01"));
            let state = (HeaderName::from_static(TRACESTATE), value(&"s".repeat(state)));
            let attributes = traces(&[parent, state].into_iter().collect(), &Span::none());
            attributes.into_keys().collect::<Vec<_>>()
        };
        // Their names, and the parent, have 30 bytes.
        assert_eq!(kept(TRACES_BYTES_MAX - 30), ["traceparent", "tracestate"]);
        assert_eq!(kept(TRACES_BYTES_MAX - 29), ["traceparent"]);
    }

    #[test]
    fn callers_are_told_apart_by_what_they_show() {
        let shown = |headers: &[(HeaderName, &str)]| {
            let header = |(name, value): &(HeaderName, &str)| (name.clone(), value.parse().unwrap());
            source(&headers.iter().map(header).collect())
        };
        assert_eq!((shown(&[]), shown(&[(prefer::PREFER, "a")])), ("/async".to_owned(), "/async".to_owned()));
        let first = shown(&[(AUTHORIZATION, "a")]);
        assert_eq!((first.len(), &first), (39, &shown(&[(prefer::PREFER, "b"), (AUTHORIZATION, "a")])));
        for other in [
            shown(&[(AUTHORIZATION, "b")]),
            shown(&[(COOKIE, "a")]),
            shown(&[(AUTHORIZATION, "a"), (COOKIE, "a")]),
            shown(&[(AUTHORIZATION, "a"), (AUTHORIZATION, "a")]),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn requests_are_told_apart_by_method_path_and_body() {
        let print = |method: Method, uri: &str, data: &str| {
            let (uri, headers) = (uri.parse().unwrap(), HeaderMap::new());
            fingerprint(&EventHead { method, uri, headers, route: String::new() }, data.as_bytes())
        };
        let first = print(Method::POST, "http://a/b", "c");
        assert!(first.len() == 32 && first == print(Method::POST, "http://a/b", "c"));
        assert_eq!(first, print(Method::POST, "http://B.example:81/b", "c"), "at another gateway");
        for other in [
            print(Method::PUT, "http://a/b", "c"),
            print(Method::POST, "http://a/b?", "c"),
            print(Method::POST, "http://a/b", "d"),
        ] {
            assert_ne!(first, other);
        }
    }
}
