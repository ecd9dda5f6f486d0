//! What a dispatched invocation came to, as it is counted and traced, and what is open until its response has ended.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::{InvocationId, NodeId, VersionNumber};
use coracle_proto::status::Code;
use http::{Response, StatusCode};
use tracing::Span;

use super::attempt::{Attempted, Place};
use super::driver::Sent;
use super::span;
use crate::call::{Answer, Body, CallError};
use crate::metrics::{CLASSES, Metrics, Running};

/// The head of a response, the body that streams on, and what is told of them.
#[derive(Debug)]
pub struct Answered {
    /// As the function made it.
    pub response: Response<Body>,
    /// To be held until the response has ended.
    pub ongoing: Ongoing,
    /// Whether code had to be mapped.
    pub cold: bool,
    /// Where it ran.
    pub node: NodeId,
    /// What ran.
    pub version: VersionNumber,
    /// From 1.
    pub attempt: u32,
    /// How long whoever reads the response may take for a piece of it.
    pub idle_timeout: Duration,
    /// How long the function may take to the response's head.
    pub timeout: Duration,
}

/// A call with a head: it counts as open until this is dropped.
#[derive(Debug)]
pub struct Ongoing {
    _sent: Sent,
    _running: Running,
    metrics: Arc<Metrics>,
    invocation: InvocationId,
}

impl Ongoing {
    /// The response ended in this error.
    pub fn broke_off(&self, error: &CallError) {
        timed_out(&self.metrics, error.code());
        tracing::debug!(invocation = %self.invocation, %error, code = %error.code(), "a response broke off");
    }
}

/// Counts an answer.
pub(super) fn answered(
    metrics: &Arc<Metrics>,
    attempted: Attempted,
    invocation: InvocationId,
    mut running: Running,
    span: &Span,
) -> Answered {
    let Attempted { answer, place, sent } = attempted;
    record(span, &place, &answer);
    metrics.answered(&mut running, class(answer.response.status()), answer.cold, span);
    let metrics = Arc::clone(metrics);
    Answered {
        response: answer.response,
        ongoing: Ongoing { _sent: sent, _running: running, metrics, invocation },
        cold: answer.cold,
        node: place.node,
        version: place.version.id.number,
        attempt: place.attempt,
        idle_timeout: place.version.spec.limits().idle_timeout,
        timeout: place.version.spec.limits().timeout,
    }
}

/// Counts an invocation that has no answer.
pub(super) fn failed(metrics: &Metrics, error: &CallError, running: &mut Running, span: &Span) {
    timed_out(metrics, error.code());
    metrics.answered(running, error.code().name(), error.cold, span);
    span::failed(span, error);
    span.record(attr::HTTP_STATUS, error.code().http_status());
}

/// The fields of the whole call's span that say where it ran at last.
fn record(span: &Span, place: &Place, answer: &Answer) {
    if !span.is_disabled() {
        span.record(attr::NODE, place.node.get());
        span.record(attr::ATTEMPT, place.attempt);
        span.record(attr::COLD_START, answer.cold);
        span.record(attr::HTTP_STATUS, answer.response.status().as_u16());
        if answer.response.status().is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
    }
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
