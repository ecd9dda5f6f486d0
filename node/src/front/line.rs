//! The way back to a caller: what ends its stream, and what ends its connection.

use std::future::Future;

use http::Version;
use hyper::rt::Executor;
use tokio_util::sync::CancellationToken;

tokio::task_local! {
    /// Ends the stream that a task serves.
    static RESET: CancellationToken;
}

/// Runs the streams of HTTP/2 connections, each in a task that can be ended from elsewhere: a stream that waits for its
/// caller to take something asks its body nothing, so the body cannot end it. What ends unfinished is reset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let reset = CancellationToken::new();
        let serving = reset.clone().run_until_cancelled_owned(stream);
        tokio::spawn(RESET.scope(reset, async move {
            let _ = serving.await;
        }));
    }
}

/// The stream and the connection that an answer goes out on.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) protocol: Version,
    /// Over HTTP/1 nothing ends a stream but its connection.
    reset: Option<CancellationToken>,
    close: CancellationToken,
}

impl Line {
    /// That of the request which this task serves, on a connection that `close` ends.
    pub(super) fn new(protocol: Version, close: CancellationToken) -> Self {
        Self { protocol, reset: RESET.try_with(Clone::clone).ok(), close }
    }

    /// Ends the stream, with what of the answer waits in it.
    pub(super) fn reset(&self) {
        if let Some(reset) = &self.reset {
            reset.cancel();
        }
    }

    /// Ends the connection: it takes no more requests, and those that are open have a while to end.
    pub(super) fn close(&self) {
        self.close.cancel();
    }
}
