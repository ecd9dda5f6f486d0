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
use crate::worker::{Held, Holding};

/// What is handed on at once: whoever reads slowly is seen to read at each of these. Guests may make pieces of a
/// mebibyte, and a buffered answer is one of six.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// A body with a watch over it. Whoever reads it slowly or not at all does not poll it, so only a task of its own
/// can notice.
#[derive(Debug)]
pub(super) struct Paced<T> {
    shared: Arc<Mutex<State<T>>>,
    hint: SizeHint,
    _watch: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct State<T> {
    /// With what is held until it ends.
    body: Option<(Body, T)>,
    /// What was read of the body and is not handed on yet.
    rest: Bytes,
    /// Since when it is the caller's turn to ask for more; none while the guest is waited for.
    turn: Option<Instant>,
    given_up: Option<CallError>,
}

impl<T: Held> Paced<T> {
    /// Gives the body up, with all that it holds, when nobody asks for the next piece for `idle_max` after one was
    /// there; at the latest after twice that. A body of known length is watched like any other: it holds memory,
    /// and an HTTP/2 caller may have opened a window for none of it. Over HTTP/1 a small one is not: it is one piece
    /// that the connection takes at once, and then the connection's own time for writing is its bound. So most calls
    /// need no task beside their own.
    pub(super) fn body(body: Body, held: T, idle_max: Duration, protocol: http::Version) -> Body {
        let one_piece = body.size_hint().exact().is_some_and(|bytes| bytes <= PIECE_BYTES_MAX as u64);
        if body.is_end_stream() || (one_piece && protocol < http::Version::HTTP_2) {
            return Holding::body(body, held);
        }
        let hint = body.size_hint();
        let (rest, turn) = (Bytes::new(), Some(clock::now()));
        let shared = Arc::new(Mutex::new(State { body: Some((body, held)), rest, turn, given_up: None }));
        let watch = tokio::spawn(watch(Arc::downgrade(&shared), idle_max));
        Body::new(Self { shared, hint, _watch: AbortOnDropHandle::new(watch) })
    }
}

/// Looks at the body whenever its time may be over.
async fn watch<T: Held>(shared: Weak<Mutex<State<T>>>, idle_max: Duration) {
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
        let (mut body, rest) = (state.body.take(), std::mem::take(&mut state.rest));
        if let Some((_, held)) = &mut body {
            held.failed(&error);
        }
        state.given_up = Some(error);
        drop(state);
        // Ends the guest, which takes longer than the lock should be held.
        drop((body, rest));
        return;
    }
}

impl<T: Held> http_body::Body for Paced<T> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if state.rest.is_empty() {
            let Some((body, held)) = &mut state.body else {
                return Poll::Ready(state.given_up.take().map(Err));
            };
            match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => state.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(end) => {
                    if let Some(Err(error)) = &end {
                        held.failed(error);
                    }
                    state.body = None;
                    return Poll::Ready(end);
                }
                Poll::Pending => {
                    state.turn = None;
                    return Poll::Pending;
                }
            }
        }
        state.turn = Some(clock::now());
        let piece = state.rest.split_to(state.rest.len().min(PIECE_BYTES_MAX));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = state.body.as_ref().is_none_or(|(body, _)| body.is_end_stream());
        ended && state.rest.is_empty() && state.given_up.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use tokio_stream::wrappers::IntervalStream;

    use super::*;
    use crate::worker::tests::until;

    const IDLE_MAX: Duration = Duration::from_millis(100);

    struct Nothing;

    impl Held for Nothing {}

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
        let body = Body::new(StreamBody::new(frames));
        (Paced::body(body, Nothing, IDLE_MAX, http::Version::HTTP_11), count)
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

    #[tokio::test]
    async fn a_large_piece_is_handed_on_in_small_ones() {
        let large = Bytes::from(vec![b'x'; 3 * PIECE_BYTES_MAX + 1]);
        let large = Body::new(Full::from(large).map_err(|never| match never {}));
        let mut body = Paced::body(large, Nothing, IDLE_MAX, http::Version::HTTP_11);
        assert_eq!(body.size_hint().exact(), Some(3 * PIECE_BYTES_MAX as u64 + 1));
        for bytes in [PIECE_BYTES_MAX, PIECE_BYTES_MAX, PIECE_BYTES_MAX, 1] {
            assert!(!body.is_end_stream());
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), bytes);
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }
}
