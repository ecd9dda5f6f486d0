//! What pages of other origins may do with blobs (the Fetch standard, 3.2): what anybody may who has no more than the URL. Nothing
//! here is told by who a browser says its user is, so every origin is as good as another.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::answer;
use crate::call::Body;

const ANYBODY: HeaderValue = HeaderValue::from_static("*");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT");
/// A browser asks again after an hour.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");
/// Headers of requests that are heeded here; those of metadata have names of their own.
const HEEDED: [&str; 11] = [
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-language",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];
const METADATA: &str = "coracle-meta-";
/// Headers of answers that a page sees beside those that it always does.
const SEEN: &str = "accept-ranges, content-disposition, content-length, content-range, coracle-error, etag";

/// The answer to a browser that asks whether a page may; none: it is no such question, or not about what a page may do.
pub(super) fn preflight(head: &Parts) -> Option<Response<Body>> {
    let wanted = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let possible = matches!(wanted.as_bytes(), b"GET" | b"HEAD" | b"PUT");
    if head.method != Method::OPTIONS || !head.headers.contains_key(ORIGIN) || !possible {
        return None;
    }
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(heeded) = heeded(&head.headers) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, heeded);
    }
    Some(response)
}

/// Of the headers that are asked about, those that are heeded here.
fn heeded(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?.to_ascii_lowercase();
    let known = |name: &&str| HEEDED.contains(name) || name.starts_with(METADATA);
    let heeded: Vec<_> = asked.split(',').map(str::trim).filter(known).collect();
    HeaderValue::try_from(heeded.join(", ")).ok().filter(|it| !it.is_empty())
}

/// Lets a page see an answer: what anybody may, and whatever is said of its signature.
pub(super) fn allow(head: &Parts, response: &mut Response<Body>) {
    let signed = head.uri.query().unwrap_or_default().split('&').any(|it| it.starts_with("signature="));
    let let_in = !response.status().is_client_error() && !response.status().is_server_error();
    let possible = matches!(head.method, Method::GET | Method::HEAD | Method::PUT);
    // Also where no origin is named: a cache may give the answer to a page later.
    if !possible || !(signed || let_in) {
        return;
    }
    let headers = response.headers_mut();
    let metadata = headers.keys().filter(|name| name.as_str().starts_with(METADATA));
    let seen = metadata.fold(SEEN.to_owned(), |seen, name| format!("{seen}, {name}"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    if let Ok(seen) = HeaderValue::try_from(seen) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, seen);
    }
}
