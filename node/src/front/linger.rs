//! The end of a connection: what the other side still sends is read and dropped, for a moment.
//!
//! A caller may be answered before it has sent its whole body (413, for example). Closing a socket that holds unread
//! bytes makes the kernel send a reset, and a reset takes the answer from a caller that has not read it yet
//! (RFC 9112, section 9.6).

use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::os;

/// A caller that sends nothing for so long has nothing more to send, or is gone.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// However much a caller sends: it has had its answer for so long.
const TOTAL_MAX: Duration = Duration::from_secs(5);
/// And no more than so much is read of it: ten times the bound of a buffered body.
const BYTES_MAX: usize = 64 << 20;
/// Read at once; on the stack.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks read before others have their turn.
const CHUNKS_PER_POLL: usize = 16;

/// What is left of a connection whose own side is shut.
#[derive(Debug)]
pub(super) struct Linger {
    bytes_left: usize,
    total: Pin<Box<Sleep>>,
    quiet: Pin<Box<Sleep>>,
}

impl Linger {
    fn begin() -> Self {
        Self { bytes_left: BYTES_MAX, total: Box::pin(sleep(TOTAL_MAX)), quiet: Box::pin(sleep(QUIET_MAX)) }
    }

    /// Ready when the other side has closed, failed, fallen silent, or used up what it is given.
    fn poll(&mut self, stream: &TcpStream, context: &mut Context<'_>) -> Poll<()> {
        let mut chunk = [0_u8; CHUNK_BYTES];
        for _ in 0..CHUNKS_PER_POLL {
            let Poll::Ready(readable) = stream.poll_read_ready(context) else {
                ready!(self.quiet.as_mut().poll(context));
                return Poll::Ready(());
            };
            let bytes = match readable.and_then(|()| stream.try_read(&mut chunk)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                read => read.unwrap_or(0),
            };
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            if bytes == 0 || self.bytes_left == 0 || self.total.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            self.quiet.set(sleep(QUIET_MAX));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Shuts this side of a stream, then lingers; `linger` is its state, at first `None`.
pub(super) fn poll_close(
    stream: &TcpStream,
    linger: &mut Option<Linger>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if linger.is_none() {
        os::shut_writing(stream)?;
    }
    linger.get_or_insert_with(Linger::begin).poll(stream, context).map(Ok)
}

/// The same, awaited.
pub(super) async fn close(stream: &TcpStream) -> io::Result<()> {
    let mut linger = None;
    poll_fn(|context| poll_close(stream, &mut linger, context)).await
}
