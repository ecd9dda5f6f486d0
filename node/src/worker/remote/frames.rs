//! A call as frames: head with the first chunk, chunks, and the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use coracle_proto::pb::{self, call_frame::Kind};
use futures::Stream;
use http_body::Body as _;

use super::gate::Gate;
use crate::call::Body;
use crate::worker::wire::{CHUNK_BYTES_MAX, to_wire};

/// The frames of one call.
#[derive(Debug)]
pub(super) struct CallFrames {
    head: Option<pb::CallHead>,
    /// None once the last frame was made.
    body: Option<Body>,
    rest: Bytes,
    /// What the head has to pass.
    gate: Arc<Gate>,
}

impl CallFrames {
    pub(super) const fn new(head: pb::CallHead, body: Body, gate: Arc<Gate>) -> Self {
        Self { head: Some(head), body: Some(body), rest: Bytes::new(), gate }
    }

    /// None when the call was given up before its head left.
    fn piece(&mut self) -> Option<Kind> {
        let chunk = self.rest.split_to(self.rest.len().min(CHUNK_BYTES_MAX));
        let Some(head) = self.head.take() else { return Some(Kind::Chunk(chunk)) };
        if !self.gate.pass() {
            (self.body, self.rest) = (None, Bytes::new());
            return None;
        }
        let end = self.rest.is_empty() && self.body.as_ref().is_none_or(http_body::Body::is_end_stream);
        if end {
            self.body = None;
        }
        Some(Kind::Head(pb::CallHead { first_chunk: chunk, end, ..head }))
    }
}

impl Stream for CallFrames {
    type Item = pb::CallFrame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<pb::CallFrame>> {
        let this = &mut *self;
        let kind = loop {
            if !this.rest.is_empty() {
                break this.piece();
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            if this.head.is_some() && body.is_end_stream() {
                break this.piece();
            }
            let polled = Pin::new(body).poll_frame(context);
            if polled.is_pending() && this.head.is_some() {
                // Whoever is called must not wait for the first bytes of a slow body.
                break this.piece();
            }
            match ready!(polled) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) if this.head.is_none() => {
                        this.body = None;
                        let headers = frame.trailers_ref().map(to_wire).unwrap_or_default();
                        break Some(Kind::Trailers(pb::Headers { headers }));
                    }
                    Err(_) => {}
                },
                // Without its last frame the worker knows that the caller left.
                Some(Err(_)) => {
                    this.body = None;
                    return Poll::Ready(None);
                }
                None if this.head.is_some() => {
                    this.body = None;
                    break this.piece();
                }
                None => {
                    this.body = None;
                    break Some(Kind::End(pb::End {}));
                }
            }
        };
        Poll::Ready(kind.map(|kind| pb::CallFrame { kind: Some(kind) }))
    }
}
