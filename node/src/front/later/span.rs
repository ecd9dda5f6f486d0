//! The span of whoever has a call kept, by OpenTelemetry's conventions for messaging.

use coracle_proto::attr;
use coracle_proto::trace::join_from_headers;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::dispatch::Invocation;

/// From the request to the word that it is kept.
pub(super) fn send(invocation: &Invocation) -> Span {
    let span = info_span!(
        "send",
        otel.name = Empty,
        otel.kind = "producer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_GATEWAY,
        { attr::MESSAGING_SYSTEM } = "coracle",
        { attr::MESSAGING_OPERATION } = "send",
        { attr::MESSAGING_MESSAGE } = Empty,
        { attr::NAMESPACE } = Empty,
        { attr::FUNCTION } = Empty,
        { attr::ERROR_TYPE } = Empty,
    );
    if !span.is_disabled() {
        let function = &invocation.function;
        span.record("otel.name", format!("send {function}"));
        span.record(attr::MESSAGING_MESSAGE, invocation.id.to_string());
        span.record(attr::NAMESPACE, function.namespace.as_str());
        span.record(attr::FUNCTION, function.name.as_str());
        join_from_headers(&span, &invocation.head.headers);
    }
    span
}
