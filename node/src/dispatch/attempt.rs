//! One attempt: a call to one node, here or elsewhere.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{Epoch, NodeId};
use coracle_proto::record::Version;
use coracle_proto::status::Code;
use coracle_proto::trace::write_headers;
use http::Request;
use tracing::{Instrument as _, Span};

use super::driver::Sent;
use super::{Inner, Invocation, span};
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

/// An answer with where it came from.
#[derive(Debug)]
pub(super) struct Attempted {
    pub(super) answer: Answer,
    pub(super) place: Place,
    pub(super) sent: Sent,
}

/// One attempt of an invocation.
pub(super) struct Attempt<'a> {
    pub(super) dispatcher: &'a Inner,
    pub(super) invocation: &'a Invocation,
    pub(super) view: &'a View,
    pub(super) place: &'a Place,
}

impl Attempt<'_> {
    /// Sends the call there, and tells the balancer how it went. `moves`: whether it goes elsewhere when the worker falls
    /// silent.
    pub(super) async fn run(
        &self,
        body: Body,
        sent: &Sent,
        moves: impl FnOnce() -> bool,
    ) -> Result<Answer, Failed> {
        let Place { version, node, attempt, .. } = self.place;
        let span = span::attempt(&version.id, *node, *attempt);
        let result = self.send(body, &span, moves).instrument(span.clone()).await;
        match &result {
            // An error that comes fast must not make its node look fast.
            Ok(answer) if answer.response.status().is_server_error() => {
                sent.refused(&version.id);
                span.record("otel.status_code", "ERROR");
            }
            Ok(_) => sent.answered(&version.id),
            Err(failed) => {
                match failed {
                    Failed::Unreached(_) | Failed::Lost(_) | Failed::Left(_) => sent.failed(),
                    // The platform there failed at this version: others may well run.
                    Failed::Ended(error) if error.code() == Code::Internal => sent.faulted(&version.id),
                    Failed::Refused(_) | Failed::Ended(_) => sent.refused(&version.id),
                }
                span::failed(&span, failed.error());
            }
        }
        result
    }

    async fn send(&self, body: Body, span: &Span, moves: impl FnOnce() -> bool) -> Result<Answer, Failed> {
        let Self { dispatcher, view, place, .. } = self;
        let mut call = self.call(body, span);
        call.receipt.sent(place.node, place.version.id.number);
        if let Some(local) = &dispatcher.local
            && local.node() == place.node
        {
            return Ok(local.execute(call).await?);
        }
        let Some(node) = view.node(place.node) else {
            let said = format!("node {} is not in the view", place.node);
            return Err(Failed::Unreached(CallError::new(Code::NoReplica, said)));
        };
        let receipt = call.receipt.clone();
        let remote = Box::pin(dispatcher.remote.call(node, call, moves));
        let timeout = place.head_timeout.saturating_add(HEAD_GRACE);
        let result = tokio::time::timeout(timeout, remote).await.unwrap_or_else(|_| {
            let said =
                format!("node {} sent no head within {} ms", place.node, place.head_timeout.as_millis());
            Err(Failed::Ended(CallError::new(Code::ResponseTimeout, said)))
        });
        if result.is_err() {
            // What it took came with its error, or never will.
            receipt.over(None);
        }
        result
    }

    fn call(&self, body: Body, span: &Span) -> Call {
        let Self { invocation, place, .. } = self;
        let mut head = invocation.head.clone();
        if !span.is_disabled() {
            write_headers(span, &mut head.headers);
        }
        Call {
            version: Arc::clone(&place.version),
            epoch: place.epoch,
            invocation: invocation.id,
            attempt: place.attempt,
            trigger: invocation.trigger.clone(),
            head_timeout: place.head_timeout,
            request: Request::from_parts(head, body),
            lease: Lease::default(),
            receipt: invocation.receipt.clone(),
        }
    }
}
