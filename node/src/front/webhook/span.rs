//! The span of what is sent to a webhook, by OpenTelemetry's conventions for messaging.

use coracle_proto::attr;
use coracle_proto::trace::join_from_headers;
use http::HeaderMap;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::Hook;

/// From the request to the word that it is kept.
pub(super) fn send(to: &Hook, headers: &HeaderMap) -> Span {
    let span = info_span!(
        "send",
        otel.name = Empty,
        otel.kind = "producer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_GATEWAY,
        { attr::MESSAGING_SYSTEM } = "coracle",
        { attr::MESSAGING_OPERATION } = "send",
        { attr::MESSAGING_DESTINATION } = Empty,
        { attr::NAMESPACE } = to.namespace.as_str(),
        { attr::ERROR_TYPE } = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("send webhook/{}", to.name));
        span.record(attr::MESSAGING_DESTINATION, format!("webhook/{}", to.name));
        join_from_headers(&span, headers);
    }
    span
}
