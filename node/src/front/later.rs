//! Calls that are to be run later: accepted with 202 when they are kept, and asked for by their ids (docs/adr/0014).

mod asked;
mod moment;
mod page;
mod prefer;
mod span;
mod submission;

pub(super) use self::asked::{Asked, What};
pub(super) use self::prefer::Preferences;

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coracle_proto::id::InvocationId;
use coracle_proto::status::{Code, Refusal};
use http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use tracing::Instrument as _;

use super::Inner;
use super::answer::{Served, set_invocation};
use super::problem::page as whole_page;
use super::replay::Replay;
use super::serve::unless_unheard;
use crate::call::{Body, CallError};
use crate::clock;
use crate::dispatch::{Invocation, Payload as _};
use crate::stores::{BODY_BYTES_MAX, Submission, Submitted};

/// A request is kept within this, or refused.
const KEEP_MAX: Duration = Duration::from_secs(10);
/// A body of at most 64 KiB is here within this, or within its function's `timeout` where that is less.
const READ_MAX: Duration = Duration::from_secs(30);
/// How long whoever asks what became of a call waits before it asks again, seconds.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("1");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

impl Inner {
    /// Has a call kept until it is run, and says so.
    pub(super) async fn later(&self, invocation: Invocation, body: &Replay, caller: IpAddr) -> Served {
        let _place = match self.place(caller) {
            Ok(place) => place,
            Err(error) => return self.refuse(&error),
        };
        let span = span::send(&invocation);
        match self.keep(invocation, body, caller, &span).instrument(span.clone()).await {
            Ok(response) => Served::page(response),
            Err(error) => {
                coracle_proto::trace::failed(&span, &error.refusal);
                self.refuse(&error)
            }
        }
    }

    async fn keep(
        &self,
        invocation: Invocation,
        body: &Replay,
        caller: IpAddr,
        span: &tracing::Span,
    ) -> Result<Response<Body>, CallError> {
        let function = invocation.function.clone();
        if !self.view.load().routing.content.functions().contains_key(&function) {
            let said = format!("'{function}': there is no such function");
            return Err(CallError::new(Code::FunctionNotFound, said));
        }
        let limit =
            self.dispatcher.version(&function, invocation.id).map(|version| version.spec.limits().timeout);
        let head = submission::Head::new(invocation)?;
        let data = self.read(body, caller, limit.unwrap_or(READ_MAX).min(READ_MAX)).await?;
        let submission: Submission = head.with(data, span);
        let deadline = clock::now() + KEEP_MAX;
        let submitted = self.stores.submit(submission, deadline).await;
        let submitted = submitted.map_err(|refusal| unless_unheard(&self.view.load(), told(refusal)))?;
        Ok(accepted(submitted, &function.to_string()))
    }

    /// The whole body, which is to be here within the `limit`.
    async fn read(&self, body: &Replay, caller: IpAddr, limit: Duration) -> Result<Bytes, CallError> {
        if body.is_empty() {
            return Ok(Bytes::new());
        }
        let too_large = || {
            let said = format!(
                "the body of a call that is to be run later has at most {BODY_BYTES_MAX} bytes; nothing was accepted"
            );
            CallError::new(Code::RequestTooLarge, said)
        };
        if body.shared().is_some_and(|body| body.hint().lower() > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let Some(mut pieces) = body.next() else { return Err(too_large()) };
        let _place = self.gathering.take(caller, 1).map_err(|_| {
            CallError::new(Code::Overloaded, "too many bodies are being read at this gateway")
        })?;
        let (mut data, by) = (BytesMut::new(), clock::now() + limit);
        loop {
            let left = by.saturating_duration_since(clock::now());
            let patience = self.options.body_timeout.min(left);
            let frame = match tokio::time::timeout(patience, pieces.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok(data.freeze()),
                Err(_) => {
                    let said = late(caller, data.len(), self.options.body_timeout, limit, patience == left);
                    return Err(CallError::new(Code::RequestTimeout, said));
                }
            };
            // Trailers are not kept.
            let piece = frame.into_data().unwrap_or_default();
            if data.len().saturating_add(piece.len()) > BODY_BYTES_MAX {
                return Err(too_large());
            }
            data.extend_from_slice(&piece);
        }
    }
}

/// That a body was not here in time: not all of it, or nothing more.
fn late(caller: IpAddr, bytes: usize, piece: Duration, limit: Duration, whole: bool) -> String {
    let (piece, limit) = (piece.as_millis(), limit.as_millis());
    if whole {
        return format!(
            "'{caller}' sent {bytes} bytes of the request's body in {limit} ms, and not all; nothing was accepted"
        );
    }
    format!(
        "'{caller}' sent nothing of the request's body for {piece} ms, after {bytes} bytes; nothing was accepted"
    )
}

fn accepted(submitted: Submitted, function: &str) -> Response<Body> {
    let id = submitted.invocation;
    let mut response = answer(StatusCode::ACCEPTED, page::accepted(id, function));
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location(id)) {
        headers.insert(LOCATION, location);
    }
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    headers.insert(RETRY_AFTER, ASK_AGAIN);
    set_invocation(headers, id);
    response
}

/// Where an invocation is asked for.
fn location(id: InvocationId) -> String {
    format!("{}/invocations/{id}", coracle_proto::route::RESERVED_PREFIX)
}

/// A JSON answer of this moment.
fn answer(status: StatusCode, json: String) -> Response<Body> {
    let mut response = whole_page(status, "application/json", json);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A store's refusal, as callers are told it.
fn told(refusal: Refusal) -> CallError {
    CallError::new(refusal.code, refusal.message)
}
