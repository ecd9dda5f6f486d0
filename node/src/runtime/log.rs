//! What a guest prints, cut into lines for the log.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_proto::id::{InvocationId, VersionId};
use coracle_proto::record::Version;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use super::bounds::WRITE_BYTES_MAX;
use crate::logs::{Line, Logs, Stream};
use crate::text::on_one_line;

/// A longer line comes in pieces.
const LINE_BYTES_MAX: usize = 8 << 10;
/// What a guest may print until others have their turn: one write of a core module may carry all of its memory.
const TURN_BYTES_MAX: usize = 64 << 10;

/// Where lines go. It must not wait: what it cannot take it counts.
pub trait LogSink: Debug + Send + Sync + 'static {
    /// Takes a line of at most 8 KiB. Tells whether the function may log more now.
    fn line(&self, line: Line<'_>) -> bool;

    /// Counts lines that were not even offered, because the function may not log more now.
    fn lost(&self, version: &VersionId, lines: u64);
}

impl LogSink for Logs {
    fn line(&self, line: Line<'_>) -> bool {
        Self::line(self, line)
    }

    fn lost(&self, version: &VersionId, lines: u64) {
        Self::lost(self, &version.function, lines);
    }
}

/// Whose lines they are: a call's.
#[derive(Debug)]
pub(super) struct Author {
    sink: Arc<dyn LogSink>,
    version: Arc<Version>,
    invocation: InvocationId,
    trace: Option<[u8; 16]>,
}

impl Author {
    pub(super) fn new(
        sink: Arc<dyn LogSink>,
        version: Arc<Version>,
        invocation: InvocationId,
        trace: Option<[u8; 16]>,
    ) -> Self {
        Self { sink, version, invocation, trace }
    }

    /// A line of the platform's: a line that the guest has begun goes on after it.
    pub(super) fn say(&self, text: &str) {
        self.emit(Stream::Stderr, on_one_line(text.to_owned()).as_bytes());
    }

    /// Lines of the platform's, as they stand.
    pub(super) fn say_lines(&self, text: &str) {
        for line in text.lines() {
            for piece in line.as_bytes().chunks(LINE_BYTES_MAX) {
                self.emit(Stream::Stderr, piece);
            }
        }
    }

    /// Lines of the guest's, as it has said them at once. What it may not log any more is counted.
    pub(super) fn tell(&self, text: &str) {
        let mut pieces = text.lines().flat_map(|line| line.as_bytes().chunks(LINE_BYTES_MAX));
        if !pieces.all(|piece| self.emit(Stream::Stderr, piece)) {
            self.sink.lost(&self.version.id, pieces.count() as u64);
        }
    }

    fn emit(&self, stream: Stream, line: &[u8]) -> bool {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let (invocation, trace) = (self.invocation, self.trace);
        self.sink.line(Line { version: &self.version.id, invocation, trace, stream, text })
    }

    /// Counts whole lines and looks at none: a million empty ones cost as little as one long one. Gives what comes
    /// after them.
    fn lose<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return bytes };
        let (lost, rest) = bytes.split_at(end + 1);
        self.sink.lost(&self.version.id, lost.iter().filter(|byte| **byte == b'\n').count() as u64);
        rest
    }
}

/// Standard output or error of an instance. All streams that its guest opens on it share one line; whose it is was said
/// last by [`LineLog::begin`].
#[derive(Debug, Clone)]
pub(super) struct LineLog {
    shared: Arc<Shared>,
    stream: Stream,
}

#[derive(Debug)]
struct Shared {
    lines: Mutex<Lines>,
    /// Bytes since others had their turn.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Lines {
    author: Option<Arc<Author>>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl LineLog {
    /// Output and error of an instance that serves no call yet.
    pub(super) fn pair() -> (Self, Self) {
        let lines = Lines { author: None, stdout: Vec::new(), stderr: Vec::new() };
        let shared = Arc::new(Shared { lines: Mutex::new(lines), turn: AtomicUsize::new(0) });
        let of = |stream| Self { shared: Arc::clone(&shared), stream };
        (of(Stream::Stdout), of(Stream::Stderr))
    }

    /// What either stream prints from now on is this call's.
    pub(super) fn begin(&self, author: Arc<Author>) {
        self.shared.lines().author = Some(author);
    }

    /// The call is over: what it has begun on either stream is its last line.
    pub(super) fn end(&self) {
        self.shared.lines().end();
    }

    /// Takes what was printed; whole lines go on.
    fn print(&self, mut bytes: &[u8]) {
        let mut lines = self.shared.lines();
        let Some((author, line)) = lines.of(self.stream) else { return };
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            extend(author, self.stream, line, head);
            if !emit(author, self.stream, line) {
                bytes = author.lose(bytes);
            }
        }
        extend(author, self.stream, line, bytes);
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn of(&mut self, stream: Stream) -> Option<(&Author, &mut Vec<u8>)> {
        let line = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        Some((self.author.as_deref()?, line))
    }

    fn end(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some((author, line)) = self.of(stream).filter(|(_, line)| !line.is_empty()) {
                emit(author, stream, line);
            }
        }
        self.author = None;
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

/// Adds to the line; what is too long goes on in pieces.
fn extend(author: &Author, stream: Stream, line: &mut Vec<u8>, mut bytes: &[u8]) {
    while let Some((head, rest)) = bytes.split_at_checked(LINE_BYTES_MAX - line.len()) {
        if rest.is_empty() {
            break;
        }
        line.extend_from_slice(head);
        emit(author, stream, line);
        bytes = rest;
    }
    line.extend_from_slice(bytes);
}

fn emit(author: &Author, stream: Stream, line: &mut Vec<u8>) -> bool {
    let more = author.emit(stream, line);
    line.clear();
    more
}

impl IsTerminal for LineLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// What WASI 0.3 prints to.
impl AsyncWrite for LineLog {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.shared.turn.load(Ordering::Relaxed) >= TURN_BYTES_MAX {
            self.shared.turn.store(0, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let some = bytes.get(..WRITE_BYTES_MAX).unwrap_or(bytes);
        self.shared.turn.fetch_add(some.len(), Ordering::Relaxed);
        self.print(some);
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineLog {
    async fn ready(&mut self) {
        if self.shared.turn.load(Ordering::Relaxed) >= TURN_BYTES_MAX {
            self.shared.turn.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }
}

impl OutputStream for LineLog {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        if bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap("a write to the log is over what it takes at once"));
        }
        self.shared.turn.fetch_add(bytes.len(), Ordering::Relaxed);
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::spec::Draft;

    use super::super::call::tests::invocation;
    use super::*;

    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<Vec<u8>>>);

    /// Takes lines until one says `full`.
    impl LogSink for Seen {
        fn line(&self, line: Line<'_>) -> bool {
            self.0.lock().unwrap().push(line.text.to_vec());
            line.text != b"full"
        }

        fn lost(&self, _: &VersionId, lines: u64) {
            self.0.lock().unwrap().push(format!("{lines} lost").into_bytes());
        }
    }

    fn author(seen: &Arc<Seen>) -> Arc<Author> {
        let (invocation, _) = invocation(Draft::default());
        let (sink, version) = (Arc::<Seen>::clone(seen), Arc::clone(&invocation.version));
        Arc::new(Author::new(sink, version, InvocationId::new(1), None))
    }

    fn log() -> (Arc<Seen>, LineLog) {
        let seen = Arc::<Seen>::default();
        let (stdout, _) = LineLog::pair();
        stdout.begin(author(&seen));
        (seen, stdout)
    }

    #[test]
    fn lines_are_whole_whatever_the_writes() {
        let (seen, log) = log();
        for part in ["on", "e\ntwo\r", "\n\nthr", "ee"] {
            log.clone().write(Bytes::from(part)).unwrap();
        }
        assert_eq!(*seen.0.lock().unwrap(), [&b"one"[..], b"two", b""]);
        drop(log);
        assert_eq!(seen.0.lock().unwrap().last().unwrap(), b"three", "the last line needs no end");
    }

    #[test]
    fn a_line_is_that_of_the_call_that_began_it() {
        let (first, log) = log();
        let (second, rested) = (Arc::<Seen>::default(), log.clone());
        log.print(b"one");
        rested.end();
        log.print(b"nobody's\n");
        rested.begin(author(&second));
        log.print(b"two\n");
        assert_eq!(
            (&*first.0.lock().unwrap(), &*second.0.lock().unwrap()),
            (&vec![b"one".to_vec()], &vec![b"two".to_vec()])
        );
    }

    #[test]
    fn what_may_not_be_logged_is_counted_at_once() {
        let (seen, log) = log();
        log.print(b"one\nfull\n\n\n\nrest");
        log.print(b" of it\ntwo\n");
        let seen = seen.0.lock().unwrap();
        assert_eq!(*seen, [&b"one"[..], b"full", b"3 lost", b"rest of it", b"two"]);
    }

    #[test]
    fn a_write_over_its_bound_traps() {
        let (_, mut log) = log();
        let bound = log.check_write().unwrap();
        log.write(Bytes::from(vec![b'x'; bound])).unwrap();
        assert!(matches!(log.write(Bytes::from(vec![b'x'; bound + 1])), Err(StreamError::Trap(_))));
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let (seen, log) = log();
        let long = vec![b'x'; 3 * LINE_BYTES_MAX + 1];
        let (first, second) = long.split_at(LINE_BYTES_MAX - 1);
        log.print(first);
        log.print(second);
        log.print(b"\n");
        let lengths: Vec<_> = seen.0.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_BYTES_MAX, 1]);
    }
}
