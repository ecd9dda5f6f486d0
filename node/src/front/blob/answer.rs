//! What is said to whoever asks for blobs, but for the blobs.

use coracle_proto::route::RESERVED_PREFIX;
use coracle_proto::status::{Code, Refusal};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, ETAG};
use http::{HeaderValue, Method, Response, StatusCode};

use super::conditions::quoted;
use crate::blobs::{At, KEY_BYTES_MAX};
use crate::call::{Body, CallError};
use crate::front::problem::{page, problem, with_status};

/// Without content.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// That something is kept, with its etag: `201` where there was nothing, `204` where it took another one's place.
pub(super) fn kept(existed: bool, etag: &str) -> Response<Body> {
    let mut response = empty(if existed { StatusCode::NO_CONTENT } else { StatusCode::CREATED });
    if let Ok(tag) = HeaderValue::try_from(quoted(etag)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// That there is no such blob.
pub(super) fn none(at: &At) -> CallError {
    let said = format!("the bucket '{}' has no blob '{}'", at.bucket.name, at.key);
    CallError::new(Code::BlobNotFound, said)
}

/// A store's refusal, as callers are told it.
pub(super) fn told(refusal: Refusal) -> CallError {
    CallError::new(refusal.code, refusal.message)
}

/// That nothing of what is asked for is there: of so many bytes.
pub(super) fn out_of_range(bytes: u64) -> (CallError, Response<Body>) {
    let error = CallError::new(
        Code::RangeNotSatisfiable,
        format!("the blob has {bytes} bytes, and none in that range"),
    );
    let mut response = problem(&error);
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{bytes}")) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    (error, response)
}

/// That a method is not possible.
pub(super) fn not_allowed(method: &Method, allowed: &'static str) -> (CallError, Response<Body>) {
    let error = CallError::new(Code::BadRequest, format!("{method} is not possible here, only {allowed}"));
    let mut response = with_status(&error, StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    (error, response)
}

/// That a part has no number.
pub(super) fn no_part() -> CallError {
    CallError::new(
        Code::BadRequest,
        "PUT with 'uploadId' is of a part: 'partNumber' says which one; nothing was kept",
    )
}

/// That what is asked for is asked of a blob.
pub(super) fn no_key() -> CallError {
    let said =
        "'uploads' and 'uploadId' are of one key: uploads that are open are listed by nobody over HTTP";
    CallError::new(Code::BadRequest, said)
}

/// How blobs are asked for.
pub(super) fn usage() -> Response<Body> {
    let text = format!(
        "Blobs are read, written and deleted at {RESERVED_PREFIX}/blob/BUCKET/KEY, those of a namespace other than\n\
         'default' at {RESERVED_PREFIX}/blob/@NAMESPACE/BUCKET/KEY:\n\n  \
         curl -T FILE http://HOST{RESERVED_PREFIX}/blob/photos/2026/cat.jpg\n  \
         curl -O http://HOST{RESERVED_PREFIX}/blob/photos/2026/cat.jpg\n  \
         curl -X DELETE http://HOST{RESERVED_PREFIX}/blob/photos/2026/cat.jpg\n  \
         curl 'http://HOST{RESERVED_PREFIX}/blob/photos/?prefix=2026/'\n\n\
         A key has 1 to {KEY_BYTES_MAX} bytes; what is not a letter, a digit or one of '-._~/' in it is percent-encoded.\n\
         Ranges, conditions and 'content-digest: sha-256=:BASE64:' are heeded; 'coracle-meta-NAME: VALUE', 'cache-control',\n\
         'content-disposition' and 'content-language' are kept with the blob. In parts: POST ?uploads, PUT ?uploadId=ID&partNumber=N, POST ?uploadId=ID with [{{\"part\":N,\"etag\":E}}],\n\
         DELETE ?uploadId=ID. A bucket whose access is 'signed' needs 'expires' and 'signature' in the query (docs/guide.md).\n"
    );
    page(StatusCode::OK, "text/plain; charset=utf-8", text)
}
