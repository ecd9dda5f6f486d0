//! An answer's body that its caller must go on reading: one that stops gives up the guest and its slot.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::status::Code;
use futures::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::line::Line;
use crate::call::{Body, CallError};
use crate::clock;
use crate::worker::{Holding, UntilEnd};

/// What is handed on at once: whoever reads slowly is seen to read at each of these. Guests may make pieces of a
/// mebibyte, and a buffered answer is one of six.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// The same over HTTP/2, where streams share a line: one of many on a slow line is seen to move at each frame.
const FRAME_BYTES_MAX: usize = 16 << 10;

/// A body with a watch over it. Whoever reads it slowly or not at all does not poll it, so only a task of its own
/// can notice.
#[derive(Debug)]
pub(super) struct Paced<T> {
    shared: Arc<Shared<T>>,
    hint: SizeHint,
}

/// An answer that is open: as long as anybody has its body, or a piece of it that has not left yet.
#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Pieces that were handed on and have not left, and who waits for them.
    leaving: AtomicUsize,
    left: AtomicWaker,
    /// When a piece left last, in milliseconds after `begun`.
    moved: AtomicU64,
    begun: Instant,
    piece_max: usize,
    /// The end is told when everything has left, so that the stream is open, and can be reset, for as long as the
    /// connection has something of it. A small answer goes out whole: its end does not cost a frame.
    ends_last: bool,
    watch: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct State<T> {
    body: Option<Body>,
    /// What was read of the body and is not handed on yet.
    rest: Bytes,
    /// Since when it is the caller's turn to ask for more; none while the guest is waited for.
    turn: Option<Instant>,
    /// What the body came to, if not to its end: told when all that was handed on has left.
    failed: Option<CallError>,
    /// Whether the connection had a moment to send the head.
    begun: bool,
    held: T,
}

/// What is handed on at once. The connection may keep it for as long as its caller makes no room.
struct Piece<T> {
    bytes: Bytes,
    open: Arc<Shared<T>>,
}

impl<T> Drop for Piece<T> {
    fn drop(&mut self) {
        let moved = clock::millis(clock::now().saturating_duration_since(self.open.begun));
        self.open.moved.fetch_max(moved, Ordering::Relaxed);
        if self.open.leaving.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.left.wake();
        }
    }
}

impl<T> AsRef<[u8]> for Piece<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How long a caller may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// To ask for the next piece. It is the function's, and costs its caller one stream.
    pub(super) piece: Duration,
    /// Then, to take what its connection has of the answer. It is the gateway's, and costs the connection.
    pub(super) rest: Duration,
}

impl<T: UntilEnd> Paced<T> {
    /// Gives the body up when nobody asks for the next piece in time after one was there; at the latest after twice
    /// that. Its stream is reset then; what even so does not leave, for it waits in the buffers of an answer that the
    /// protocol takes for ended, costs the connection. A body of known length is watched like any other: it holds memory,
    /// and an HTTP/2 caller may have opened a window for none of it. Over HTTP/1 a small one is not: it is one piece
    /// that the connection takes at once, and then the connection's own time for writing is its bound. So most calls
    /// need no task beside their own.
    pub(super) fn body(body: Body, held: T, patience: Patience, line: Line) -> Body {
        let one_piece = body.size_hint().exact().is_some_and(|bytes| bytes <= PIECE_BYTES_MAX as u64);
        if body.is_end_stream() || (one_piece && line.protocol < http::Version::HTTP_2) {
            return Holding::body(body, held);
        }
        let hint = body.size_hint();
        let (rest, turn) = (Bytes::new(), Some(clock::now()));
        let state = Mutex::new(State { body: Some(body), rest, turn, failed: None, begun: false, held });
        let shared_line = line.protocol == http::Version::HTTP_2;
        let shared = Arc::new(Shared {
            state,
            leaving: AtomicUsize::new(0),
            left: AtomicWaker::new(),
            moved: AtomicU64::new(0),
            begun: clock::now(),
            piece_max: if shared_line { FRAME_BYTES_MAX } else { PIECE_BYTES_MAX },
            ends_last: shared_line && !one_piece,
            watch: OnceLock::new(),
        });
        let watching = tokio::spawn(watch(Arc::downgrade(&shared), patience, line));
        let _ = shared.watch.set(AbortOnDropHandle::new(watching));
        Body::new(Self { shared, hint })
    }
}

/// Looks at the body whenever its time may be over.
async fn watch<T: UntilEnd>(shared: Weak<Shared<T>>, patience: Patience, line: Line) {
    let mut pause = Some(patience.piece);
    while let Some(left) = pause {
        sleep(left).await;
        let Some(shared) = shared.upgrade() else { return };
        pause = shared.look(patience.piece);
    }
    line.reset();
    sleep(patience.rest).await;
    if shared.strong_count() > 0 {
        tracing::debug!("a connection's buffers hold a response that was given up");
        line.close();
    }
}

impl<T: UntilEnd> Shared<T> {
    /// The body's end, or its error: that makes the connection drop what it has not sent, the head with it, and so it waits
    /// until nothing of this answer is left there.
    fn end(
        &self,
        state: &mut State<T>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        self.left.register(context.waker());
        if state.failed.is_some() && !std::mem::replace(&mut state.begun, true) {
            // It sends what it has whenever it waits for a body.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if (state.failed.is_some() || self.ends_last) && self.leaving.load(Ordering::Acquire) > 0 {
            return Poll::Pending;
        }
        Poll::Ready(state.failed.take().map(Err))
    }

    /// How long until the next look; none when the body was given up.
    fn look(&self, idle_max: Duration) -> Option<Duration> {
        // Whoever holds the lock is asking for more right now.
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Some(idle_max),
        };
        let moved = self.begun + Duration::from_millis(self.moved.load(Ordering::Relaxed));
        let since = |turn: Instant| clock::now().saturating_duration_since(turn.max(moved));
        let waited = state.turn.map_or(Duration::ZERO, since);
        if waited < idle_max {
            return Some(idle_max.saturating_sub(waited));
        }
        let message = format!("the caller read nothing for {} ms", idle_max.as_millis());
        let error = CallError::new(Code::IdleTimeout, message);
        tracing::debug!(%error, "a response was given up");
        let (body, rest) = (state.body.take(), std::mem::take(&mut state.rest));
        if body.is_some() {
            state.held.failed(&error);
            state.failed = Some(error);
        }
        drop(state);
        // Ends the guest, which takes longer than the lock should be held.
        drop((body, rest));
        None
    }
}

impl<T: UntilEnd> http_body::Body for Paced<T> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if state.rest.is_empty() {
            let Some(body) = &mut state.body else { return self.shared.end(state, context) };
            match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => state.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(end) => {
                    state.failed = end.and_then(Result::err).inspect(|error| state.held.failed(error));
                    state.body = None;
                    return self.shared.end(state, context);
                }
                Poll::Pending => {
                    (state.turn, state.begun) = (None, true);
                    return Poll::Pending;
                }
            }
        }
        (state.turn, state.begun) = (Some(clock::now()), true);
        let bytes = state.rest.split_to(state.rest.len().min(self.shared.piece_max));
        self.shared.leaving.fetch_add(1, Ordering::AcqRel);
        let piece = Piece { bytes, open: Arc::clone(&self.shared) };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = state.body.as_ref().is_none_or(http_body::Body::is_end_stream);
        let left = !self.shared.ends_last || self.shared.leaving.load(Ordering::Acquire) == 0;
        ended && state.rest.is_empty() && state.failed.is_none() && left
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
    use hyper::rt::Executor as _;
    use tokio_stream::wrappers::IntervalStream;
    use tokio_util::sync::CancellationToken;

    use super::super::line::Streams;
    use super::*;
    use crate::worker::tests::until;

    const IDLE_MAX: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(60);
    const PATIENCE: Patience = Patience { piece: IDLE_MAX, rest: IDLE_MAX };

    fn line() -> Line {
        Line::new(http::Version::HTTP_11, CancellationToken::new())
    }

    struct Nothing;

    impl UntilEnd for Nothing {}
    impl UntilEnd for Alive {}

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
        (Paced::body(body, Nothing, PATIENCE, line()), count)
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
        let mut body = Paced::body(large, Nothing, PATIENCE, line());
        assert_eq!(body.size_hint().exact(), Some(3 * PIECE_BYTES_MAX as u64 + 1));
        for bytes in [PIECE_BYTES_MAX, PIECE_BYTES_MAX, PIECE_BYTES_MAX, 1] {
            assert!(!body.is_end_stream());
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), bytes);
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    /// A connection that meets an error sends nothing any more, not even what it has.
    #[tokio::test]
    async fn what_was_made_leaves_before_the_error_is_told() {
        let frames =
            [Ok(Frame::data(Bytes::from_static(b"x"))), Err(CallError::new(Code::FunctionTrapped, "it"))];
        let failing = Body::new(StreamBody::new(stream::iter(frames)));
        let mut body = Paced::body(failing, Nothing, Patience { piece: LONG, rest: LONG }, line());
        let piece = body.frame().await.unwrap().unwrap();
        let mut next = Box::pin(body.frame());
        assert!(futures::poll!(&mut next).is_pending());
        drop(piece);
        assert_eq!(next.await.unwrap().unwrap_err().code(), Code::FunctionTrapped);
    }

    #[tokio::test]
    async fn an_answer_that_fails_at_once_lets_its_head_go_out_first() {
        let failing = stream::iter([Err(CallError::new(Code::FunctionTrapped, "it"))]);
        let failing = Body::new(StreamBody::new(failing));
        let mut body = Paced::body(failing, Nothing, Patience { piece: LONG, rest: LONG }, line());
        let mut first = Box::pin(body.frame());
        assert!(futures::poll!(&mut first).is_pending());
        assert_eq!(first.await.unwrap().unwrap_err().code(), Code::FunctionTrapped);
    }

    /// Of twenty answers on a slow line each moves now and then, long after its last piece was handed on.
    #[tokio::test]
    async fn an_answer_that_leaves_slowly_is_not_given_up() {
        let patience = Patience { piece: Duration::from_secs(2), rest: LONG };
        let (done, ended) = tokio::sync::oneshot::channel();
        Streams.execute(async move {
            let line = Line::new(http::Version::HTTP_2, CancellationToken::new());
            let large = Bytes::from(vec![b'x'; 6 * FRAME_BYTES_MAX]);
            let large = Body::new(Full::from(large).map_err(|never| match never {}));
            let mut body = Paced::body(large, Nothing, patience, line);
            let mut pieces = Vec::new();
            for _ in 0..6 {
                pieces.push(body.frame().await.unwrap().unwrap());
            }
            assert!(!body.is_end_stream(), "its stream is open");
            let mut end = Box::pin(body.frame());
            let mut slow_line = tokio::time::interval(patience.piece / 4);
            for piece in pieces {
                assert!(futures::poll!(&mut end).is_pending());
                slow_line.tick().await;
                drop(piece);
            }
            done.send(end.await.is_none()).unwrap();
        });
        // A stream that is given up ends without a word.
        assert!(ended.await.expect("it was given up"));
    }

    /// The protocol takes an answer for ended that still waits in its buffers: then only the connection's end frees them.
    #[tokio::test]
    async fn an_answer_is_open_until_its_last_piece_has_left() {
        let count = Arc::new(AtomicU32::new(1));
        let close = CancellationToken::new();
        let line = Line::new(http::Version::HTTP_2, close.clone());
        let small = Body::new(Full::from("x").map_err(|never| match never {}));
        let mut body = Paced::body(small, Alive(Arc::clone(&count)), PATIENCE, line);
        let piece = body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!(count.load(Ordering::SeqCst), 1, "it counts as gone");
        until("its connection is closed", || close.is_cancelled()).await;
        drop(piece);
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}
