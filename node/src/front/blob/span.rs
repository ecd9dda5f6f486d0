//! The span of a request about blobs, from its head to the last byte of its answer.

use coracle_proto::attr;
use coracle_proto::route::RESERVED_PREFIX;
use coracle_proto::trace::join_from_headers;
use http::request::Parts;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::values::Bucket;

/// In the caller's trace. Keys are told by nobody: they may say whose blobs they are.
pub(super) fn blob(bucket: &Bucket, head: &Parts) -> Span {
    let span = info_span!(
        "blob",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_GATEWAY,
        { attr::HTTP_METHOD } = head.method.as_str(),
        { attr::HTTP_STATUS } = Empty,
        { attr::NAMESPACE } = bucket.namespace.as_str(),
        { attr::DB_NAMESPACE } = bucket.name.as_str(),
        { attr::ERROR_TYPE } = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("{} {RESERVED_PREFIX}/blob", head.method));
        join_from_headers(&span, &head.headers);
    }
    span
}
