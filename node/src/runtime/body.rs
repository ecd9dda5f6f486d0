//! Bodies in both directions: bounded in the time between two bytes.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Sleep, sleep};

use super::log::LineLog;
use super::run::{Run, Watch};
use crate::call::{Body, CallError};

/// Rings when no byte has moved for too long. Only a body that waits has one.
#[derive(Debug)]
struct IdleAlarm {
    watch: Arc<Watch>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleAlarm {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CallError> {
        loop {
            let Some(left) = self.watch.left() else {
                return Poll::Ready(self.watch.idle_error());
            };
            let alarm = self.sleep.get_or_insert_with(|| Box::pin(sleep(left)));
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Bytes moved in the other direction since it was set: it is set anew.
            self.sleep = None;
        }
    }

    fn moved(&mut self) {
        self.watch.moved();
        self.sleep = None;
    }
}

/// A request's body on its way to the guest.
pub(super) struct RequestBody {
    body: Body,
    alarm: IdleAlarm,
}

impl RequestBody {
    pub(super) fn new(body: Body, watch: Arc<Watch>) -> Self {
        Self { body, alarm: IdleAlarm { watch, sleep: None } }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let error = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.alarm.moved();
                this.alarm.watch.set_awaits_caller(false);
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                this.alarm.watch.set_awaits_caller(false);
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => error,
            Poll::Pending => match this.alarm.poll(cx) {
                Poll::Pending => {
                    this.alarm.watch.set_awaits_caller(true);
                    return Poll::Pending;
                }
                Poll::Ready(error) => error,
            },
        };
        let told = wasmtime_wasi_http::Error::InternalError(Some(error.to_string()));
        this.alarm.watch.condemn(error);
        Poll::Ready(Some(Err(told)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.alarm.watch.set_awaits_caller(false);
    }
}

/// Where the bytes of a response come from while its guest runs.
pub(super) trait Source: Send + Unpin {
    /// The next piece. A guest that `ended` makes no more.
    fn poll(&mut self, ended: bool, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>>;
}

/// A response's body, and the guest that makes it: dropping it stops the guest.
pub(super) struct ResponseBody<S> {
    run: Run,
    source: S,
    alarm: IdleAlarm,
    over: bool,
}

impl<S: Source> ResponseBody<S> {
    pub(super) fn new(run: Run, source: S) -> Self {
        let alarm = IdleAlarm { watch: Arc::clone(run.watch()), sleep: None };
        alarm.watch.moved();
        Self { run, source, alarm, over: false }
    }

    /// Whether the guest waits for more of the request's body.
    pub(super) fn awaits_caller(&self) -> bool {
        self.run.watch().awaits_caller()
    }

    /// Whether the guest only had its turn, and waits for nothing.
    pub(super) fn is_computing(&self) -> bool {
        self.run.is_computing()
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let mut run = self.run.poll(cx);
        let next = self.source.poll(run.is_ready(), cx);
        // The end of a guest that ran somewhere else ends its body: why it ended is known before.
        if run.is_pending() && matches!(next, Poll::Ready(None | Some(Err(_)))) {
            run = self.run.poll(cx);
        }
        if let Poll::Ready(Err(error)) = run {
            // What was made before the failure is still sent.
            let made = matches!(next, Poll::Ready(Some(Ok(_))));
            return if made { next } else { Poll::Ready(Some(Err(error))) };
        }
        match next {
            Poll::Ready(next) => {
                self.alarm.moved();
                Poll::Ready(next)
            }
            Poll::Pending => self.alarm.poll(cx).map(|error| Some(Err(self.run.stop(error)))),
        }
    }
}

impl<S: Source> HttpBody for ResponseBody<S> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let next = this.next(cx);
        this.over = matches!(next, Poll::Ready(None | Some(Err(_))));
        next
    }
}

/// A response's body that tells its function's log why it broke off.
pub(super) struct Told {
    body: Body,
    log: LineLog,
}

impl Told {
    /// What is here as a whole cannot break off.
    pub(super) fn body(body: Body, log: LineLog) -> Body {
        if body.size_hint().exact().is_some() { body } else { Self { body, log }.boxed_unsync() }
    }
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &next {
            self.log.say(&format!("the answer broke off: {error} ({})", error.code()));
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
