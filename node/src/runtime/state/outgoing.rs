//! A blob's content that a guest writes: nothing of it is kept here but what is on its way.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use coracle_proto::status::{Code, Refusal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::incoming::said;
use crate::blobs::Upload;
use crate::runtime::bounds::{BLOB_HELD_BYTES_MAX, WRITE_BYTES_MAX};

/// What is written, shared by the value and its stream.
#[derive(Clone)]
pub(super) struct Body(Arc<Mutex<State>>);

/// An upload comes back from each write.
type Write = BoxFuture<'static, Result<Box<dyn Upload>, Refusal>>;

enum State {
    /// It is not known yet where it goes.
    Held(BytesMut),
    Ready(Box<dyn Upload>),
    Writing(Write),
    Failed(Refusal),
    Over,
}

impl Body {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::Held(BytesMut::new()))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It goes there: what was written before too.
    pub(super) fn begin(&self, mut upload: Box<dyn Upload>) {
        let mut state = self.state();
        if let State::Held(held) = &mut *state {
            let held = std::mem::take(held).freeze();
            let writing = async move {
                if !held.is_empty() {
                    upload.write(held).await?;
                }
                Ok(upload)
            };
            *state = State::Writing(writing.boxed());
        }
    }

    /// Ready when nothing is under way.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if let State::Writing(write) = &mut *state {
            *state = match ready!(write.poll_unpin(cx)) {
                Ok(upload) => State::Ready(upload),
                Err(refusal) => State::Failed(refusal),
            };
        }
        Poll::Ready(())
    }

    /// Everything was written: what it was sent by.
    pub(super) async fn end(&self) -> Result<Box<dyn Upload>, Refusal> {
        poll_fn(|cx| self.poll(cx)).await;
        match std::mem::replace(&mut *self.state(), State::Over) {
            State::Ready(upload) => Ok(upload),
            State::Failed(refusal) => Err(refusal),
            State::Held(_) | State::Writing(_) | State::Over => {
                Err(Refusal::new(Code::InvalidArgument, "'write-data' was not asked to write it anywhere"))
            }
        }
    }
}

/// The stream by which a guest writes.
pub(super) struct Outgoing(pub(super) Body);

#[async_trait]
impl OutputStream for Outgoing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.check_write()? {
            return Err(StreamError::trap("more was written than there is room for"));
        }
        let mut state = self.0.state();
        match std::mem::replace(&mut *state, State::Over) {
            State::Ready(mut upload) => {
                let writing = async move {
                    upload.write(bytes).await?;
                    Ok(upload)
                };
                *state = State::Writing(writing.boxed());
            }
            State::Held(mut held) => {
                held.extend_from_slice(&bytes);
                *state = State::Held(held);
            }
            other => *state = other,
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let full = || {
            let held =
                format!("{BLOB_HELD_BYTES_MAX} bytes were written before 'write-data' said where they go");
            Err(StreamError::LastOperationFailed(wasmtime::Error::msg(held)))
        };
        match &*self.0.state() {
            State::Held(held) => match BLOB_HELD_BYTES_MAX.saturating_sub(held.len()) {
                0 => full(),
                room => Ok(room.min(WRITE_BYTES_MAX)),
            },
            State::Ready(_) => Ok(WRITE_BYTES_MAX),
            State::Writing(_) => Ok(0),
            State::Failed(refusal) => {
                Err(StreamError::LastOperationFailed(wasmtime::Error::msg(said(refusal))))
            }
            State::Over => Err(StreamError::Closed),
        }
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll(cx)).await;
    }
}
