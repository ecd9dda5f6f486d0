//! Reads a request's body before its call is sent: who sends slowly keeps nobody waiting, for no place is taken yet.

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use coracle_proto::record::{Kind, Version};
use coracle_proto::spec::{BUFFERED_BODY_MAX, Limits};
use coracle_proto::status::Code;
use prometheus_client::metrics::gauge::Gauge;

use super::Inner;
use super::replay::{KEPT_BYTES_MAX, Read, Replay};
use crate::call::CallError;
use crate::clock;

/// What one frame of a body may have beyond what was asked for: hyper reads as much at once.
const PIECE_BYTES: usize = KEPT_BYTES_MAX;

/// Counts while it lives: whoever waits may be dropped.
struct Awaited<'a>(&'a Gauge);

impl<'a> Awaited<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The reading of one body.
pub(super) struct Gathering<'a> {
    front: &'a Inner,
    body: &'a Replay,
    caller: IpAddr,
    timeout: Duration,
    /// Between two pieces: the gateway's own, and the function's.
    piece_timeout: Duration,
    idle_timeout: Duration,
}

impl<'a> Gathering<'a> {
    /// Of the body of a call that this version will take.
    pub(super) fn new(front: &'a Inner, body: &'a Replay, caller: IpAddr, version: &Version) -> Self {
        let Limits { timeout, idle_timeout, .. } = version.spec.limits();
        Self { front, body, caller, timeout, idle_timeout, piece_timeout: front.options.body_timeout }
    }

    /// Reads what is to be read first: a body of known length that is kept for another attempt in any case, and that of a
    /// command, which is buffered wherever it is read. Others stream, for a function may answer before it has all.
    pub(super) async fn run(self, kind: Kind) -> Result<(), CallError> {
        // Where too many are read already it streams, as a long one does.
        if self.is_wanted(kind)
            && let Ok(_place) = self.front.gathering.take(self.caller, 1)
        {
            let _awaited = Awaited::new(&self.front.metrics.bodies);
            self.read().await?;
        }
        Ok(())
    }

    fn is_wanted(&self, kind: Kind) -> bool {
        let Some(hint) = self.body.shared().map(|shared| shared.hint()) else { return false };
        match kind {
            Kind::HttpComponent | Kind::EventComponent => {
                hint.exact().is_some_and(|bytes| bytes <= KEPT_BYTES_MAX as u64)
            }
            // What is larger is refused by who runs it.
            Kind::CommandModule | Kind::CommandComponent => hint.lower() <= BUFFERED_BODY_MAX as u64,
        }
    }

    async fn read(&self) -> Result<(), CallError> {
        let begun = clock::now();
        while self.has_room() {
            let left = self.timeout.saturating_sub(clock::now().saturating_duration_since(begun));
            let patience = left.min(self.piece_timeout).min(self.idle_timeout);
            let piece = poll_fn(|context| match self.body.shared() {
                Some(mut shared) => shared.poll_more(context),
                None => Poll::Ready(Ok(Read::End)),
            });
            match tokio::time::timeout(patience, piece).await {
                Ok(Ok(Read::Piece)) => {}
                Ok(Ok(Read::End)) => break,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(self.late(patience)),
            }
        }
        Ok(())
    }

    /// Whether the next piece can be kept. Where all room is taken the rest streams: its call waits for it, as a long one does.
    fn has_room(&self) -> bool {
        let Some(mut shared) = self.body.shared() else { return false };
        let (kept, max) = shared.kept();
        let whole = shared.hint().upper().is_some_and(|bytes| bytes <= max as u64);
        if whole || kept.saturating_add(PIECE_BYTES) <= max {
            return true;
        }
        let left = (BUFFERED_BODY_MAX + PIECE_BYTES).saturating_sub(max);
        // Twice as much each time, or what is known to come.
        let known = shared.hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let more = known.map_or_else(|| max.max(PIECE_BYTES), |bytes| bytes.saturating_sub(max)).min(left);
        match self.front.bodies.take(self.caller, more) {
            Ok(room) if more > 0 => {
                shared.keep_more(more, room);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Nothing came for so long, which is the least of the three.
    fn late(&self, patience: Duration) -> CallError {
        let bytes = self.body.shared().map_or(0, |shared| shared.kept().0);
        let caller = self.caller;
        if patience == self.idle_timeout {
            let said = format!(
                "'{caller}' sent nothing of the request's body for {} ms, the function's 'idle-timeout', after {bytes} \
                 bytes; nothing was run",
                patience.as_millis()
            );
            return CallError::new(Code::IdleTimeout, said);
        }
        let said = if patience < self.piece_timeout {
            format!(
                "the request's body did not come within {} ms, the function's 'timeout': '{caller}' sent {bytes} bytes \
                 of it; nothing was run",
                self.timeout.as_millis()
            )
        } else {
            format!(
                "'{caller}' sent nothing of the request's body for {} ms, after {bytes} bytes; nothing was run",
                self.piece_timeout.as_millis()
            )
        };
        CallError::new(Code::RequestTimeout, said)
    }
}
