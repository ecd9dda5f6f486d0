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
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::outgoing::outgoing;
use super::transfer::MESSAGE_BYTES_MAX;
use super::upload::{Progress, Uploads};
use super::{Store, Wants};
use crate::clock;

/// Steps that may wait for a slow reader; an upload has five, and tells once a second how it is.
const EVENTS_MAX: usize = 8;

/// Artifacts that are sent at once: each reads the disk and holds a chunk or two in memory. A node that is refused asks
/// another holder, or again after its pause.
const GETS_MAX: usize = 64;

/// Answers for one node's artifacts.
#[derive(Debug, Clone)]
pub struct ArtifactService {
    uploads: Arc<Uploads>,
    store: Arc<Store>,
    gets: Arc<Semaphore>,
}

impl ArtifactService {
    /// The service, with its limits, for a server.
    #[must_use]
    pub fn server(uploads: Arc<Uploads>) -> ArtifactsServer<Self> {
        let store = Arc::clone(&uploads.store);
        let gets = Arc::new(Semaphore::new(GETS_MAX));
        ArtifactsServer::new(Self { uploads, store, gets })
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
        let full = || Refusal::new(Code::Overloaded, format!("it sends {GETS_MAX} artifacts already"));
        let place = Arc::clone(&self.gets).try_acquire_owned().map_err(|_| full())?;
        let (held, chunks) = outgoing(&self.store, digest, offset).await?;
        let chunks = chunks.map(move |data| {
            let _until_the_end = &place;
            Ok(GetChunk { data: data?, size: held.size })
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        let StatRequest { digest, renew } = request.into_inner();
        let compile_bytes = self.uploads.turns.work();
        if digest.is_empty() {
            return Ok(Response::new(StatReply { compile_bytes, ..StatReply::default() }));
        }
        let digest = Digest::try_from(&digest[..]).in_field("digest")?;
        let held = if renew { self.uploads.renew(digest).await? } else { self.store.get(&digest) };
        let Some(held) = held else {
            return Ok(Response::new(StatReply { compile_bytes, ..StatReply::default() }));
        };
        // Unspecified for what was not checked in this process: that would mean to read all of it.
        let checked = self.uploads.known(&digest);
        let kind = checked.map_or(pb::Kind::Unspecified, |checked| checked.kind.into());
        let memory_min = checked.map_or(0, |checked| checked.memory_min);
        let listens = checked.and_then(|checked| checked.listens).unwrap_or_default().to_owned();
        let Wants { keyvalue: wants_keyvalue, blobs: wants_blobs } =
            checked.map(|it| it.wants).unwrap_or_default();
        Ok(Response::new(StatReply {
            held: true,
            size: held.size,
            kind: kind.into(),
            memory_min,
            listens,
            wants_keyvalue,
            wants_blobs,
            compile_bytes,
        }))
    }
}
