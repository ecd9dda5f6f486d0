//! The one thread that writes the ring.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::pb::{LogFrame, log_frame};
use tokio::sync::{oneshot, watch};

use super::metrics::Reason;
use super::ring::{Extent, Ring};
use super::sink::{Message, Shared};
use super::{LogMetrics, Logs, RingError, RingLimits};
use crate::age::{AgeClock, Moment};
use crate::clock;

/// Gaps are told, and old segments removed, at least so often.
const TICK: Duration = Duration::from_secs(1);
/// Lines written at once: readers see them after that.
const BATCH_MAX: usize = 1024;

/// The guests' logs of this node: what goes in, and what can be read.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) logs: Logs,
    pub(super) extent: watch::Receiver<Extent>,
}

/// Opens the ring and starts its writer, which ends when the last [`Logs`] is dropped.
pub(super) fn open(
    folder: &Path,
    node: NodeId,
    limits: RingLimits,
    metrics: LogMetrics,
) -> Result<Opened, RingError> {
    let ring = Ring::open(folder, limits, clock::unix_ms())?;
    let extent = ring.readers();
    let age = AgeClock::new(ring.opened(), clock::now());
    let (logs, queue) = Logs::new(node, metrics);
    let mut writer = Writer { ring, age, queue, shared: Arc::clone(&logs.shared), failing: false };
    let thread = thread::Builder::new().name("logs".to_owned());
    thread.spawn(move || writer.run()).map_err(RingError::at(folder))?;
    Ok(Opened { logs, extent })
}

struct Writer {
    ring: Ring,
    age: AgeClock,
    queue: Receiver<Message>,
    shared: Arc<Shared>,
    /// The last write failed: told once, not for each line.
    failing: bool,
}

impl Writer {
    fn run(&mut self) {
        loop {
            let first = match self.queue.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.round(first);
        }
    }

    /// Writes what is in the queue, then the gaps.
    fn round(&mut self, first: Option<Message>) {
        let (mut frames, mut flushed): (Vec<LogFrame>, Vec<oneshot::Sender<()>>) = Default::default();
        for message in first.into_iter().chain(self.queue.try_iter()).take(BATCH_MAX) {
            match message {
                Message::Record(record, cost) => {
                    self.shared.taken(cost);
                    frames.push(LogFrame { kind: Some(log_frame::Kind::Record(*record)) });
                }
                Message::Flush(done) => flushed.push(done),
            }
        }
        let records = frames.len() as u64;
        let (now, now_ms) = (clock::now(), clock::unix_ms());
        frames.extend(self.shared.gaps(now, now_ms));
        let moment = self.age.moment(now_ms, now);
        self.write(&frames, records, moment);
        for done in flushed {
            // Whoever asked may have left.
            let _ = done.send(());
        }
    }

    fn write(&mut self, frames: &[LogFrame], records: u64, now: Moment) {
        let written = self.ring.expire(now).and_then(|()| self.ring.append(frames, now));
        match written {
            Ok(()) => {
                self.failing = false;
                self.shared.metrics.written.inc_by(records);
            }
            Err(error) => {
                self.shared.metrics.dropped.get_or_create(&Reason { reason: "disk" }).inc_by(records);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("guests' output is not kept: {error}");
                }
            }
        }
        self.shared.metrics.bytes.set(i64::try_from(self.ring.bytes()).unwrap_or(i64::MAX));
    }
}
