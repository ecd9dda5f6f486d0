//! An answer's body that its caller must go on reading: one that stops gives up the guest and its slot.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::status::Code;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::call::{Body, CallError};
use crate::clock;

/// A body with a watch over it. Whoever reads it slowly or not at all does not poll it, so only a task of its own
/// can notice.
#[derive(Debug)]
pub(super) struct Paced {
    shared: Arc<Mutex<State>>,
    hint: SizeHint,
    _watch: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct State {
    body: Option<Body>,
    /// Since when it is the caller's turn to ask for more; none while the guest is waited for.
    turn: Option<Instant>,
    given_up: Option<CallError>,
}

impl Paced {
    /// Gives the body up, with all that it holds, when nobody asks for the next piece for `idle_max` after one was
    /// there; at the latest after twice that.
    pub(super) fn body(body: Body, idle_max: Duration) -> Body {
        let hint = body.size_hint();
        let state = State { body: Some(body), turn: Some(clock::now()), given_up: None };
        let shared = Arc::new(Mutex::new(state));
        let watch = tokio::spawn(watch(Arc::downgrade(&shared), idle_max));
        Body::new(Self { shared, hint, _watch: AbortOnDropHandle::new(watch) })
    }
}

/// Looks at the body whenever its time may be over.
async fn watch(shared: Weak<Mutex<State>>, idle_max: Duration) {
    let mut pause = idle_max;
    loop {
        sleep(pause).await;
        let Some(shared) = shared.upgrade() else { return };
        // Whoever holds the lock is asking for more right now.
        let mut state = match shared.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                pause = idle_max;
                continue;
            }
        };
        let waited = state.turn.map_or(Duration::ZERO, |turn| clock::now().saturating_duration_since(turn));
        if waited < idle_max {
            pause = idle_max.saturating_sub(waited);
            continue;
        }
        let message =
            format!("the caller read nothing for {} ms, the function's 'idle-timeout'", idle_max.as_millis());
        let error = CallError::new(Code::IdleTimeout, message);
        tracing::debug!(%error, "a response was given up");
        state.given_up = Some(error);
        let body = state.body.take();
        drop(state);
        // Ends the guest, which takes longer than the lock should be held.
        drop(body);
        return;
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = &mut state.body else { return Poll::Ready(state.given_up.take().map(Err)) };
        let polled = Pin::new(body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) => state.turn = Some(clock::now()),
            Poll::Ready(None | Some(Err(_))) => state.body = None,
            Poll::Pending => state.turn = None,
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio_stream::wrappers::IntervalStream;

    use super::*;
    use crate::worker::tests::until;

    const IDLE_MAX: Duration = Duration::from_millis(100);

    /// Counts as long as the body lives.
    struct Alive(Arc<AtomicU32>);

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn body(frames: impl futures::Stream<Item = ()> + Send + 'static) -> (Body, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(1));
        let alive = Alive(Arc::clone(&count));
        let frames = frames.map(move |()| {
            let _ = &alive;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        (Paced::body(Body::new(StreamBody::new(frames)), IDLE_MAX), count)
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_is_given_up_and_says_so() {
        let (mut body, alive) = body(stream::repeat(()));
        assert!(body.frame().await.unwrap().is_ok());
        until("it is given up", || alive.load(Ordering::SeqCst) == 0).await;
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::IdleTimeout);
        assert!(error.to_string().contains("100 ms"), "{error}");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_guest_that_takes_its_time_is_no_fault_of_the_caller() {
        let slow = IntervalStream::new(tokio::time::interval(IDLE_MAX * 3)).take(3).map(|_| ());
        let (body, alive) = body(slow);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "xxx");
        until("it has ended", || alive.load(Ordering::SeqCst) == 0).await;
    }
}
