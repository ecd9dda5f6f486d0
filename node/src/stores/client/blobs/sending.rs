//! Content on its way in: what is small stays here until it is committed, the rest goes to the stores as it comes.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use coracle_proto::status::{Code, Refusal};
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::fan::{Fan, PIECE_BYTES};
use super::{Begin, BlobClient};
use crate::blobs::{At, BLOB_BYTES_MAX, Content, Finished, INLINE_BYTES_MAX, Part, Upload, UploadId, hex};
use crate::clock;
use crate::stores::wire::blob::upload_to_wire;

/// A question about an upload in the middle of it.
const ASK_MAX: Duration = Duration::from_secs(10);
/// What an upload has where nothing else is said.
const TIME: Duration = Duration::from_secs(600);

/// One blob's content, or one part's, on its way.
#[derive(Debug)]
pub struct Sending {
    client: BlobClient,
    at: At,
    begin: Begin,
    part: u32,
    /// None: as long as all of it may stay here.
    way: Option<Way>,
    small: BytesMut,
    /// So much of it may stay here.
    inline_max: usize,
    bytes: u64,
    digest: Sha256,
}

#[derive(Debug)]
struct Way {
    upload: UploadId,
    run: u64,
    fan: Fan,
    /// Of an upload that is this content's own.
    renew_at: Option<Instant>,
    /// It is given up when this is dropped.
    own: bool,
}

impl BlobClient {
    /// Begins to send a blob's content. An upload is opened when it is too much to be kept in the record, or known to be.
    #[must_use]
    pub fn send(&self, at: &At, begin: Begin) -> Sending {
        let (client, at, small, digest) = (self.clone(), at.clone(), BytesMut::new(), Sha256::new());
        let inline_max = INLINE_BYTES_MAX;
        Sending { client, at, begin, part: 1, way: None, small, inline_max, bytes: 0, digest }
    }

    /// Begins to send a part of an upload that was opened before.
    ///
    /// # Errors
    /// `no-store`.
    pub fn send_part(&self, at: &At, upload: UploadId, part: u32) -> Result<Sending, Refusal> {
        let mut sending = self.send(at, Begin::default());
        sending.way = Some(Way::new(self, at, upload, None)?);
        sending.part = part;
        Ok(sending)
    }

    /// Tells the stores that an upload comes to nothing, whoever waits for that. Without this word it ends by its time.
    pub fn give_up(&self, at: &At, upload: UploadId) {
        let (client, at) = (self.clone(), at.clone());
        let abort = async move {
            if let Err(refusal) = client.abort(&at, upload, clock::now() + ASK_MAX).await {
                tracing::debug!(%refusal, "an upload was not given up, and ends by its time");
            }
        };
        self.stores.inner.channels.threads().spawn(abort.in_current_span());
    }
}

impl Way {
    /// To the stores; `renew_at` is none for an upload that lasts by itself.
    fn new(
        client: &BlobClient,
        at: &At,
        upload: UploadId,
        renew_at: Option<Instant>,
    ) -> Result<Self, Refusal> {
        let group = client.stores.group_of(&at.bucket.namespace)?;
        let run = rand::random();
        let fan = Fan::new(client.stores.clone(), group, upload_to_wire(upload), run);
        Ok(Self { upload, run, fan, renew_at, own: renew_at.is_some() })
    }
}

impl Sending {
    /// The same, of which less stays here.
    #[must_use]
    pub fn with_inline_max(mut self, bytes: usize) -> Self {
        self.inline_max = bytes.min(INLINE_BYTES_MAX);
        self
    }

    /// Opens the upload now: from then on nothing stays here, and what has come goes on to the stores.
    ///
    /// # Errors
    /// As [`BlobClient::begin`]; why no majority has kept what came.
    pub async fn open(&mut self) -> Result<(), Refusal> {
        if self.way.is_none() {
            let (begin, deadline) = (self.begin.clone(), clock::now() + ASK_MAX);
            let upload = self.client.begin(&self.at, begin, deadline).await?;
            self.client = self.client.admitted();
            let renew_at = clock::now() + self.time() / 3;
            let way = self.way.insert(Way::new(&self.client, &self.at, upload, Some(renew_at))?);
            way.fan.write(&std::mem::take(&mut self.small)).await?;
        }
        Ok(())
    }

    /// Whether there is an upload: then whoever sends was let in.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.way.is_some()
    }

    /// How much has come.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of what has come.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// More of it. Waits while the stores are slow.
    ///
    /// # Errors
    /// `request-too-large`; `disk-full`; why no majority has kept it.
    pub async fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        if self.bytes.saturating_add(data.len() as u64) > BLOB_BYTES_MAX {
            let said = format!("a blob has at most {BLOB_BYTES_MAX} bytes");
            return Err(Refusal::new(Code::RequestTooLarge, said));
        }
        for data in data.chunks(PIECE_BYTES) {
            self.digest.update(data);
            self.bytes += data.len() as u64;
            if self.way.is_none() && self.small.len() + data.len() <= self.inline_max {
                self.small.extend_from_slice(data);
                continue;
            }
            Box::pin(self.open()).await?;
            self.renew().await?;
            if let Some(way) = &mut self.way {
                way.fan.write(data).await?;
            }
        }
        Ok(())
    }

    /// All of it has come: a majority has synced it.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn end(mut self) -> Result<(Content, Part), Refusal> {
        let digest = Bytes::copy_from_slice(&std::mem::take(&mut self.digest).finalize());
        let (number, bytes) = (self.part, self.bytes);
        // What was opened for nothing is given up: an upload has no part without a byte that is known by its size.
        let Some(way) = self.way.as_mut().filter(|way| bytes > 0 || !way.own) else {
            let part = Part { number, run: 0, bytes, digest };
            return Ok((Content::Inline(std::mem::take(&mut self.small).freeze()), part));
        };
        way.fan.finish().await?;
        way.own = false;
        let part = Part { number, run: way.run, bytes, digest };
        Ok((Content::Parts { upload: way.upload, parts: vec![part.clone()] }, part))
    }

    const fn time(&self) -> Duration {
        if self.begin.time.is_zero() { TIME } else { self.begin.time }
    }

    /// Tells that it goes on, when a third of its time is over. What cannot be told now is told a little later.
    async fn renew(&mut self) -> Result<(), Refusal> {
        let (now, time) = (clock::now(), self.time());
        let due = |way: &&mut Way| way.renew_at.is_some_and(|at| at <= now);
        let Some(way) = self.way.as_mut().filter(due) else { return Ok(()) };
        let renewed = Box::pin(self.client.renew(&self.at, way.upload, now + ASK_MAX)).await;
        let after = match renewed {
            Ok(()) => time / 3,
            Err(refusal) if refusal.code == Code::UploadNotFound => return Err(refusal),
            Err(refusal) => {
                tracing::debug!(%refusal, "an upload could not be renewed, and is again");
                time / 9
            }
        };
        way.renew_at = Some(clock::now() + after);
        Ok(())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Some(Way { upload, own: true, .. }) = self.way.take() else { return };
        self.client.give_up(&self.at, upload);
    }
}

impl Upload for Sending {
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move { self.push(&data).await })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Finished, Refusal>> {
        Box::pin(async move {
            let (content, part) = self.end().await?;
            Ok(Finished { content, bytes: part.bytes, etag: hex(&part.digest) })
        })
    }
}
