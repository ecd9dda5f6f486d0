//! Headers between the caller and the guest: what belongs to one connection stays there.

use std::net::SocketAddr;

use coracle_proto::status::Code;
use http::header::{
    CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

use crate::call::CallError;
use crate::hops;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Headers that only the platform sets.
const OWN_PREFIX: &str = "coracle-";

/// Removes what RFC 9110, 7.6.1, keeps to one connection, and what the `Connection` header names.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// Removes the platform's own headers where somebody else set them.
pub(super) fn remove_own(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with(OWN_PREFIX)) {
        let own: Vec<_> =
            headers.keys().filter(|name| name.as_str().starts_with(OWN_PREFIX)).cloned().collect();
        for name in own {
            headers.remove(name);
        }
    }
}

/// The authority that a request is for: that of an absolute target before `Host` (RFC 9112, 3.2.2).
pub(super) fn authority(parts: &Parts) -> Result<Option<Authority>, CallError> {
    if let Some(authority) = parts.uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let bad = |why: &str| CallError::new(Code::BadRequest, format!("header 'host': {why}"));
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(bad("stands twice")),
        (Some(host), None) if host.is_empty() => Ok(None),
        (Some(host), None) => {
            Authority::try_from(host.as_bytes()).map(Some).map_err(|error| bad(&error.to_string()))
        }
        (None, _) if parts.version == Version::HTTP_11 => Err(bad("missing")),
        (None, _) => Ok(None),
    }
}

/// The name by which routes know a host: lower case, without port.
pub(super) fn host_name(authority: Option<&Authority>) -> String {
    authority.map(|authority| authority.host().to_ascii_lowercase()).unwrap_or_default()
}

/// Makes the request what the guest is to see: an absolute target, its own path if there is one, and who called.
pub(super) fn for_guest(
    parts: &mut Parts,
    authority: Option<Authority>,
    path: Option<String>,
    remote: SocketAddr,
) -> Result<(), CallError> {
    let headers = &mut parts.headers;
    hops::check(headers)?;
    remove_hop_by_hop(headers);
    remove_own(headers);
    // The gateway itself answers it when the guest begins to read.
    headers.remove(EXPECT);
    forwarded(headers, authority.as_ref(), remote);
    if let Some(authority) = &authority
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        headers.insert(HOST, host);
    }
    let query = parts.uri.query();
    let path_and_query = match (path, query) {
        (Some(path), Some(query)) => PathAndQuery::try_from(format!("{path}?{query}")),
        (Some(path), None) => PathAndQuery::try_from(path),
        (None, _) => {
            Ok(parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
        }
    };
    let bad = |error: &dyn std::fmt::Display| CallError::new(Code::BadRequest, format!("target: {error}"));
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(path_and_query.map_err(|error| bad(&error))?);
    uri.scheme = Some(Scheme::HTTP);
    // A caller of HTTP/1.0 need not say whom it means.
    uri.authority = authority.or_else(|| Some(Authority::from_static("localhost")));
    parts.uri = Uri::from_parts(uri).map_err(|error| bad(&error))?;
    parts.version = Version::HTTP_11;
    Ok(())
}

fn forwarded(headers: &mut HeaderMap, authority: Option<&Authority>, remote: SocketAddr) {
    let caller = remote.ip().to_canonical().to_string();
    let chain = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let chain: Vec<&str> = chain.chain([caller.as_str()]).collect();
    if let Ok(chain) = HeaderValue::try_from(chain.join(", ")) {
        headers.insert(FORWARDED_FOR, chain);
    }
    // A proxy before this one knows better how the first caller came.
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if let Some(authority) = authority
        && !headers.contains_key(FORWARDED_HOST)
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        headers.insert(FORWARDED_HOST, host);
    }
}
