//! The time by which a response's head must have come.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use coracle_proto::status::Code;
use tokio::time::{Sleep, sleep};

use crate::call::CallError;
use crate::clock;

/// Only a call that waits has a timer.
pub(in crate::runtime) struct Deadline {
    at: Instant,
    /// What the spec says: told in the error, for some of it may have passed before.
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Of a call that has so much left from when it began.
    pub(in crate::runtime) fn new(began: Instant, left: Duration, timeout: Duration) -> Self {
        Self { at: began + left, timeout, sleep: None }
    }

    /// Ready with the error when the time is over.
    pub(in crate::runtime) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CallError> {
        let at = self.at;
        let sleep =
            self.sleep.get_or_insert_with(|| Box::pin(sleep(at.saturating_duration_since(clock::now()))));
        sleep.as_mut().poll(cx).map(|()| {
            let message =
                format!("no response head within {} ms, the function's 'timeout'", self.timeout.as_millis());
            CallError::new(Code::ResponseTimeout, message)
        })
    }

    /// The future's result, or the error when the time is over.
    pub(in crate::runtime) async fn guard<T>(
        &mut self,
        future: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }
}
