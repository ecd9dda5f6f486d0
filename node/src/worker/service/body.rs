//! A request body out of call frames.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use coracle_proto::pb::{self, call_frame::Kind};
use coracle_proto::status::Code;
use futures::Stream as _;
use http_body::Frame;
use tonic::Streaming;

use crate::call::CallError;
use crate::worker::wire::from_wire;

/// What is left of the request.
#[derive(Debug)]
pub(super) struct Inbound {
    first: Bytes,
    /// None once the body ended.
    frames: Option<Streaming<pb::CallFrame>>,
}

impl Inbound {
    pub(super) const fn new(first: Bytes, frames: Option<Streaming<pb::CallFrame>>) -> Self {
        Self { first, frames }
    }
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        let next = ready!(Pin::new(frames).poll_next(context));
        let frame = match next.map(|frame| frame.map(|frame| frame.kind)) {
            Some(Ok(Some(Kind::Chunk(chunk)))) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Some(Ok(Some(Kind::End(pb::End {})))) => None,
            Some(Ok(Some(Kind::Trailers(trailers)))) => Some(
                from_wire(&trailers.headers)
                    .map(Frame::trailers)
                    .map_err(|error| CallError::new(Code::BadRequest, error.to_string())),
            ),
            // The end of the stream without its last frame is a caller that left.
            Some(Err(_) | Ok(Some(Kind::Head(_)) | None)) | None => {
                Some(Err(CallError::new(Code::BadRequest, "the request's body broke off")))
            }
        };
        self.frames = None;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.frames.is_none()
    }
}
