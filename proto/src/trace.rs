//! W3C trace context into and out of gRPC metadata and HTTP headers.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, TraceId, global};
use tonic::metadata::{MetadataKey, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::attr;
use crate::status::Refusal;

/// The header, and gRPC metadata key, of the trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The header of vendors' additions.
pub const TRACESTATE: &str = "tracestate";

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

struct HeadersIn<'a>(&'a HeaderMap);

impl Extractor for HeadersIn<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

struct MetadataIn<'a>(&'a MetadataMap);

impl Extractor for MetadataIn<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Makes the span's parent what the headers say, if they say anything. Call it before the span is entered.
pub fn join_from_headers(span: &Span, headers: &HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        join(span, global::get_text_map_propagator(|propagator| propagator.extract(&HeadersIn(headers))));
    }
}

/// The same from gRPC metadata.
pub fn join_from_metadata(span: &Span, metadata: &MetadataMap) {
    if metadata.contains_key(TRACEPARENT) {
        join(span, global::get_text_map_propagator(|propagator| propagator.extract(&MetadataIn(metadata))));
    }
}

/// The same from the text of a `traceparent`.
pub fn join_from_text(span: &Span, traceparent: &str) {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    join(span, global::get_text_map_propagator(|propagator| propagator.extract(&carrier)));
}

/// Tells of what the headers say beside the span's parent, if they say anything.
pub fn link_from_headers(span: &Span, headers: &HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        let other = global::get_text_map_propagator(|propagator| propagator.extract(&HeadersIn(headers)));
        span.add_link(other.span().span_context().clone());
    }
}

fn join(span: &Span, parent: Context) {
    // Fails only where no trace layer is installed, and then there is nothing to join.
    let _ = span.set_parent(parent);
}

/// Writes the span's context into headers. Without a trace layer it leaves them as they are, so that a
/// caller's own context passes through.
pub fn write_headers(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    if context.span().span_context().is_valid() {
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Headers(headers))
        });
    }
}

/// Writes the current span's context into a request's metadata.
pub fn write_metadata(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() {
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Metadata(metadata))
        });
    }
}

/// The `traceparent` of the current span, to be kept; empty where nothing is recorded.
#[must_use]
pub fn current() -> String {
    let context = Span::current().context();
    let mut carrier = HashMap::new();
    if context.span().span_context().is_valid() {
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    }
    carrier.remove(TRACEPARENT).unwrap_or_default()
}

/// A request that carries the current span's context.
pub fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    write_metadata(request.metadata_mut());
    request
}

/// Marks a span as failed. It has the fields `error.type`, `otel.status_code` and `otel.status_description`.
pub fn failed(span: &Span, refusal: &Refusal) {
    span.record(attr::ERROR_TYPE, refusal.code.name());
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", refusal.message.as_str());
}

/// The trace that a span belongs to, if it is recorded.
#[must_use]
pub fn trace_id(span: &Span) -> Option<TraceId> {
    let context = span.context();
    let span = context.span();
    let id = span.span_context().trace_id();
    (id != TraceId::INVALID).then_some(id)
}
