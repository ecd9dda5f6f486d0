//! A request body that can be read before its call is sent, and again by another attempt, as long as little of it was read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use coracle_proto::status::Code;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::activity::{Activity, Unread};
use super::kept::Kept;
use super::shares::Share;
use crate::call::{Body, CallError};
use crate::dispatch::Payload;

/// What is kept of a body for another attempt. A body of which more was read stays with the attempt that read it.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 10;

/// The body of one request, for all its attempts. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Replay {
    /// There is none.
    Empty,
    /// It is read once and kept as far as it fits.
    Shared(Arc<Mutex<Shared>>),
}

/// What reading on came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Piece,
    End,
}

#[derive(Debug)]
pub(super) struct Shared {
    incoming: Incoming,
    http2: bool,
    /// None once all of it was read.
    unread: Option<Unread>,
    kept: Kept,
    kept_bytes: usize,
    /// What may be kept, and the room for what is over [`KEPT_BYTES_MAX`] of it.
    kept_max: usize,
    room: Vec<Share>,
    /// More was read than is kept: no other attempt can have it.
    spent: bool,
    /// Which attempt may read: an older one may still be polled by its connection.
    turn: u32,
}

/// The body as one attempt reads it.
#[derive(Debug)]
struct Reading {
    shared: Arc<Mutex<Shared>>,
    turn: u32,
    /// How many of the pieces that are kept were read.
    at: usize,
    begun: bool,
    ended: bool,
    hint: SizeHint,
}

impl Replay {
    pub(super) fn new(incoming: Incoming, activity: &Arc<Activity>, http2: bool) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let (unread, kept, room) = (Some(activity.unread()), Kept::default(), Vec::new());
        let kept_max = KEPT_BYTES_MAX;
        let shared =
            Shared { incoming, http2, unread, kept, kept_bytes: 0, kept_max, room, spent: false, turn: 0 };
        Self::Shared(Arc::new(Mutex::new(shared)))
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// What there is to read, unless there is nothing.
    pub(super) fn shared(&self) -> Option<MutexGuard<'_, Shared>> {
        match self {
            Self::Empty => None,
            Self::Shared(shared) => Some(shared.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl Payload for Replay {
    fn next(&self) -> Option<Body> {
        let Self::Shared(shared) = self else { return Some(Body::default()) };
        let mut inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.spent {
            return None;
        }
        inner.kept.settle();
        inner.turn = inner.turn.saturating_add(1);
        let (turn, hint) = (inner.turn, inner.hint());
        drop(inner);
        let shared = Arc::clone(shared);
        Some(Body::new(Reading { shared, turn, at: 0, begun: false, ended: false, hint }))
    }

    fn is_whole(&self) -> bool {
        self.shared().is_none_or(|shared| !shared.spent)
    }
}

impl Shared {
    /// Of the whole body, for the length that is told to the guest.
    pub(super) fn hint(&self) -> SizeHint {
        let (left, kept) = (self.incoming.size_hint(), self.kept_bytes as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower().saturating_add(kept));
        if let Some(upper) = left.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }

    /// How much of it was read, and how much of that may be kept.
    pub(super) const fn kept(&self) -> (usize, usize) {
        (self.kept_bytes, self.kept_max)
    }

    /// Lets more of it be kept, in that room.
    pub(super) fn keep_more(&mut self, bytes: usize, room: Share) {
        self.kept_max = self.kept_max.saturating_add(bytes);
        self.room.push(room);
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        self.kept_bytes = self.kept_bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if self.spent || self.kept_bytes > self.kept_max {
            self.spend();
        } else {
            self.kept.push(frame);
        }
    }

    /// No other attempt can have it: then nothing needs room.
    fn spend(&mut self) {
        self.spent = true;
        self.kept = Kept::default();
        self.room = Vec::new();
    }

    /// Reads a piece before any attempt does. Whoever calls this has seen that there is room for it.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<Read, CallError>> {
        Poll::Ready(match ready!(self.poll(context)) {
            Some(piece) => piece.map(|_| Read::Piece),
            None => Ok(Read::End),
        })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        if self.unread.is_none() {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return self.broke_off(&error),
            // A stream that its caller resets with NO_ERROR is told as if it had ended; whether it has its state knows.
            None if self.http2 && !self.incoming.is_end_stream() => {
                return self.broke_off(&"its stream was reset");
            }
            None => {
                self.unread = None;
                return Poll::Ready(None);
            }
        };
        self.keep(&frame);
        Poll::Ready(Some(Ok(frame)))
    }

    fn broke_off(&mut self, why: &dyn std::fmt::Display) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        self.unread = None;
        self.spend();
        let said = format!("the request's body broke off: {why}");
        Poll::Ready(Some(Err(CallError::new(Code::BadRequest, said))))
    }
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        let mut shared = this.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.turn != this.turn {
            let said = "the call was moved to another worker";
            return Poll::Ready(Some(Err(CallError::new(Code::NodeLost, said))));
        }
        if let Some(frame) = shared.kept.get(this.at) {
            this.at += 1;
            this.begun = true;
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = ready!(shared.poll(context));
        match &polled {
            // All that is kept, what is not a piece yet too: nobody else reads in this turn.
            Some(Ok(_)) => (this.at, this.begun) = (shared.kept.len(), true),
            Some(Err(_)) | None => this.ended = true,
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        if self.ended {
            return true;
        }
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.turn == self.turn
            && self.at == shared.kept.len()
            && (shared.unread.is_none() || shared.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.begun { SizeHint::default() } else { self.hint }
    }
}
