//! From a worker's answer to the response that the caller gets.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::InvocationId;
use coracle_proto::status::Code;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tracing::Span;

use super::activity;
use super::dispatch::Answered;
use super::driver::Sent;
use super::headers::{remove_hop_by_hop, remove_own};
use super::problem::problem;
use super::shares::Share;
use crate::call::{Body, CallError};
use crate::metrics::{CLASSES, Metrics, Running};
use crate::worker::Held;

/// A response, with what is told of it and what it holds until its end.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) response: Response<Body>,
    /// None where no function was called.
    call: Option<Called>,
    /// How long its caller may take for a piece of it, if its function says so.
    pub(super) idle_max: Option<Duration>,
}

/// The call that a response is of.
#[derive(Debug)]
struct Called {
    _sent: Sent,
    _running: Running,
    _place: Share,
    metrics: Arc<Metrics>,
    invocation: InvocationId,
}

/// What ends when the last byte of a response has left.
#[derive(Debug)]
pub(super) struct Open {
    call: Option<Called>,
    _request: activity::Request,
}

impl Held for Open {
    fn failed(&mut self, error: &CallError) {
        if let Some(Called { metrics, invocation, .. }) = &self.call {
            timed_out(metrics, error.code());
            tracing::debug!(%invocation, %error, code = %error.code(), "a response broke off");
        }
    }
}

impl Served {
    /// A response of the platform's own.
    pub(super) const fn page(response: Response<Body>) -> Self {
        Self { response, call: None, idle_max: None }
    }

    /// The response, and what it holds.
    pub(super) fn open(self, request: activity::Request) -> (Response<Body>, Open) {
        (self.response, Open { call: self.call, _request: request })
    }
}

/// The response of a call that has a head.
pub(super) fn success(
    metrics: &Arc<Metrics>,
    answered: Answered,
    invocation: InvocationId,
    (mut running, opened): (Running, Share),
    span: &Span,
) -> Served {
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
    let idle_max = Some(place.version.spec.limits().idle_timeout);
    let metrics = Arc::clone(metrics);
    let call = Called { _sent: sent, _running: running, _place: opened, metrics, invocation };
    Served { response, call: Some(call), idle_max }
}

/// The response of a call that has none.
pub(super) fn failure(
    metrics: &Metrics,
    error: &CallError,
    invocation: InvocationId,
    mut running: Running,
    span: &Span,
) -> Served {
    timed_out(metrics, error.code());
    metrics.answered(&mut running, error.code().name(), error.cold, span);
    super::span::failed(span, error);
    span.record(attr::HTTP_STATUS, error.code().http_status());
    let mut response = problem(error);
    set_invocation(response.headers_mut(), invocation);
    Served::page(response)
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
