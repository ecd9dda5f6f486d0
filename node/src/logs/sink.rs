//! Where guests' lines go in: never waits, counts what it does not take.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId, NodeId, VersionId};
use coracle_proto::pb::{LogDropped, LogFrame, LogRecord, LogStream, log_frame};
use tokio::sync::oneshot;

use super::LogMetrics;
use super::limit::{Bucket, RATE, SHARE};
use super::metrics::Reason;
use super::segment::LINE_BYTES_MAX;
use crate::clock;

/// Lines that may wait for the disk.
const QUEUE_LINES_MAX: usize = 8192;
/// Their bytes: what a disk that stalls for some seconds costs in memory at most.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// What a record costs beside its line: ids and names.
const RECORD_BYTES: usize = 128;

/// Where a guest wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl From<Stream> for LogStream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

/// One line of a guest's output.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Whose.
    pub version: &'a VersionId,
    /// In which call.
    pub invocation: InvocationId,
    /// In which trace, if it is traced.
    pub trace: Option<[u8; 16]>,
    /// Standard output or error.
    pub stream: Stream,
    /// Without the line's end; what is no UTF-8 is replaced, what is over 16 KiB is cut.
    pub text: &'a [u8],
}

/// What the writer is sent.
#[derive(Debug)]
pub(super) enum Message {
    /// With what it counts in the queue.
    Record(Box<LogRecord>, usize),
    /// Answered when everything before it is on its way to the disk.
    Flush(oneshot::Sender<()>),
}

/// Takes lines; cheap to clone.
#[derive(Debug, Clone)]
pub struct Logs {
    node: NodeId,
    queue: SyncSender<Message>,
    pub(super) shared: Arc<Shared>,
}

/// What takers and the writer share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    queued_bytes: AtomicUsize,
    functions: Mutex<Allowances>,
    pub(super) metrics: LogMetrics,
}

/// Those of the functions that logged within the hour.
#[derive(Debug, Default)]
struct Allowances {
    of: HashMap<FunctionId, Allowance>,
    /// Whether a line was lost since the last round.
    losing: bool,
    /// When all of them were looked at last.
    swept: Option<Instant>,
}

/// What a function may log, and what it lost since the last gap was told.
#[derive(Debug)]
struct Allowance {
    /// When it logged last.
    last: Instant,
    rate: Bucket,
    share: Bucket,
    over_rate: u64,
    over_share: u64,
    queue_full: u64,
}

/// How often allowances that are not needed any more end.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Logs {
    pub(super) fn new(node: NodeId, metrics: LogMetrics) -> (Self, Receiver<Message>) {
        let (queue, receiver) = sync_channel(QUEUE_LINES_MAX);
        (Self { node, queue, shared: Arc::new(Shared { metrics, ..Shared::default() }) }, receiver)
    }

    /// Takes a line, or counts it as dropped. Tells whether the function is below its rate.
    pub fn line(&self, line: Line<'_>) -> bool {
        self.line_at(line, clock::now(), clock::unix_ms())
    }

    /// Counts lines that a function over its rate did not offer.
    pub fn lost(&self, function: &FunctionId, lines: u64) {
        self.shared.lose(function, lines, clock::now());
    }

    pub(super) fn line_at(&self, line: Line<'_>, now: Instant, now_ms: u64) -> bool {
        let text = line.text.get(..LINE_BYTES_MAX).unwrap_or(line.text);
        let cost = text.len() + RECORD_BYTES;
        if !self.shared.allow(&line.version.function, cost as u64, now) {
            return false;
        }
        if self.shared.queued_bytes.fetch_add(cost, Ordering::Relaxed) + cost > QUEUE_BYTES_MAX {
            self.shared.full(&line.version.function, cost, now);
            return true;
        }
        let record = Box::new(self.record(&line, text, now_ms));
        match self.queue.try_send(Message::Record(record, cost)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.full(&line.version.function, cost, now);
            }
        }
        true
    }

    /// Waits until what was taken before can be read.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let queue = self.queue.clone();
        // Waits for room in the queue, so not on a thread of the runtime.
        let sent = tokio::task::spawn_blocking(move || queue.send(Message::Flush(done)).is_ok()).await;
        if sent.unwrap_or(false) {
            // An error means that the writer has ended: there is nothing to wait for.
            let _ = written.await;
        }
    }

    fn record(&self, line: &Line<'_>, text: &[u8], now_ms: u64) -> LogRecord {
        LogRecord {
            time_ms: now_ms,
            node: self.node.get(),
            namespace: line.version.function.namespace.to_string(),
            name: line.version.function.name.to_string(),
            version: line.version.number.get(),
            invocation_id: line.invocation.to_wire(),
            trace_id: line.trace.map_or_else(Bytes::new, |trace| Bytes::copy_from_slice(&trace)),
            stream: LogStream::from(line.stream).into(),
            line: cut(String::from_utf8_lossy(text).into_owned()),
        }
    }
}

/// Replacement characters are longer than what they replace.
fn cut(mut line: String) -> String {
    if line.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
    }
    line
}

impl Shared {
    /// The writer took records that count so much.
    pub(super) fn taken(&self, cost: usize) {
        self.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
    }

    /// Gaps to be told, and the end of allowances that are not needed any more.
    pub(super) fn gaps(&self, now: Instant, now_ms: u64) -> Vec<LogFrame> {
        let mut functions = self.functions();
        // This is asked at each round, and functions are many.
        let due = functions.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY);
        if !std::mem::take(&mut functions.losing) && !due {
            return Vec::new();
        }
        functions.swept = Some(now);
        let mut gaps = Vec::new();
        functions.of.retain(|function, allowance| {
            let over_rate = (std::mem::take(&mut allowance.over_rate), rate_reason());
            let over_share = (std::mem::take(&mut allowance.over_share), share_reason());
            let queue_full =
                (std::mem::take(&mut allowance.queue_full), "the node could not write as fast".to_owned());
            for (dropped, reason) in [over_rate, over_share, queue_full] {
                if dropped > 0 {
                    gaps.push(gap(function, dropped, reason, now_ms));
                }
            }
            let lately = now.saturating_duration_since(allowance.last) < SHARE.within;
            lately || !(allowance.rate.is_full(now) && allowance.share.is_full(now))
        });
        gaps
    }

    fn allow(&self, function: &FunctionId, bytes: u64, now: Instant) -> bool {
        let mut functions = self.functions();
        let allowance = Self::of(&mut functions, function, now);
        if !allowance.rate.take(bytes, now) {
            drop(functions);
            self.lose(function, 1, now);
            return false;
        }
        if allowance.share.take(bytes, now) {
            return true;
        }
        // Whoever is here has logged within the hour: one that is alone takes the room from itself.
        let alone = functions.of.len() == 1;
        if !alone {
            functions.losing = true;
            Self::of(&mut functions, function, now).over_share += 1;
            self.metrics.dropped.get_or_create(&Reason { reason: "share" }).inc();
        }
        alone
    }

    fn lose(&self, function: &FunctionId, lines: u64, now: Instant) {
        let mut functions = self.functions();
        functions.losing = true;
        let allowance = Self::of(&mut functions, function, now);
        // What is not even offered is lost for the reason that the line before it was.
        let (lost, reason) = match allowance.over_share {
            0 => (&mut allowance.over_rate, "rate"),
            _ => (&mut allowance.over_share, "share"),
        };
        *lost += lines;
        self.metrics.dropped.get_or_create(&Reason { reason }).inc_by(lines);
    }

    fn full(&self, function: &FunctionId, bytes: usize, now: Instant) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut functions = self.functions();
        functions.losing = true;
        Self::of(&mut functions, function, now).queue_full += 1;
        drop(functions);
        self.metrics.dropped.get_or_create(&Reason { reason: "queue" }).inc();
    }

    fn of<'a>(functions: &'a mut Allowances, function: &FunctionId, now: Instant) -> &'a mut Allowance {
        let fresh = || Allowance {
            last: now,
            rate: Bucket::full(RATE, now),
            share: Bucket::full(SHARE, now),
            over_rate: 0,
            over_share: 0,
            queue_full: 0,
        };
        let allowance = functions.of.entry(function.clone()).or_insert_with(fresh);
        allowance.last = now;
        allowance
    }

    fn functions(&self) -> MutexGuard<'_, Allowances> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rate_reason() -> String {
    format!("over {} KiB a second", RATE.bytes >> 10)
}

fn share_reason() -> String {
    let (mebibytes, minutes) = (SHARE.bytes >> 20, SHARE.within.as_secs() / 60);
    format!("over {mebibytes} MiB in {minutes} minutes, where other functions log too")
}

fn gap(function: &FunctionId, dropped: u64, reason: String, time_ms: u64) -> LogFrame {
    LogFrame {
        kind: Some(log_frame::Kind::Dropped(LogDropped {
            time_ms,
            namespace: function.namespace.to_string(),
            name: function.name.to_string(),
            reason,
            dropped,
        })),
    }
}
