//! Errors that the platform makes, as RFC 9457 problems with a code.

use coracle_proto::attr::HEADER_ERROR;
use coracle_proto::status::Code;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;

use crate::call::{Body, CallError};

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

/// The answer for a call that came to nothing.
pub(super) fn problem(error: &CallError) -> Response<Body> {
    let status = StatusCode::from_u16(error.code().http_status());
    with_status(error, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

/// The same with another status than goes with the code.
pub(super) fn with_status(error: &CallError, status: StatusCode) -> Response<Body> {
    let code = error.code();
    let body = Problem {
        r#type: format!("docs/errors/{code}.md"),
        title: code.name(),
        status: status.as_u16(),
        detail: &error.refusal.message,
    };
    // Strings and numbers always have a JSON form.
    let mut response =
        page(status, "application/problem+json", serde_json::to_string(&body).unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(HEADER_ERROR), HeaderValue::from_static(code.name()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110, 15.5.2 asks for one. The webhook says in which form it is to be signed.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Signature"));
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
        || code == Code::TooManyConnections
    {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A whole answer.
pub(super) fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(text).map_err(|never| match never {})));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
