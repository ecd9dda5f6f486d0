//! The spans of requests: each a part of its caller's trace, and marked where the request was refused.

use coracle_proto::status::Refusal;
use coracle_proto::{attr, trace};
use tonic::metadata::MetadataMap;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

/// A change that is no deploy.
pub(super) fn change(name: &'static str) -> Span {
    info_span!(
        attr::SPAN_CHANGE,
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_CONTROLLER,
        { attr::CHANGE } = name,
        { attr::ERROR_TYPE } = Empty,
    )
}

/// A part of a deploy: the upload, or the version's way into the log.
pub(super) fn deploy(name: &'static str) -> Span {
    info_span!(
        attr::SPAN_DEPLOY,
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_CONTROLLER,
        { attr::CHANGE } = name,
        { attr::FUNCTION } = Empty,
        { attr::ERROR_TYPE } = Empty,
    )
}

/// A command that another controller passed on.
pub(super) fn proposal() -> Span {
    info_span!(
        attr::SPAN_PROPOSE,
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_CONTROLLER,
        { attr::ERROR_TYPE } = Empty,
    )
}

/// Runs as a part of the caller's trace.
pub(super) async fn joined<T>(
    span: Span,
    metadata: &MetadataMap,
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    trace::join_from_metadata(&span, metadata);
    let answer = answer.instrument(span.clone()).await;
    if let Err(refusal) = &answer {
        trace::failed(&span, refusal);
    }
    answer
}
