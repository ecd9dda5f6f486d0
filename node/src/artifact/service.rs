//! The gRPC service of artifacts, at 7402.

use std::pin::Pin;
use std::sync::Arc;

use coracle_proto::attr;
use coracle_proto::codec::InField as _;
use coracle_proto::id::Digest;
use coracle_proto::pb::artifacts_server::{Artifacts, ArtifactsServer};
use coracle_proto::pb::{
    self, CopyReply, GetChunk, GetRequest, StatReply, StatRequest, UploadChunk, UploadEvent,
};
use coracle_proto::trace;
use tokio::io::AsyncSeekExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::transfer::{CHUNK_BYTES, MESSAGE_BYTES_MAX};
use super::upload::{Progress, Uploads};
use super::{ArtifactError, Store};
use crate::clock;

/// Steps that may wait for a slow reader; an upload has five.
const EVENTS_MAX: usize = 8;

/// Answers for one node's artifacts.
#[derive(Debug, Clone)]
pub struct ArtifactService {
    uploads: Arc<Uploads>,
    store: Arc<Store>,
}

impl ArtifactService {
    /// The service, with its limits, for a server.
    #[must_use]
    pub fn server(uploads: Arc<Uploads>) -> ArtifactsServer<Self> {
        let store = Arc::clone(&uploads.store);
        ArtifactsServer::new(Self { uploads, store })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

type Chunks = Pin<Box<dyn Stream<Item = Result<GetChunk, Status>> + Send>>;

#[tonic::async_trait]
impl Artifacts for ArtifactService {
    type PutStream = ReceiverStream<Result<UploadEvent, Status>>;
    type GetStream = Chunks;

    async fn put(
        &self,
        request: Request<Streaming<UploadChunk>>,
    ) -> Result<Response<Self::PutStream>, Status> {
        let span = tracing::info_span!("deploy", coracle.service = attr::SERVICE_WORKER);
        trace::join_from_metadata(&span, request.metadata());
        let (events, answer) = mpsc::channel(EVENTS_MAX);
        let uploads = Arc::clone(&self.uploads);
        let mut chunks = request.into_inner();
        let upload = async move {
            let progress = Progress { events: events.clone(), started: clock::now() };
            tokio::select! {
                // The user left: dropping the upload removes what came and ends the compilation.
                () = events.closed() => {}
                result = uploads.put(&mut chunks, &progress) => {
                    if let Err(refusal) = result {
                        tracing::info!(code = %refusal.code, "upload refused: {refusal}");
                        let _ = events.send(Err(refusal.into())).await;
                    }
                }
            }
        };
        tokio::spawn(upload.instrument(span));
        Ok(Response::new(ReceiverStream::new(answer)))
    }

    async fn copy(&self, request: Request<Streaming<UploadChunk>>) -> Result<Response<CopyReply>, Status> {
        let existed = self.uploads.copy(&mut request.into_inner()).await?;
        Ok(Response::new(CopyReply { existed }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Chunks>, Status> {
        let GetRequest { digest, offset } = request.into_inner();
        let digest = Digest::try_from(&digest[..]).in_field("digest")?;
        let held = self.store.get(&digest).ok_or(ArtifactError::Missing { digest })?;
        let path = self.store.path(&digest);
        let opened = async {
            let mut file = tokio::fs::File::open(&path).await?;
            file.seek(std::io::SeekFrom::Start(offset)).await?;
            Ok(file)
        };
        let file = opened.await.map_err(ArtifactError::io(&path))?;
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(move |data| match data {
            Ok(data) => Ok(GetChunk { data, size: held.size }),
            Err(error) => Err(ArtifactError::io(&path)(error).into()),
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        let StatRequest { digest, renew } = request.into_inner();
        let digest = Digest::try_from(&digest[..]).in_field("digest")?;
        let held = if renew { self.uploads.renew(digest).await? } else { self.store.get(&digest) };
        let Some(held) = held else { return Ok(Response::new(StatReply::default())) };
        // Unspecified for what was not checked in this process: that would mean to read all of it.
        let kind = self.uploads.known_kind(&digest).map_or(pb::Kind::Unspecified, pb::Kind::from);
        Ok(Response::new(StatReply { held: true, size: held.size, kind: kind.into() }))
    }
}
