//! What an answer may carry by its method and status (RFC 9110). Over HTTP/2 hyper sends whatever body it is given.

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use crate::call::Body;

/// Takes the body from an answer that has none, which stops whoever makes it. A length stays where it is the one that the
/// answer to a GET would have.
pub(super) fn settle(method: &Method, mut response: Response<Body>) -> Response<Body> {
    let (status, length) = (response.status(), response.body().size_hint().exact());
    let headers = response.headers_mut();
    match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => {
            headers.remove(CONTENT_LENGTH);
        }
        StatusCode::NOT_MODIFIED => {}
        _ if method == Method::HEAD => {
            // An empty body says nothing of the one that a GET would have: most functions make none for HEAD.
            if let Some(length) = length.filter(|length| *length > 0) {
                headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
            }
        }
        _ => return response,
    }
    response.map(|_| Body::default())
}
