//! A blob's bytes as the body of an answer: as many as were promised, or an error.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use coracle_proto::status::Code;
use coracle_proto::trace::failed;
use http_body::{Frame, SizeHint};
use tracing::Span;

use super::answer::told;
use crate::blobs::Pieces;
use crate::call::{Body, CallError};
use crate::front::shares::Share;

/// Of an open call, and of one who reads chunks.
type Places = (Share, Option<Share>);

/// What is left of it.
pub(super) struct Sent {
    /// That was read before the head was sent.
    first: Option<Bytes>,
    pieces: Pieces,
    left: u64,
    span: Span,
    _places: Places,
}

impl Sent {
    pub(super) fn body(first: Option<Bytes>, pieces: Pieces, bytes: u64, places: Places) -> Body {
        Body::new(Self { first, pieces, left: bytes, span: Span::current(), _places: places })
    }

    fn fail(&mut self, error: CallError) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        failed(&self.span, &error.refusal);
        self.left = 0;
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let next = match this.first.take() {
            Some(first) => Some(Ok(first)),
            None => {
                // What is asked of stores on the way is of this request.
                let span = this.span.clone();
                let _entered = span.enter();
                ready!(this.pieces.as_mut().poll_next(context))
            }
        };
        match next {
            Some(Ok(piece)) if piece.len() as u64 <= this.left => {
                this.left -= piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Err(refusal)) => this.fail(told(refusal)),
            Some(Ok(_)) | None => {
                this.fail(CallError::new(Code::Internal, "a blob is not as long as it is said to be"))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
