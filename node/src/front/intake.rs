//! A body that is read whole before anything is done with it, because it is kept.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coracle_proto::status::Code;
use http_body_util::BodyExt as _;

use super::Inner;
use super::replay::{KEPT_BYTES_MAX, Replay};
use super::shares::Share;
use crate::call::CallError;
use crate::clock;
use crate::dispatch::Payload as _;

/// What a body may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Whose it is, for people: `the body of ...`.
    pub(super) what: &'static str,
    pub(super) bytes_max: usize,
    /// All of it is here within this.
    pub(super) limit: Duration,
}

/// All of a body.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) data: Bytes,
    /// For what is over [`KEPT_BYTES_MAX`] of it, until it is dropped.
    _room: Option<Share>,
}

impl Inner {
    /// Reads the whole body.
    pub(super) async fn take_in(
        &self,
        body: &Replay,
        caller: IpAddr,
        bounds: Bounds,
    ) -> Result<Taken, CallError> {
        if body.is_empty() {
            return Ok(Taken { data: Bytes::new(), _room: None });
        }
        let Bounds { what, bytes_max, limit } = bounds;
        let too_large = || {
            let said = format!("{what} has at most {bytes_max} bytes; nothing was accepted");
            CallError::new(Code::RequestTooLarge, said)
        };
        let hint = body.shared().map(|body| body.hint()).unwrap_or_default();
        if hint.lower() > bytes_max as u64 {
            return Err(too_large());
        }
        let Some(mut pieces) = body.next() else { return Err(too_large()) };
        let many = || CallError::new(Code::Overloaded, "too many bodies are being read at this gateway");
        let _place = self.gathering.take(caller, 1).map_err(|_| many())?;
        let known = hint.upper().and_then(|bytes| usize::try_from(bytes).ok());
        let room = known.map_or(bytes_max, |bytes| bytes.min(bytes_max)).saturating_sub(KEPT_BYTES_MAX);
        let room = (room > 0).then(|| self.bodies.take(caller, room)).transpose().map_err(|_| many())?;
        let (mut data, by) = (BytesMut::new(), clock::now() + limit);
        loop {
            let left = by.saturating_duration_since(clock::now());
            let patience = self.options.body_timeout.min(left);
            let frame = match tokio::time::timeout(patience, pieces.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok(Taken { data: data.freeze(), _room: room }),
                Err(_) => {
                    let said = late(caller, data.len(), self.options.body_timeout, limit, patience == left);
                    return Err(CallError::new(Code::RequestTimeout, said));
                }
            };
            // Trailers are not kept.
            let piece = frame.into_data().unwrap_or_default();
            if data.len().saturating_add(piece.len()) > bytes_max {
                return Err(too_large());
            }
            data.extend_from_slice(&piece);
        }
    }
}

/// That a body was not here in time: not all of it, or nothing more.
fn late(caller: IpAddr, bytes: usize, piece: Duration, limit: Duration, whole: bool) -> String {
    let (piece, limit) = (piece.as_millis(), limit.as_millis());
    if whole {
        return format!(
            "'{caller}' sent {bytes} bytes of the request's body in {limit} ms, and not all; nothing was accepted"
        );
    }
    format!(
        "'{caller}' sent nothing of the request's body for {piece} ms, after {bytes} bytes; nothing was accepted"
    )
}
