//! What blobs hold, chunk by chunk, at any member of the group (docs/adr/0018).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::id::GroupId;
use coracle_proto::pb::chunks_server::Chunks;
use coracle_proto::pb::{ChunkData, ChunkGetRequest, ChunkName as WireName, ChunkPiece, ChunkPutReply};
use coracle_proto::status::{Code, Refusal};
use futures::Stream;
use futures::stream;
use tonic::{Request, Response, Status, Streaming};

use super::leading::unreadable;
use crate::app::Context;
use crate::chunks::{ChunkError, ChunkName, Reading, WRITTEN_WITHIN};
use crate::model::{self, Standing, UploadId};
use crate::replicas::Served;

/// Bytes of a piece.
const PIECE_BYTES_MAX: usize = 256 * 1024;
/// A sender that says nothing for so long has left.
const IDLE: Duration = Duration::from_secs(60);

/// Serves gateways, and other members.
pub(crate) struct ChunksService {
    pub(crate) context: Arc<Context>,
}

impl ChunksService {
    fn named(&self, wire: Option<WireName>) -> Result<(Served, ChunkName), Refusal> {
        let wire = wire.in_field("name")?;
        self.context.check_cluster(&wire.cluster_id)?;
        let upload = UploadId::try_from(&wire.upload[..]).in_field("name.upload")?;
        let name = ChunkName::new(upload, wire.run, wire.number).in_field("name.number")?;
        Ok((self.context.replicas.served(GroupId::new(wire.group))?, name))
    }

    async fn take(&self, mut pieces: Streaming<ChunkPiece>) -> Result<u64, Refusal> {
        let mut piece = next(&mut pieces).await?;
        let (served, name) = self.named(piece.name.take())?;
        let standing = model::standing(&served.replica.state(), name.upload);
        if standing.map_err(|stop| unreadable(&stop))? == Standing::Ended {
            let sentence = format!("upload {} has ended: its chunks belong to nothing", name.upload);
            return Err(Refusal::new(Code::UploadNotFound, sentence));
        }
        let mut receiving = served.chunks.write(name).await?;
        loop {
            let ChunkPiece { data, digest, .. } = piece;
            if data.len() > PIECE_BYTES_MAX {
                let sentence =
                    format!("a piece has {} bytes, and at most {PIECE_BYTES_MAX} are allowed", data.len());
                return Err(Refusal::new(Code::InvalidArgument, sentence));
            }
            receiving.write(data).await?;
            if !digest.is_empty() {
                if receiving.bytes() == 0 {
                    return Err(Refusal::new(Code::InvalidArgument, "a chunk has at least one byte"));
                }
                return Ok(receiving.finish(Some(&digest)).await?);
            }
            piece = next(&mut pieces).await?;
        }
    }
}

#[tonic::async_trait]
impl Chunks for ChunksService {
    async fn put(&self, request: Request<Streaming<ChunkPiece>>) -> Result<Response<ChunkPutReply>, Status> {
        let taken = tokio::time::timeout(WRITTEN_WITHIN, self.take(request.into_inner())).await;
        let bytes = taken.map_err(|_| Refusal::from(ChunkError::Slow { within: WRITTEN_WITHIN }))??;
        Ok(Response::new(ChunkPutReply { bytes }))
    }

    type GetStream = Pin<Box<dyn Stream<Item = Result<ChunkData, Status>> + Send>>;

    async fn get(&self, request: Request<ChunkGetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let ChunkGetRequest { name, offset, bytes } = request.into_inner();
        let (served, name) = self.named(name)?;
        let bytes = (bytes > 0).then_some(u64::from(bytes));
        let is_whole = offset == 0 && bytes.is_none();
        let reading = served.chunks.read(name, offset.into(), bytes).await.map_err(Refusal::from)?;
        let reading = reading.ok_or_else(|| {
            let ChunkName { upload, run, number } = name;
            let sentence =
                format!("this member does not have chunk {number} of run {run:016x} of upload {upload}");
            Refusal::new(Code::BlobNotFound, sentence)
        })?;
        Ok(Response::new(Box::pin(pieces(reading, is_whole))))
    }
}

/// Each is read when the one before it was sent. The first one of a whole chunk says its digest.
fn pieces(reading: Reading, is_whole: bool) -> impl Stream<Item = Result<ChunkData, Status>> + Send {
    let digest = reading.digest().filter(|_| is_whole);
    stream::try_unfold((reading, digest), |(mut reading, digest)| async move {
        match reading.next().await {
            Ok(Some(data)) => {
                let digest = digest.map_or_else(Bytes::new, |it| Bytes::copy_from_slice(&it));
                Ok(Some((ChunkData { data, digest }, (reading, None))))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(Status::from(Refusal::from(error))),
        }
    })
}

async fn next(pieces: &mut Streaming<ChunkPiece>) -> Result<ChunkPiece, Refusal> {
    let piece =
        tokio::time::timeout(IDLE, pieces.message()).await.map_err(|_| ChunkError::Idle { within: IDLE })?;
    let piece = piece.map_err(|status| Refusal::from_status(&status))?;
    piece.ok_or_else(|| {
        let sentence = "the chunk ends without a digest in its last piece: nothing of it is kept";
        Refusal::new(Code::InvalidArgument, sentence)
    })
}
