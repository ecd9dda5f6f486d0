//! The spans of a call on the side of whoever has it run. Without a trace layer each costs a nanosecond.

use coracle_proto::attr;
use coracle_proto::id::{NodeId, VersionId};
use coracle_proto::trace::join_from_headers;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::Invocation;
use crate::call::CallError;

/// The whole call, as its caller sees it.
pub(super) fn invoke(invocation: &Invocation) -> Span {
    let span = info_span!(
        "invoke",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_GATEWAY,
        { attr::NAMESPACE } = Empty,
        { attr::NODE } = Empty,
        { attr::ATTEMPT } = Empty,
        { attr::FUNCTION } = Empty,
        { attr::FUNCTION_VERSION } = Empty,
        { attr::TRIGGER } = invocation.trigger.name(),
        { attr::INVOCATION_ID } = Empty,
        { attr::COLD_START } = Empty,
        { attr::HTTP_METHOD } = Empty,
        { attr::HTTP_STATUS } = Empty,
        { attr::HTTP_ROUTE } = Empty,
        { attr::URL_PATH } = Empty,
        { attr::ERROR_TYPE } = Empty,
    );
    if !span.is_disabled() {
        let head = &invocation.head;
        span.record(attr::HTTP_METHOD, head.method.as_str());
        span.record(attr::HTTP_ROUTE, invocation.trigger.route());
        span.record(attr::URL_PATH, head.uri.path());
        span.record(attr::INVOCATION_ID, invocation.id.to_string());
        join_from_headers(&span, &head.headers);
    }
    span
}

/// Which function it is for.
pub(super) fn named(span: &Span, version: &VersionId) {
    if !span.is_disabled() {
        span.record("otel.name", format!("invoke {}", version.function));
        span.record(attr::NAMESPACE, version.function.namespace.as_str());
        span.record(attr::FUNCTION, version.function.name.as_str());
        span.record(attr::FUNCTION_VERSION, version.number.get());
    }
}

/// One attempt, as the gateway sees it; the worker has a span of the same name.
pub(super) fn attempt(version: &VersionId, node: NodeId, attempt: u32) -> Span {
    let span = info_span!(
        "execute",
        otel.name = Empty,
        otel.kind = "client",
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_GATEWAY,
        { attr::NODE } = node.get(),
        { attr::ATTEMPT } = attempt,
        { attr::ERROR_TYPE } = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("execute {}", version.function));
    }
    span
}

/// How it failed.
pub(super) fn failed(span: &Span, error: &CallError) {
    span.record(attr::ERROR_TYPE, error.code().name());
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", error.refusal.message.as_str());
}
