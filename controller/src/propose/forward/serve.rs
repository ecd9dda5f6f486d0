//! The leader's side of what other controllers pass on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::codec::Door;
use coracle_proto::pb::{
    ForwardAnswer, ForwardAnswers, ForwardBatch, Forwarded, ProposeReply, Rejected, forward_answer::Kind,
};
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use tracing::{Instrument as _, Span, debug};

use super::link::OPEN_MAX;
use super::{Failed, not_made_yet, propose_here};
use crate::clock;
use crate::context::{Context, REQUEST_TIMEOUT};
use crate::model;

/// Takes an envelope that another controller passed on: proposed here or not at all.
///
/// # Errors
/// `invalid-argument` for what is no envelope, `upgrade-required` for a command of a newer program: in the log it
/// would stop every voter. `conflict` for a decision: a leader's own are nobody else's. `no-quorum` when this node does
/// not lead, so that the sender looks for the leader again.
pub(crate) async fn propose_forwarded(
    context: &Context,
    envelope: Bytes,
    deadline: Instant,
) -> Result<ProposeReply, Refusal> {
    if context.hub.state().cluster().is_none() {
        return Err(not_made_yet());
    }
    let read = model::codec::decode(&envelope, Door::Api).map_err(|error| unreadable(&error))?;
    if let Some(term) = read.term {
        let sentence = format!("a decision of the leader of term {term} is not passed on");
        return Err(Refusal::new(Code::Conflict, sentence));
    }
    let reply = propose_here(context, envelope, deadline).await.map_err(|failed| match failed {
        Failed::NotStarted(refusal) | Failed::Final(refusal) => refusal,
        Failed::Unknown(refusal) => Refusal::new(Code::OutcomeUnknown, refusal.message),
    })?;
    ProposeReply::decode(reply).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

fn unreadable(error: &model::codec::DecodeError) -> Refusal {
    let code = match error {
        model::codec::DecodeError::UnknownCommand => Code::UpgradeRequired,
        model::codec::DecodeError::Wire(_) | model::codec::DecodeError::Field(_) => Code::InvalidArgument,
    };
    Refusal::new(code, format!("field 'envelope': {error}"))
}

/// Serves one stream until its sender leaves: proposes all of a batch at once, and answers together what is done at
/// one moment. When this controller closes nothing more is taken, and what was taken is answered. `span` makes that of one
/// proposal.
pub(crate) async fn serve(
    context: Arc<Context>,
    mut batches: Streaming<ForwardBatch>,
    out: mpsc::Sender<Result<ForwardAnswers, Status>>,
    span: fn() -> Span,
) {
    let mut open = FuturesUnordered::new();
    let mut taking = true;
    while taking || !open.is_empty() {
        tokio::select! {
            batch = batches.message(), if taking && open.len() < OPEN_MAX => match batch {
                Ok(Some(batch)) => open.extend(batch.proposals.into_iter().map(|it| one(&context, it, span()))),
                Ok(None) => taking = false,
                Err(status) => {
                    debug!(reason = %status, "nothing more is passed on");
                    return;
                }
            },
            Some(first) = open.next() => {
                let mut answers = vec![first];
                while let Some(Some(next)) = open.next().now_or_never() {
                    answers.push(next);
                }
                if out.send(Ok(ForwardAnswers { answers })).await.is_err() {
                    return;
                }
            }
            () = context.closing.cancelled(), if taking => taking = false,
        }
    }
}

async fn one(context: &Context, asked: Forwarded, span: Span) -> ForwardAnswer {
    if !asked.traceparent.is_empty() {
        trace::join_from_text(&span, &asked.traceparent);
    }
    let left = Duration::from_millis(asked.timeout_ms).min(REQUEST_TIMEOUT);
    let proposing = propose_forwarded(context, asked.envelope, clock::now() + left);
    let kind = match proposing.instrument(span.clone()).await {
        Ok(reply) => Kind::Reply(reply),
        Err(refusal) => {
            trace::failed(&span, &refusal);
            Kind::Refusal(Rejected { code: refusal.code.name().to_owned(), message: refusal.message })
        }
    };
    ForwardAnswer { number: asked.number, kind: Some(kind) }
}
