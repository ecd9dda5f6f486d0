//! The spans of a message, by OpenTelemetry's conventions for messaging. Without a trace layer each costs a nanosecond.

use coracle_proto::attr;
use coracle_proto::trace::{join_from_headers, link_from_headers};
use http::HeaderMap;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::request;
use crate::call::CallError;
use crate::stores::{Delivery, Kept, Settlement};

/// An attempt, up to the word of it. Its parent is the span of whoever sent the message.
pub(super) fn process(delivery: &Delivery) -> Span {
    let span = info_span!(
        "process",
        otel.name = Empty,
        otel.kind = "consumer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_GATEWAY,
        { attr::MESSAGING_SYSTEM } = "coracle",
        { attr::MESSAGING_OPERATION } = "process",
        { attr::MESSAGING_DESTINATION } = Empty,
        { attr::MESSAGING_MESSAGE } = Empty,
        { attr::NAMESPACE } = Empty,
        { attr::FUNCTION } = Empty,
        { attr::ATTEMPT } = delivery.attempt,
        { attr::ERROR_TYPE } = Empty,
    );
    if !span.is_disabled() {
        let (function, ticket) = (&delivery.function, &delivery.ticket);
        span.record("otel.name", format!("process {function}"));
        span.record(attr::MESSAGING_DESTINATION, ticket.queue.as_str());
        span.record(attr::MESSAGING_MESSAGE, delivery.invocation.to_string());
        span.record(attr::NAMESPACE, function.namespace.as_str());
        span.record(attr::FUNCTION, function.name.as_str());
        let mut headers = HeaderMap::new();
        request::traces(&mut headers, &delivery.event);
        join_from_headers(&span, &headers);
    }
    span
}

/// The call is for this message, too: its sender's trace is told beside that of the first one.
pub(super) fn link(span: &Span, delivery: &Delivery) {
    if !span.is_disabled() {
        let mut headers = HeaderMap::new();
        request::traces(&mut headers, &delivery.event);
        link_from_headers(span, &headers);
    }
}

/// What the attempt came to.
pub(super) fn came_to(span: &Span, result: &Result<Kept, CallError>) {
    match result {
        Ok(kept) if kept.status.is_success() => {}
        Ok(kept) => {
            span.record(attr::ERROR_TYPE, kept.status.as_u16());
            span.record("otel.status_code", "ERROR");
        }
        Err(error) => coracle_proto::trace::failed(span, &error.refusal),
    }
}

/// The word of an attempt, until it is acknowledged.
pub(super) fn settle(settlement: &Settlement) -> Span {
    info_span!(
        attr::SPAN_SETTLE,
        otel.kind = "client",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_GATEWAY,
        { attr::MESSAGING_SYSTEM } = "coracle",
        { attr::MESSAGING_OPERATION } = "settle",
        { attr::MESSAGING_DESTINATION } = settlement.ticket.queue.as_str(),
        { attr::FATE } = Empty,
        { attr::ERROR_TYPE } = Empty,
    )
}
