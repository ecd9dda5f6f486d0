//! What blobs are made of, in the store that keeps it in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coracle_proto::pb;
use coracle_proto::pb::chunks_server::Chunks;
use coracle_proto::status::{Code, Refusal};
use futures::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status, Streaming};

use super::served::Served;

/// Bytes of a piece that it sends.
const PIECE_BYTES: usize = 64 << 10;

/// Its chunks, and how it behaves with them.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// By upload, run and number.
    pub(crate) chunks: BTreeMap<(Bytes, u64, u32), Bytes>,
    /// What came in, and what went out.
    pub(crate) taken: u64,
    pub(crate) given: u64,
    /// Chunks that were asked for here.
    pub(crate) gets: u32,
    /// Takes no byte more, and sends none.
    pub(crate) stalls: bool,
    /// Refuses whatever is put.
    pub(crate) refuses: Option<Code>,
    /// Has no place for so many more chunks.
    pub(crate) full_for: u32,
    /// Takes a piece, and rests for so long.
    pub(crate) slow: Duration,
    /// Neither takes nor gives when so much has come in or gone out.
    pub(crate) breaks_after: Option<u64>,
}

impl Served {
    /// Waits while the store stalls; fails where it is broken.
    async fn goes_on(&self) -> Result<(), Status> {
        loop {
            let stalls = {
                let kept = &self.state().kept;
                if kept.breaks_after.is_some_and(|bytes| kept.taken + kept.given >= bytes) {
                    return Err(Status::unavailable("the store is gone"));
                }
                kept.stalls
            };
            if !stalls {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await; // a bounded poll
        }
    }

    async fn piece(self, chunk: Bytes) -> Result<Option<(pb::ChunkData, (Self, Bytes))>, Status> {
        if chunk.is_empty() {
            return Ok(None);
        }
        self.goes_on().await?;
        let mut rest = chunk;
        let data = rest.split_to(rest.len().min(PIECE_BYTES));
        self.state().kept.given += data.len() as u64;
        Ok(Some((pb::ChunkData { data, ..pb::ChunkData::default() }, (self, rest))))
    }
}

fn key(name: pb::ChunkName) -> (Bytes, u64, u32) {
    (name.upload, name.run, name.number)
}

#[tonic::async_trait]
impl Chunks for Served {
    type GetStream = BoxStream<'static, Result<pb::ChunkData, Status>>;

    async fn put(
        &self,
        request: Request<Streaming<pb::ChunkPiece>>,
    ) -> Result<Response<pb::ChunkPutReply>, Status> {
        if let Some(code) = self.state().kept.refuses {
            return Err(Refusal::new(code, "no").into());
        }
        self.goes_on().await?;
        {
            let kept = &mut self.state().kept;
            if kept.full_for > 0 {
                kept.full_for -= 1;
                return Err(Refusal::new(Code::Overloaded, "there is no place for a chunk").into());
            }
        }
        let (mut pieces, mut chunk, mut name) = (request.into_inner(), BytesMut::new(), None);
        let mut digest = Bytes::new();
        loop {
            self.goes_on().await?;
            let Some(piece) = pieces.message().await? else { break };
            let ordered = digest.is_empty() && name.is_none() == piece.name.is_some();
            if !ordered || piece.data.len() > 256 << 10 {
                return Err(Refusal::new(Code::InvalidArgument, "a piece is not as it has to be").into());
            }
            name = name.or(piece.name);
            self.state().kept.taken += piece.data.len() as u64;
            chunk.extend_from_slice(&piece.data);
            let slow = self.state().kept.slow;
            if !slow.is_zero() {
                tokio::time::sleep(slow).await; // a bounded poll: as a slow disk would
            }
            digest = piece.digest;
        }
        if Sha256::digest(&chunk)[..] != digest {
            return Err(Refusal::new(Code::DigestMismatch, "the chunk is damaged").into());
        }
        let bytes = chunk.len() as u64;
        let chunks = &mut self.state().kept.chunks;
        // Those that are alike lie there once.
        let same = chunks.values().find(|it| **it == chunk).cloned();
        chunks.insert(key(name.unwrap()), same.unwrap_or_else(|| chunk.freeze()));
        Ok(Response::new(pb::ChunkPutReply { bytes }))
    }

    async fn get(&self, request: Request<pb::ChunkGetRequest>) -> Result<Response<Self::GetStream>, Status> {
        self.goes_on().await?;
        let request = request.into_inner();
        let chunk = {
            let kept = &mut self.state().kept;
            kept.gets += 1;
            kept.chunks.get(&key(request.name.unwrap())).cloned()
        };
        let none = || Refusal::new(Code::BlobNotFound, "this store does not have the chunk");
        let mut chunk = chunk.ok_or_else(none)?.slice(request.offset as usize..);
        if request.bytes > 0 {
            chunk.truncate(request.bytes as usize);
        }
        let begin = (self.clone(), chunk);
        Ok(Response::new(Box::pin(futures::stream::try_unfold(begin, |(served, chunk)| served.piece(chunk)))))
    }
}
