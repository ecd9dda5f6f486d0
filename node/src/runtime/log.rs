//! What a guest prints, cut into lines for the log.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coracle_proto::id::{InvocationId, VersionId};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use crate::logs::{Line, Logs, Stream};

/// A longer line comes in pieces.
const LINE_BYTES_MAX: usize = 8 << 10;
/// What a guest may write at once.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Where lines go. It must not wait: what it cannot take it counts.
pub trait LogSink: Debug + Send + Sync + 'static {
    /// Takes a line of at most 8 KiB.
    fn line(&self, line: Line<'_>);
}

impl LogSink for Logs {
    fn line(&self, line: Line<'_>) {
        Self::line(self, line);
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
}

impl LineLog {
    pub(super) fn new(sink: Arc<dyn LogSink>, author: Arc<Author>, stream: Stream) -> Self {
        Self(Arc::new(Shared { sink, author, stream, unfinished: Mutex::default() }))
    }

    /// Takes what was printed; whole lines go on.
    pub(super) fn print(&self, mut bytes: &[u8]) {
        let mut line = self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            self.0.extend(&mut line, head);
            self.0.emit(&mut line);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.0.extend(&mut line, bytes);
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

    fn emit(&self, line: &mut Vec<u8>) {
        let Author { version, invocation, trace } = &*self.author;
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        self.sink.line(Line { version, invocation: *invocation, trace: *trace, stream: self.stream, text });
        line.clear();
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
    async fn ready(&mut self) {}
}

impl OutputStream for LineLog {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
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

    impl LogSink for Seen {
        fn line(&self, line: Line<'_>) {
            self.0.lock().unwrap().push(line.text.to_vec());
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
