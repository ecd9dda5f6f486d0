//! Bodies in both directions: bounded in the time between two bytes.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Sleep, sleep};

use super::call::CallContext;
use super::run::Run;
use super::usage::Outcome;
use crate::call::{Body, CallError};

/// Rings when no byte has moved for too long. Only a body that waits has one.
struct IdleAlarm {
    invocation: Arc<CallContext>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleAlarm {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CallError> {
        loop {
            let watch = &self.invocation.watch;
            let Some(left) = watch.left() else {
                return Poll::Ready(watch.idle_error());
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
        self.invocation.watch.moved();
        self.sleep = None;
    }
}

/// A request's body on its way to the guest.
pub(super) struct RequestBody {
    body: Body,
    alarm: IdleAlarm,
}

impl RequestBody {
    pub(super) fn new(body: Body, invocation: Arc<CallContext>) -> Self {
        Self { body, alarm: IdleAlarm { invocation, sleep: None } }
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
                this.alarm.invocation.watch.set_awaits_caller(false);
                this.alarm.invocation.account.received(frame.data_ref().map_or(0, Bytes::len));
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                this.alarm.invocation.watch.set_awaits_caller(false);
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => error,
            Poll::Pending => match this.alarm.poll(cx) {
                Poll::Pending => {
                    this.alarm.invocation.watch.set_awaits_caller(true);
                    return Poll::Pending;
                }
                Poll::Ready(error) => error,
            },
        };
        let told = wasmtime_wasi_http::Error::InternalError(Some(error.to_string()));
        this.alarm.invocation.watch.condemn(error);
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
        self.alarm.invocation.watch.set_awaits_caller(false);
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
    /// What the guest had made by its end, and how that ends: at most what its channel holds.
    made: VecDeque<Result<Frame<Bytes>, CallError>>,
    made_all: bool,
    alarm: IdleAlarm,
    over: bool,
}

impl<S: Source> ResponseBody<S> {
    pub(super) fn new(run: Run, source: S) -> Self {
        let alarm = IdleAlarm { invocation: Arc::clone(run.invocation()), sleep: None };
        alarm.invocation.watch.moved();
        Self { run, source, made: VecDeque::new(), made_all: false, alarm, over: false }
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
        if run == Poll::Ready(Ok(())) {
            self.take_all(cx);
        }
        let next = match self.made.pop_front() {
            Some(made) => Poll::Ready(Some(made)),
            None if self.made_all => Poll::Ready(None),
            None => self.source.poll(run.is_ready(), cx),
        };
        // The end of a guest that ran somewhere else ends its body: why it ended is known before.
        if run.is_pending() && matches!(next, Poll::Ready(None | Some(Err(_)))) {
            run = self.run.poll(cx);
        }
        if let Poll::Ready(Err(error)) = run {
            // What was made before the failure is still sent.
            let made = matches!(next, Poll::Ready(Some(Ok(_))));
            return if made { next } else { Poll::Ready(Some(Err(error))) };
        }
        if run.is_pending()
            && matches!(next, Poll::Ready(None))
            && self.run.invocation().account.gathered().is_some()
        {
            // What it does to what its function keeps is done with its end: half of it would be lost.
            self.made_all = true;
            return self.alarm.poll(cx).map(|error| Some(Err(self.run.stop(error))));
        }
        match next {
            Poll::Ready(next) => {
                self.alarm.moved();
                Poll::Ready(next)
            }
            Poll::Pending => self.alarm.poll(cx).map(|error| Some(Err(self.run.stop(error)))),
        }
    }

    /// Takes what a guest that has returned leaves of its body, where its instance may serve again: that need not wait until
    /// a slow caller has it.
    fn take_all(&mut self, cx: &mut Context<'_>) {
        let account = &self.run.invocation().account;
        if account.ending().is_none() {
            return;
        }
        while !self.made_all {
            match self.source.poll(true, cx) {
                Poll::Ready(Some(made)) => {
                    self.made_all = made.is_err();
                    self.made.push_back(made);
                }
                Poll::Ready(None) => {
                    self.made_all = true;
                    account.is_made();
                }
                Poll::Pending => return,
            }
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

/// The body of a call's answer: it counts what is taken of it, and tells how it ended.
pub(super) struct Taken {
    body: Body,
    status: StatusCode,
    /// What its head declares, and is not taken yet.
    left: Option<u64>,
    invocation: Arc<CallContext>,
}

impl Taken {
    /// The answer of a call. What is here as a whole cannot break off: its call is over. So is one whose caller takes no body
    /// of the answer, whatever the guest makes.
    pub(super) fn answer(
        method: &Method,
        answer: http::Response<Body>,
        invocation: Arc<CallContext>,
    ) -> http::Response<Body> {
        let status = answer.status();
        if has_no_body(method, status) {
            invocation.account.end(Outcome::Answered(status));
            return answer;
        }
        if let Some(bytes) = answer.body().size_hint().exact() {
            invocation.account.sent(bytes);
            invocation.account.end(Outcome::Answered(status));
            return answer;
        }
        let declared = answer.headers().get(header::CONTENT_LENGTH);
        let left = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        answer.map(|body| Self { body, status, left, invocation }.boxed_unsync())
    }

    fn take(&mut self, bytes: usize) {
        self.invocation.account.sent(bytes as u64);
        self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
        // Whoever has all that was declared need not ask whether there is more.
        if self.left == Some(0) {
            self.invocation.account.end(Outcome::Answered(self.status));
        }
    }
}

/// Whether an answer ends with its head (RFC 9110): the front takes the body from it.
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    let without = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    *method == Method::HEAD || without.contains(&status)
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        match &next {
            Poll::Ready(Some(Ok(frame))) => self.take(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(Some(Err(error))) => {
                self.invocation.account.end(Outcome::Failed(error.code()));
                self.invocation.author.say(&format!("the answer broke off: {error} ({})", error.code()));
            }
            Poll::Ready(None) => self.invocation.account.end(Outcome::Answered(self.status)),
            Poll::Pending => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_no_body_or_may_have_none_takes_none() {
        assert!(has_no_body(&Method::HEAD, StatusCode::OK));
        for status in [204, 205, 304] {
            assert!(has_no_body(&Method::GET, StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 206, 404] {
            assert!(!has_no_body(&Method::GET, StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
