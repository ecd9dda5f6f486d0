//! The gRPC service of guests' logs, at 7402.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::id::{FunctionId, NodeId};
use coracle_proto::pb::logs_server::{Logs as LogsApi, LogsServer};
use coracle_proto::pb::{LogFrame, LogGap, LogsEvent, LogsRequest, log_frame, logs_event};
use coracle_proto::status::{Code, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::reader::{Batch, Cursor};
use super::ring::Extent;
use super::writer::open;
use super::{LogMetrics, Logs, RingError, RingLimits};
use crate::clock;

/// Readers at once: each reads the ring from the disk.
const READERS_MAX: usize = 64;
/// Lines that may be asked for from the end; their numbers are held in memory while they are counted.
const TAIL_MAX: usize = 100_000;
/// Events that wait for a slow reader; what comes later waits in the ring.
const EVENTS_MAX: usize = 256;

/// Answers for one node's logs.
#[derive(Debug, Clone)]
pub struct LogService {
    node: NodeId,
    extent: watch::Receiver<Extent>,
    limits: RingLimits,
    readers: Arc<Semaphore>,
    /// Ends those who follow.
    stop: CancellationToken,
}

/// Opens the ring in `folder` and starts its writer.
///
/// # Errors
/// When the folder cannot be made or read.
pub fn start(
    folder: &Path,
    node: NodeId,
    limits: RingLimits,
    metrics: LogMetrics,
    stop: CancellationToken,
) -> Result<(Logs, LogService), RingError> {
    let opened = open(folder, node, limits, metrics)?;
    let readers = Arc::new(Semaphore::new(READERS_MAX));
    Ok((opened.logs, LogService { node, extent: opened.extent, limits, readers, stop }))
}

/// What a reader wants.
struct Wanted {
    function: FunctionId,
    since_ms: u64,
    tail: usize,
    follow: bool,
}

type Events = mpsc::Sender<Result<LogsEvent, Status>>;

#[tonic::async_trait]
impl LogsApi for LogService {
    type TailStream = ReceiverStream<Result<LogsEvent, Status>>;

    async fn tail(&self, request: Request<LogsRequest>) -> Result<Response<Self::TailStream>, Status> {
        let LogsRequest { namespace, name, follow, since_ms, tail } = request.into_inner();
        let oldest_ms = clock::unix_ms().saturating_sub(clock::millis(self.limits.age));
        let wanted = Wanted {
            function: FunctionId::parse(&namespace, &name).in_field("name")?,
            since_ms: since_ms.max(oldest_ms),
            tail: usize::try_from(tail).unwrap_or(TAIL_MAX).min(TAIL_MAX),
            follow,
        };
        let busy =
            || Refusal::new(Code::Overloaded, format!("node {} serves {READERS_MAX} readers", self.node));
        let place = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| busy())?;
        let (events, answer) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(self.clone().serve(wanted, events, place));
        Ok(Response::new(ReceiverStream::new(answer)))
    }
}

impl LogService {
    /// For a server.
    #[must_use]
    pub fn server(self) -> LogsServer<Self> {
        LogsServer::new(self)
    }

    async fn serve(self, wanted: Wanted, events: Events, _place: OwnedSemaphorePermit) {
        let stop = self.stop.clone();
        tokio::select! {
            () = events.closed() => {}
            () = stop.cancelled() => {}
            result = self.read(wanted, &events) => {
                if let Err(error) = result {
                    tracing::error!("{error}");
                    let refusal = Refusal::new(Code::Internal, error.to_string());
                    // Whoever asked may have left.
                    let _ = events.send(Err(refusal.into())).await;
                }
            }
        }
    }

    async fn read(mut self, wanted: Wanted, events: &Events) -> Result<(), RingError> {
        let extent = self.extent.borrow_and_update().clone();
        let end = extent.next;
        let from = match wanted.tail {
            0 => 0,
            _ => self.tail_start(&wanted, &extent).await?,
        };
        let mut cursor = Cursor::since(&extent, wanted.since_ms);
        let mut extent = extent;
        loop {
            let (batch, moved) = look(cursor, &extent).await?;
            cursor = moved;
            let more = batch.missed > 0 || !batch.frames.is_empty();
            self.send(batch, &wanted, from, events).await;
            if !wanted.follow && cursor.next >= end {
                return Ok(());
            }
            if !more && self.extent.changed().await.is_err() {
                return Ok(());
            }
            extent = self.extent.borrow_and_update().clone();
        }
    }

    /// The number of the first of the last lines that were asked for.
    async fn tail_start(&self, wanted: &Wanted, extent: &Extent) -> Result<u64, RingError> {
        let mut cursor = Cursor::since(extent, wanted.since_ms);
        let mut last = VecDeque::with_capacity(wanted.tail.min(EVENTS_MAX));
        while cursor.next < extent.next {
            let (batch, moved) = look(cursor, extent).await?;
            if moved == cursor {
                break;
            }
            cursor = moved;
            for (number, frame) in &batch.frames {
                if matches!(&frame.kind, Some(log_frame::Kind::Record(_))) && wanted.wants(frame) {
                    if last.len() == wanted.tail {
                        last.pop_front();
                    }
                    last.push_back(*number);
                }
            }
        }
        Ok(last.front().copied().unwrap_or(extent.next))
    }

    async fn send(&self, batch: Batch, wanted: &Wanted, from: u64, events: &Events) {
        if batch.missed > 0 {
            let reason = "the reader was slower than the log; lines of all functions are counted".to_owned();
            let gap = LogGap { node: self.node.get(), reason, dropped: batch.missed };
            let _ = events.send(Ok(LogsEvent { kind: Some(logs_event::Kind::Gap(gap)) })).await;
        }
        for (number, frame) in batch.frames {
            if number >= from && wanted.wants(&frame) {
                let kind = frame.kind.map(|kind| self.event(kind));
                // Whoever left is noticed by `serve`.
                let _ = events.send(Ok(LogsEvent { kind })).await;
            }
        }
    }

    fn event(&self, kind: log_frame::Kind) -> logs_event::Kind {
        match kind {
            log_frame::Kind::Record(record) => logs_event::Kind::Record(record),
            log_frame::Kind::Dropped(gap) => logs_event::Kind::Gap(LogGap {
                node: self.node.get(),
                reason: gap.reason,
                dropped: gap.dropped,
            }),
        }
    }
}

impl Wanted {
    fn wants(&self, frame: &LogFrame) -> bool {
        let (namespace, name, time_ms) = match &frame.kind {
            Some(log_frame::Kind::Record(record)) => (&record.namespace, &record.name, record.time_ms),
            Some(log_frame::Kind::Dropped(gap)) => (&gap.namespace, &gap.name, gap.time_ms),
            None => return false,
        };
        time_ms >= self.since_ms
            && name == self.function.name.as_str()
            && namespace == self.function.namespace.as_str()
    }
}

/// Reads on where it holds up nothing else.
async fn look(mut cursor: Cursor, extent: &Extent) -> Result<(Batch, Cursor), RingError> {
    let extent = extent.clone();
    let read = tokio::task::spawn_blocking(move || cursor.read(&extent).map(|batch| (batch, cursor))).await;
    // A lost task means that the process is ending.
    read.unwrap_or_else(|_| Ok((Batch::default(), cursor)))
}
