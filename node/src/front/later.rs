//! Calls that are to be run later: accepted with 202 when they are kept, and asked for by their ids (docs/adr/0014).

mod asked;
mod page;
mod prefer;
mod span;
mod submission;

pub(super) use self::asked::{Asked, What};
pub(super) use self::prefer::Preferences;
pub(super) use self::submission::{key, proof, traces};

use std::net::IpAddr;
use std::time::Duration;

use coracle_proto::id::InvocationId;
use coracle_proto::status::{Code, Refusal};
use http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tracing::Instrument as _;

use super::Inner;
use super::answer::{Served, set_invocation};
use super::intake::Bounds;
use super::problem::page as whole_page;
use super::replay::Replay;
use super::serve::{takes_requests, unless_unheard};
use crate::call::{Body, CallError};
use crate::clock;
use crate::dispatch::Invocation;
use crate::stores::{BODY_BYTES_MAX, Submission, Submitted};

/// A request is kept within this, or refused.
const KEEP_MAX: Duration = Duration::from_secs(10);
/// For people.
const BODY: &str = "the body of a call that is to be run later";
/// It is here within this, or within its function's `timeout` where that is less.
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
        let version = self.dispatcher.version(&function, invocation.id);
        version.as_deref().map_or(Ok(()), takes_requests)?;
        let limit = version.map(|version| version.spec.limits().timeout);
        let head = submission::Head::new(invocation)?;
        let limit = limit.unwrap_or(READ_MAX).min(READ_MAX);
        let bounds = Bounds { what: BODY, bytes_max: BODY_BYTES_MAX, limit };
        let taken = self.take_in(body, caller, bounds).await?;
        let submission: Submission = head.with(taken.data, span);
        let deadline = clock::now() + KEEP_MAX;
        let submitted = self.stores.submit(submission, deadline).await;
        let submitted = submitted.map_err(|refusal| unless_unheard(&self.view.load(), told(refusal)))?;
        Ok(accepted(submitted, &function.to_string()))
    }
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
pub(super) fn location(id: InvocationId) -> String {
    format!("{}/invocations/{id}", coracle_proto::route::RESERVED_PREFIX)
}

/// A JSON answer of this moment.
pub(super) fn answer(status: StatusCode, json: String) -> Response<Body> {
    let mut response = whole_page(status, "application/json", json);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A store's refusal, as callers are told it.
pub(super) fn told(refusal: Refusal) -> CallError {
    CallError::new(refusal.code, refusal.message)
}
