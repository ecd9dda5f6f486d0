//! What a guest prints, cut into lines for the log.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coracle_proto::id::{InvocationId, VersionId};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use super::guest::WRITE_BYTES_MAX;
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

/// Whose lines they are.
#[derive(Debug)]
pub(super) struct Author {
    pub(super) version: VersionId,
    pub(super) invocation: InvocationId,
    pub(super) trace: Option<[u8; 16]>,
}

/// Standard output or error of a guest. All streams that a guest opens on it share one line.
#[derive(Debug, Clone)]
pub(super) struct LineLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sink: Arc<dyn LogSink>,
    author: Arc<Author>,
    stream: Stream,
    unfinished: Mutex<Vec<u8>>,
    /// Bytes since others had their turn.
    turn: AtomicUsize,
}

impl LineLog {
    pub(super) fn new(sink: Arc<dyn LogSink>, author: Arc<Author>, stream: Stream) -> Self {
        Self(Arc::new(Shared {
            sink,
            author,
            stream,
            unfinished: Mutex::default(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// Takes what was printed; whole lines go on.
    pub(super) fn print(&self, mut bytes: &[u8]) {
        let mut line = self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            self.0.extend(&mut line, head);
            if !self.0.emit(&mut line) {
                bytes = self.0.lose(bytes);
            }
        }
        self.0.extend(&mut line, bytes);
    }

    /// A line of the platform's: a line that the guest has begun goes on after it.
    pub(super) fn say(&self, text: &str) {
        self.0.emit(&mut on_one_line(text.to_owned()).into_bytes());
    }
}

impl Shared {
    /// Adds to the line; what is too long goes on in pieces.
    fn extend(&self, line: &mut Vec<u8>, mut bytes: &[u8]) {
        while let Some((head, rest)) = bytes.split_at_checked(LINE_BYTES_MAX - line.len()) {
            if rest.is_empty() {
                break;
            }
            line.extend_from_slice(head);
            self.emit(line);
            bytes = rest;
        }
        line.extend_from_slice(bytes);
    }

    fn emit(&self, line: &mut Vec<u8>) -> bool {
        let Author { version, invocation, trace } = &*self.author;
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let (invocation, trace, stream) = (*invocation, *trace, self.stream);
        let more = self.sink.line(Line { version, invocation, trace, stream, text });
        line.clear();
        more
    }

    /// Counts whole lines and looks at none: a million empty ones cost as little as one long one. Gives what comes
    /// after them.
    fn lose<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return bytes };
        let (lost, rest) = bytes.split_at(end + 1);
        self.sink.lost(&self.author.version, lost.iter().filter(|byte| **byte == b'\n').count() as u64);
        rest
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut line = std::mem::take(self.unfinished.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !line.is_empty() {
            self.emit(&mut line);
        }
    }
}

impl IsTerminal for LineLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Asked for by WASI 0.3 only, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineLog {
    async fn ready(&mut self) {
        if self.0.turn.load(Ordering::Relaxed) >= TURN_BYTES_MAX {
            self.0.turn.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }
}

impl OutputStream for LineLog {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        if bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap("a write to the log is over what it takes at once"));
        }
        self.0.turn.fetch_add(bytes.len(), Ordering::Relaxed);
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
    use coracle_proto::id::{FunctionId, VersionNumber};

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

    fn log() -> (Arc<Seen>, LineLog) {
        let seen = Arc::<Seen>::default();
        let function = FunctionId::parse("", "f").unwrap();
        let version = VersionId { function, number: VersionNumber::new(1) };
        let author = Author { version, invocation: InvocationId::new(1), trace: None };
        let log = LineLog::new(Arc::clone(&seen) as Arc<dyn LogSink>, Arc::new(author), Stream::Stdout);
        (seen, log)
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
