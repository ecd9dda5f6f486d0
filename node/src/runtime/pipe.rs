//! Standard output of a command: the body of its answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use bytes::{Bytes, BytesMut};
use coracle_proto::spec::BUFFERED_BODY_MAX;
use coracle_proto::status::Code;
use futures::task::AtomicWaker;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use super::bounds::WRITE_BYTES_MAX;
use super::call::CallContext;
use crate::call::CallError;

/// Holds what was printed until it is taken, by the guest's task or by another. It is bounded by the whole of what a command may print, so it never
/// makes the guest wait.
#[derive(Clone)]
pub(super) struct Pipe {
    state: Arc<Mutex<State>>,
    reader: Arc<AtomicWaker>,
    invocation: Arc<CallContext>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BytesMut,
    written: usize,
}

impl Pipe {
    /// A pipe that ends its call, by the watch, when it is over its bound.
    pub(super) fn new(invocation: Arc<CallContext>) -> Self {
        Self { state: Arc::default(), reader: Arc::default(), invocation }
    }

    /// What was printed since the last time. If nothing was, the task is woken when something is.
    pub(super) fn take(&self, cx: &Context<'_>) -> Option<Bytes> {
        self.reader.register(cx.waker());
        let mut state = self.state();
        (!state.waiting.is_empty()).then(|| state.waiting.split().freeze())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Asked for by WASI 0.3 only, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let mut state = self.state();
        state.written += bytes.len();
        if state.written > BUFFERED_BODY_MAX {
            let message =
                format!("the response is over {} MiB, which a command may have", BUFFERED_BODY_MAX >> 20);
            self.invocation.watch.condemn(CallError::new(Code::ResponseTooLarge, message));
            return Err(StreamError::trap("the response is over its limit"));
        }
        state.waiting.extend_from_slice(&bytes);
        drop(state);
        self.reader.wake();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(WRITE_BYTES_MAX)
    }
}
