//! The body of an answer out of its frames.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_proto::pb::{self, answer_frame::Kind};
use coracle_proto::status::Code;
use futures::Stream as _;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tonic::Streaming;

use super::leave::Leave;
use super::{LoadSink, lost};
use crate::call::{CallError, Receipt};
use crate::stores::effect_from_wire;
use crate::worker::remote::peer::Leg;
use crate::worker::wire::{error, from_wire};

/// What is left of an answer. Dropping it ends the call, and so stops the guest.
pub(super) struct AnswerBody {
    first: Bytes,
    /// The first piece has all that the head declares.
    whole: bool,
    frames: Option<Streaming<pb::AnswerFrame>>,
    open: Leg,
    /// Ends when the connection is given up.
    given_up: BoxFuture<'static, ()>,
    leave: Leave,
    told: LoadSink,
    receipt: Receipt,
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("open", &self.open).finish_non_exhaustive()
    }
}

impl AnswerBody {
    /// `declared` is the head's `content-length`, where it has one.
    pub(super) fn new(
        (first, declared): (Bytes, Option<u64>),
        frames: Streaming<pb::AnswerFrame>,
        open: Leg,
        (leave, receipt): (Leave, Receipt),
        told: LoadSink,
    ) -> Self {
        let given_up = open.given_up();
        let whole = declared == Some(first.len() as u64);
        Self { first, whole, frames: Some(frames), open, given_up, leave, told, receipt }
    }

    /// The last frame: nothing, trailers or an error.
    fn last(&self, kind: Option<Kind>) -> Option<Result<Frame<Bytes>, CallError>> {
        let mut effects = Vec::new();
        let (load, spent, mut last) = match kind {
            Some(Kind::Tail(tail)) => {
                let trailers = tail.trailers.map(|trailers| {
                    from_wire(&trailers.headers)
                        .map(Frame::trailers)
                        .map_err(|why| CallError::new(Code::InvalidResponse, why.to_string()))
                });
                effects = tail.effects;
                (tail.load, tail.spent, trailers)
            }
            Some(Kind::Failure(it)) => {
                effects = it.effects;
                (it.load, it.spent, Some(Err(error(&it.code, it.message, it.cold, Code::Internal))))
            }
            Some(Kind::Head(_) | Kind::Chunk(_) | Kind::Refusal(_)) | None => {
                (None, None, Some(Err(lost(self.open.node(), "broke off the response's body"))))
            }
        };
        let effects = effects.into_iter().map(effect_from_wire).collect::<Result<Vec<_>, _>>();
        let effects = effects.unwrap_or_else(|why| {
            last = Some(Err(CallError::new(
                Code::Internal,
                format!("what the call did was not understood: {why}"),
            )));
            Vec::new()
        });
        self.receipt.over_with(spent.map(Into::into), effects);
        if let Some(load) = load {
            (self.told)(self.open.node(), load.into());
        }
        last
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(frames) = self.frames.take() {
            self.leave.leave(&self.open, frames);
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.first)))));
        }
        let Some(frames) = &mut this.frames else { return Poll::Ready(None) };
        let kind = match Pin::new(frames).poll_next(context) {
            Poll::Ready(Some(Ok(pb::AnswerFrame { kind: Some(Kind::Chunk(chunk)) }))) => {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            Poll::Ready(Some(Ok(frame))) => frame.kind,
            Poll::Ready(Some(Err(_)) | None) => None,
            Poll::Pending if this.given_up.as_mut().poll(context).is_pending() => return Poll::Pending,
            Poll::Pending => None,
        };
        this.frames = None;
        Poll::Ready(this.last(kind))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.frames.is_none()
    }

    /// Known where nothing is to come after the first piece: the gateway need not watch over such a body.
    fn size_hint(&self) -> SizeHint {
        if self.whole { SizeHint::with_exact(self.first.len() as u64) } else { SizeHint::default() }
    }
}
