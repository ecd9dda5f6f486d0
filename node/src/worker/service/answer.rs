//! An answer as frames: head with the first chunk, chunks, and the load at the end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::pb::{self, answer_frame::Kind};
use coracle_proto::status::Code;
use futures::Stream;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::Body as _;
use tonic::Status;

use super::open::OpenAnswer;
use super::{GATHERED_WAIT, SPENT_WAIT};
use crate::call::{Answer, Body, Effect, Receipt, Told};
use crate::stores::effect_to_wire;
use crate::worker::Executor;
use crate::worker::wire::{CHUNK_BYTES_MAX, error_frame, to_wire};

/// The frames of one answer.
pub struct Answering {
    executor: Option<Executor>,
    head: Option<pb::AnswerHead>,
    body: Body,
    /// What is left of the last chunk, when it was too large for one frame.
    rest: Bytes,
    trailers: Option<HeaderMap>,
    /// Instead of all of it, or after the body.
    last: Option<Kind>,
    /// Tells when the caller left; only a guest that may still run needs to know.
    open: Option<OpenAnswer>,
    /// Where what the call took is told, if its caller wants to know.
    receipt: Receipt,
    /// What the last frame waits for.
    spent: Option<BoxFuture<'static, Told>>,
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Answering {
    pub(super) fn new(
        executor: Executor,
        answer: Answer,
        open: Option<OpenAnswer>,
        receipt: Receipt,
    ) -> Self {
        let (head, body) = answer.response.into_parts();
        let head = pb::AnswerHead {
            status: head.status.as_u16().into(),
            headers: to_wire(&head.headers),
            first_chunk: Bytes::new(),
            cold: answer.cold,
            queue_wait_us: u64::try_from(answer.queue_wait.as_micros()).unwrap_or(u64::MAX),
        };
        let executor = Some(executor);
        Self {
            executor,
            head: Some(head),
            body,
            rest: Bytes::new(),
            trailers: None,
            last: None,
            open,
            receipt,
            spent: None,
        }
    }

    pub(super) fn error(frame: Kind) -> Self {
        Self {
            executor: None,
            head: None,
            body: Body::default(),
            rest: Bytes::new(),
            trailers: None,
            last: Some(frame),
            open: None,
            receipt: Receipt::default(),
            spent: None,
        }
    }

    /// Whether its guest may still run.
    pub(super) const fn runs_on(&self) -> bool {
        self.open.is_some()
    }

    /// The next piece of the body, with the head if that was not sent yet.
    fn piece(&mut self) -> Kind {
        let chunk = self.rest.split_to(self.rest.len().min(CHUNK_BYTES_MAX));
        match self.head.take() {
            Some(head) => Kind::Head(pb::AnswerHead { first_chunk: chunk, ..head }),
            None => Kind::Chunk(chunk),
        }
    }

    /// Stops the guest; nobody wants to know how it ended.
    fn break_off(&mut self) {
        (self.executor, self.open, self.head, self.last, self.spent) = (None, None, None, None, None);
        (self.rest, self.body) = (Bytes::new(), Body::default());
    }

    /// The last frame, when it is known what the call took.
    fn poll_last(&mut self, context: &mut Context<'_>) -> Poll<Option<Kind>> {
        if let Some(told) = &mut self.spent {
            let told = ready!(told.as_mut().poll(context));
            self.spent = None;
            self.last = self.last.take().map(|last| match self.receipt.gathers() && !told.is_whole() {
                true => untold(last),
                false => with_told(last, told),
            });
        }
        Poll::Ready(self.last.take())
    }

    fn poll_kind(&mut self, context: &mut Context<'_>) -> Poll<Option<Kind>> {
        if self.open.as_mut().is_some_and(|open| open.poll_left(context).is_ready()) {
            self.break_off();
        }
        loop {
            if !self.rest.is_empty() {
                return Poll::Ready(Some(self.piece()));
            }
            let Some(executor) = &self.executor else { return self.poll_last(context) };
            let polled = Pin::new(&mut self.body).poll_frame(context);
            if polled.is_pending() && self.head.is_some() {
                return Poll::Ready(Some(self.piece()));
            }
            let end = match ready!(polled) {
                Some(Ok(frame)) => {
                    match frame.into_data() {
                        Ok(data) => self.rest = data,
                        Err(frame) => self.trailers = frame.into_trailers().ok(),
                    }
                    continue;
                }
                Some(Err(error)) => {
                    // Nothing has gone out yet: then the error is the answer.
                    self.head = None;
                    error_frame(&error, executor.load())
                }
                None => Kind::Tail(pb::AnswerTail {
                    trailers: self.trailers.take().map(|it| pb::Headers { headers: to_wire(&it) }),
                    load: Some(executor.load().into()),
                    spent: None,
                    effects: Vec::new(),
                }),
            };
            self.executor = None;
            (self.last, self.open) = (Some(end), None);
            // The guest has ended: its slot must not wait for the caller to read the last frame.
            self.body = Body::default();
            if self.receipt.is_wanted() {
                let receipt = self.receipt.clone();
                let longest = if receipt.gathers() { GATHERED_WAIT } else { Duration::ZERO };
                self.spent = Some(Box::pin(async move { receipt.told_whole(SPENT_WAIT, longest).await }));
            }
            if self.head.is_some() {
                return Poll::Ready(Some(self.piece()));
            }
        }
    }
}

impl Stream for Answering {
    type Item = Result<pb::AnswerFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_kind(context).map(|kind| kind.map(|kind| Ok(pb::AnswerFrame { kind: Some(kind) })))
    }
}

/// A last frame that tells what the call took, and what it did in the platform.
pub(super) fn with_told(mut last: Kind, told: Told) -> Kind {
    let spent = told.spent.map(Into::into);
    match &mut last {
        Kind::Tail(tail) => {
            tail.spent = spent;
            tail.effects = told.effects.into_iter().map(effect_to_wire).collect();
        }
        Kind::Failure(failure) => {
            failure.spent = spent;
            let read = told.effects.into_iter().filter(Effect::is_check);
            failure.effects = read.map(effect_to_wire).collect();
        }
        Kind::Head(_) | Kind::Chunk(_) | Kind::Refusal(_) => {}
    }
    last
}

/// Instead of an end of which it is not known what the call did: half of it would be lost.
fn untold(last: Kind) -> Kind {
    let load = match last {
        Kind::Tail(tail) => tail.load,
        other @ (Kind::Failure(_) | Kind::Head(_) | Kind::Chunk(_) | Kind::Refusal(_)) => return other,
    };
    let (code, message) =
        (Code::Internal.name().to_owned(), "what the call did was not told in time".to_owned());
    Kind::Failure(pb::Failure { code, message, load, cold: false, spent: None, effects: Vec::new() })
}
