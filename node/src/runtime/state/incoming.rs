//! A blob's content as a stream of a guest's.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::status::Refusal;
use futures::StreamExt as _;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

use crate::blobs::Pieces;
use crate::runtime::call::CallContext;

/// What is read of a blob.
pub(super) struct Incoming {
    pieces: Pieces,
    /// What has come and was not taken.
    piece: Bytes,
    /// How it ended.
    end: Option<Result<(), Refusal>>,
    /// Who reads it.
    invocation: Arc<CallContext>,
    _open: Arc<()>,
}

impl Incoming {
    pub(super) const fn new(pieces: Pieces, invocation: Arc<CallContext>, open: Arc<()>) -> Self {
        Self { pieces, piece: Bytes::new(), end: None, invocation, _open: open }
    }
}

impl InputStream for Incoming {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.piece.is_empty() {
            match self.end.take() {
                None => return Ok(Bytes::new()),
                Some(Err(refusal)) => {
                    self.end = Some(Ok(()));
                    return Err(StreamError::LastOperationFailed(wasmtime::Error::msg(said(&refusal))));
                }
                Some(Ok(())) => {
                    self.end = Some(Ok(()));
                    return Err(StreamError::Closed);
                }
            }
        }
        Ok(self.piece.split_to(size.min(self.piece.len())))
    }
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        while self.piece.is_empty() && self.end.is_none() {
            match self.pieces.next().await {
                Some(Ok(piece)) => {
                    self.invocation.account.read_blob(piece.len());
                    self.piece = piece;
                }
                Some(Err(refusal)) => self.end = Some(Err(refusal)),
                None => self.end = Some(Ok(())),
            }
        }
    }
}

/// As the interface tells it.
pub(super) fn said(Refusal { code, message }: &Refusal) -> String {
    format!("{code}: {message}")
}
