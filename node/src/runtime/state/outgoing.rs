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
use crate::runtime::call::CallContext;

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
pub(super) struct Outgoing {
    pub(super) body: Body,
    /// By whom.
    pub(super) invocation: Arc<CallContext>,
}

#[async_trait]
impl OutputStream for Outgoing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.check_write()? {
            return Err(StreamError::trap("more was written than there is room for"));
        }
        let mut state = self.body.state();
        match std::mem::replace(&mut *state, State::Over) {
            State::Ready(mut upload) => {
                self.invocation.account.wrote_blob(bytes.len());
                let writing = async move {
                    upload.write(bytes).await?;
                    Ok(upload)
                };
                *state = State::Writing(writing.boxed());
            }
            State::Held(held) if held.len().saturating_add(bytes.len()) > BLOB_HELD_BYTES_MAX => {
                let refusal = over();
                let error = failed(&refusal);
                *state = State::Failed(refusal);
                return Err(error);
            }
            State::Held(mut held) => {
                self.invocation.account.wrote_blob(bytes.len());
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
        match &*self.body.state() {
            // One byte more than there is room for, at the least: whoever has written up to the bound is told so after a write, and has
            // not failed.
            State::Held(held) => Ok(BLOB_HELD_BYTES_MAX.saturating_sub(held.len()).clamp(1, WRITE_BYTES_MAX)),
            State::Ready(_) => Ok(WRITE_BYTES_MAX),
            State::Writing(_) => Ok(0),
            State::Failed(refusal) => Err(failed(refusal)),
            State::Over => Err(StreamError::Closed),
        }
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        poll_fn(|cx| self.body.poll(cx)).await;
    }
}

/// More was written than is held.
fn over() -> Refusal {
    let said = format!(
        "more than {BLOB_HELD_BYTES_MAX} bytes were written before 'write-data' said where they go, and no more are held"
    );
    Refusal::new(Code::LimitReached, said)
}

fn failed(refusal: &Refusal) -> StreamError {
    StreamError::LastOperationFailed(wasmtime::Error::msg(said(refusal)))
}
