//! One attempt: a call to one node, here or elsewhere.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::{Epoch, NodeId};
use coracle_proto::record::Version;
use coracle_proto::status::Code;
use coracle_proto::trace::write_headers;
use http::Request;
use http::request::Parts;
use tracing::{Instrument as _, Span};

use super::dispatch::Dispatch;
use super::driver::Sent;
use super::{Inner, span};
use crate::call::{Answer, Body, Call, CallError, Lease};
use crate::view::View;
use crate::worker::Failed;

/// A worker ends its calls in time by itself: this is for one that does not.
const HEAD_GRACE: Duration = Duration::from_secs(1);

/// Where a call goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) version: Arc<Version>,
    pub(super) node: NodeId,
    pub(super) epoch: Epoch,
    pub(super) attempt: u32,
    pub(super) head_timeout: Duration,
}

/// Sends the call there, and tells the balancer how it went. `moves`: whether it goes elsewhere when the worker falls silent.
pub(super) async fn attempt(
    call: &Dispatch<'_>,
    view: &View,
    place: &Place,
    body: Body,
    sent: &Sent,
    moves: impl FnOnce() -> bool,
) -> Result<Answer, Failed> {
    let span = span::attempt(&place.version.id, place.node, place.attempt);
    let result = send(call, view, place, body, &span, moves).instrument(span.clone()).await;
    match &result {
        // An error that comes fast must not make its node look fast.
        Ok(answer) if answer.response.status().is_server_error() => {
            sent.refused(&place.version.id);
            span.record("otel.status_code", "ERROR");
        }
        Ok(_) => sent.answered(&place.version.id),
        Err(failed) => {
            match failed {
                Failed::Unreached(_) | Failed::Lost(_) | Failed::Left(_) => sent.failed(),
                // The platform there failed at this version: others may well run.
                Failed::Ended(error) if error.code() == Code::Internal => sent.faulted(&place.version.id),
                Failed::Refused(_) | Failed::Ended(_) => sent.refused(&place.version.id),
            }
            span::failed(&span, failed.error());
        }
    }
    result
}

async fn send(
    dispatch: &Dispatch<'_>,
    view: &View,
    place: &Place,
    body: Body,
    span: &Span,
    moves: impl FnOnce() -> bool,
) -> Result<Answer, Failed> {
    let gateway: &Inner = dispatch.gateway;
    let mut parts: Parts = dispatch.parts.clone();
    if !span.is_disabled() {
        write_headers(span, &mut parts.headers);
    }
    let call = Call {
        version: Arc::clone(&place.version),
        epoch: place.epoch,
        invocation: dispatch.invocation,
        attempt: place.attempt,
        route: dispatch.route.clone(),
        remote: Some(dispatch.remote),
        head_timeout: place.head_timeout,
        request: Request::from_parts(parts, body),
        lease: Lease::default(),
    };
    if let Some(local) = &gateway.local
        && local.node() == place.node
    {
        return Ok(local.execute(call).await?);
    }
    let Some(node) = view.node(place.node) else {
        let said = format!("node {} is not in the view", place.node);
        return Err(Failed::Unreached(CallError::new(Code::NoReplica, said)));
    };
    let remote = Box::pin(gateway.remote.call(node, call, moves));
    let timeout = place.head_timeout.saturating_add(HEAD_GRACE);
    tokio::time::timeout(timeout, remote).await.unwrap_or_else(|_| {
        let said = format!("node {} sent no head within {} ms", place.node, place.head_timeout.as_millis());
        Err(Failed::Ended(CallError::new(Code::ResponseTimeout, said)))
    })
}

/// The span field of the whole call that names where it ran at last.
pub(super) fn record(span: &Span, place: &Place, answer: &Answer) {
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
