//! From a worker's answer to the response that the caller gets.

use std::sync::Arc;

use coracle_proto::attr;
use coracle_proto::id::InvocationId;
use coracle_proto::status::Code;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Span;

use super::dispatch::Answered;
use super::driver::Sent;
use super::headers::{remove_hop_by_hop, remove_own};
use super::paced::Paced;
use super::problem::problem;
use crate::call::{Body, CallError};
use crate::metrics::{CLASSES, Metrics, Running};
use crate::worker::Held;

/// What ends with the response's body.
#[derive(Debug)]
struct Open {
    _sent: Sent,
    _running: Running,
    _place: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
    invocation: InvocationId,
}

impl Held for Open {
    fn failed(&mut self, error: &CallError) {
        timed_out(&self.metrics, error.code());
        tracing::debug!(invocation = %self.invocation, %error, code = %error.code(), "a response broke off");
    }
}

/// The response of a call that has a head.
pub(super) fn success(
    metrics: &Arc<Metrics>,
    answered: Answered,
    invocation: InvocationId,
    (mut running, opened): (Running, OwnedSemaphorePermit),
    span: &Span,
    protocol: Version,
) -> Response<Body> {
    let Answered { answer, place, sent } = answered;
    metrics.answered(&mut running, class(answer.response.status()), answer.cold, span);
    let mut response = answer.response;
    let headers = response.headers_mut();
    remove_hop_by_hop(headers);
    remove_own(headers);
    set_number(headers, attr::HEADER_NODE, place.node.get());
    set_number(headers, attr::HEADER_VERSION, place.version.id.number.get());
    if place.attempt > 1 {
        set_number(headers, attr::HEADER_ATTEMPT, place.attempt.into());
    }
    let start = if answer.cold { "cold" } else { "warm" };
    headers.insert(HeaderName::from_static(attr::HEADER_START), HeaderValue::from_static(start));
    set_invocation(headers, invocation);
    let idle_max = place.version.spec.limits().idle_timeout;
    let open =
        Open { _sent: sent, _running: running, _place: opened, metrics: Arc::clone(metrics), invocation };
    response.map(|body| Paced::body(body, open, idle_max, protocol))
}

/// The response of a call that has none.
pub(super) fn failure(
    metrics: &Metrics,
    error: &CallError,
    invocation: InvocationId,
    running: Option<Running>,
    span: &Span,
) -> Response<Body> {
    timed_out(metrics, error.code());
    if let Some(mut running) = running {
        metrics.answered(&mut running, error.code().name(), error.cold, span);
    }
    super::span::failed(span, error);
    span.record(attr::HTTP_STATUS, error.code().http_status());
    let mut response = problem(error);
    set_invocation(response.headers_mut(), invocation);
    response
}

fn timed_out(metrics: &Metrics, code: Code) {
    if matches!(code, Code::ResponseTimeout | Code::IdleTimeout | Code::CpuTimeExceeded) {
        metrics.timed_out(code);
    }
}

/// The classes of answers that a function gives itself.
fn class(status: StatusCode) -> &'static str {
    let [success, client_error, server_error] = CLASSES;
    if status.is_server_error() {
        server_error
    } else if status.is_client_error() {
        client_error
    } else {
        success
    }
}

fn set_number(headers: &mut HeaderMap, name: &'static str, number: u64) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from(number));
}

fn set_invocation(headers: &mut HeaderMap, invocation: InvocationId) {
    if let Ok(value) = HeaderValue::try_from(invocation.to_string()) {
        headers.insert(HeaderName::from_static(attr::HEADER_INVOCATION), value);
    }
}
