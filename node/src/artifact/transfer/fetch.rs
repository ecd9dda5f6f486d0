//! Getting an artifact from whoever holds it: sources in turn, resumed where the last one stopped, verified.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::Digest;
use coracle_proto::pb::{GetChunk, GetRequest};
use coracle_proto::status::Refusal;
use coracle_proto::trace;
use thiserror::Error;
use tokio::time::timeout;
use tonic::Streaming;

use super::peer::connect;
use crate::artifact::locks::Locks;
use crate::artifact::metrics::Outcome;
use crate::artifact::{ArtifactError, ArtifactMetrics, OnDisk, Receiving, Store, blocking};

/// A source that sends nothing for so long is given up; the next one goes on where it stopped.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// Why no source gave the artifact.
#[derive(Debug, Error)]
pub enum FetchError {
    /// This node's own disk.
    #[error(transparent)]
    Local(#[from] ArtifactError),
    /// Nobody to ask.
    #[error("no other worker is known to fetch {0} from")]
    NoSource(Digest),
    /// Each source, and what it said.
    #[error("nobody gave {digest}: {}", reasons.join("; "))]
    Sources {
        /// What was wanted.
        digest: Digest,
        /// `ADDRESS: reason`, in the order of the attempts.
        reasons: Vec<String>,
    },
}

/// Fetches artifacts into the store.
#[derive(Debug, Clone)]
pub struct Fetcher {
    store: Arc<Store>,
    locks: Locks,
    metrics: ArtifactMetrics,
}

/// What has come so far, and from how many sources.
#[derive(Default)]
struct Partial {
    incoming: Option<Receiving>,
    sources: usize,
}

/// Whose fault it was.
enum PullError {
    Source(String),
    Local(ArtifactError),
}

/// What is known after some sources were asked.
struct Round<'a> {
    reasons: Vec<String>,
    /// Each gave all the bytes, and they were wrong.
    liars: Vec<&'a String>,
    /// Bytes of several were put together and were wrong.
    mixed: bool,
}

impl From<ArtifactError> for PullError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::TooLarge { .. }
            | ArtifactError::Truncated { .. }
            | ArtifactError::Mismatch { .. } => Self::Source(error.to_string()),
            ArtifactError::Missing { .. }
            | ArtifactError::DiskFull { .. }
            | ArtifactError::Io { .. }
            | ArtifactError::Stopped => Self::Local(error),
        }
    }
}

impl Fetcher {
    pub(in crate::artifact) const fn new(store: Arc<Store>, locks: Locks, metrics: ArtifactMetrics) -> Self {
        Self { store, locks, metrics }
    }

    /// Gets an artifact from the first of the sources (`HOST:PORT`) that gives it. At most one transfer of a digest runs
    /// at a time; one that is here is only looked up.
    ///
    /// # Errors
    /// When no source gives it, or this node cannot store it.
    #[tracing::instrument(name = "artifact.fetch", skip_all, err(level = "debug"),
        fields(coracle.service = attr::SERVICE_WORKER, coracle.digest = %digest))]
    pub async fn fetch(&self, digest: Digest, sources: &[String]) -> Result<OnDisk, FetchError> {
        let _turn = self.locks.turn(digest).await;
        if let Some(held) = self.store.get(&digest) {
            return Ok(held);
        }
        let result = self.ask_all(digest, sources).await;
        self.metrics.fetches.get_or_create(&Outcome::of(&result)).inc();
        if let Ok(held) = &result {
            self.metrics.fetched_bytes.inc_by(held.size);
        }
        result
    }

    async fn ask_all(&self, digest: Digest, sources: &[String]) -> Result<OnDisk, FetchError> {
        if sources.is_empty() {
            return Err(FetchError::NoSource(digest));
        }
        let mut round = Round { reasons: Vec::new(), liars: Vec::new(), mixed: false };
        if let Some(held) = self.round(digest, sources, true, &mut round).await? {
            return Ok(held);
        }
        // Bytes put together from several sources were wrong, and nothing tells whose: now all from one.
        if round.mixed
            && let Some(held) = self.round(digest, sources, false, &mut round).await?
        {
            return Ok(held);
        }
        Err(FetchError::Sources { digest, reasons: round.reasons })
    }

    /// Goes through the sources once; with `resume` one goes on where the one before it stopped.
    async fn round<'a>(
        &self,
        digest: Digest,
        sources: &'a [String],
        resume: bool,
        round: &mut Round<'a>,
    ) -> Result<Option<OnDisk>, ArtifactError> {
        let mut partial = Partial::default();
        for source in sources {
            if round.liars.contains(&source) {
                continue;
            }
            if !resume {
                partial = Partial::default();
            }
            match self.pull(digest, source, &mut partial).await {
                Ok(held) => return Ok(Some(held)),
                Err(PullError::Local(error)) => return Err(error),
                Err(PullError::Source(reason)) => round.reasons.push(format!("{source}: {reason}")),
            }
            // All bytes came and were wrong.
            if partial.incoming.is_none() && partial.sources > 0 {
                match partial.sources {
                    1 => round.liars.push(source),
                    _ => round.mixed = true,
                }
                partial = Partial::default();
            }
        }
        Ok(None)
    }

    /// Takes what is missing from one source; stores the artifact when that was all.
    async fn pull(&self, digest: Digest, source: &str, partial: &mut Partial) -> Result<OnDisk, PullError> {
        let offset = partial.incoming.as_ref().map_or(0, Receiving::received);
        let mut chunks = open(digest, source, offset).await.map_err(PullError::Source)?;
        let mut first = true;
        while let Some(chunk) = next(&mut chunks).await.map_err(PullError::Source)? {
            if std::mem::take(&mut first) {
                partial.sources += 1;
            }
            let incoming = match &mut partial.incoming {
                Some(incoming) => incoming,
                empty => empty.insert(self.begin(digest, chunk.size).await?),
            };
            if let Err(error) = incoming.write(chunk.data).await {
                partial.incoming = None;
                return Err(error.into());
            }
        }
        match partial.incoming.take() {
            Some(incoming) if incoming.is_complete() => {
                Ok(incoming.seal().await?.commit(self.store.now_ms()).await?)
            }
            Some(incoming) => {
                let reason = format!("ended after {} bytes", incoming.received());
                partial.incoming = Some(incoming);
                Err(PullError::Source(reason))
            }
            None => Err(PullError::Source("sent nothing".to_owned())),
        }
    }

    async fn begin(&self, digest: Digest, size: u64) -> Result<Receiving, ArtifactError> {
        let store = Arc::clone(&self.store);
        blocking(move || store.begin(digest, size)).await
    }
}

/// The next chunk; an error is what to say of the source.
async fn next(chunks: &mut Streaming<GetChunk>) -> Result<Option<GetChunk>, String> {
    let next = timeout(CHUNK_TIMEOUT, chunks.message()).await;
    let next = next.map_err(|_| format!("silent for {} s", CHUNK_TIMEOUT.as_secs()))?;
    next.map_err(|status| status.message().to_owned())
}

/// Asks a source for the bytes from `offset` on.
async fn open(digest: Digest, source: &str, offset: u64) -> Result<Streaming<GetChunk>, String> {
    let mut client = connect(source).await.map_err(|_| "cannot be reached".to_owned())?;
    let request = trace::request(GetRequest { digest: digest.to_wire(), offset });
    let answer = timeout(CHUNK_TIMEOUT, client.get(request)).await;
    let answer = answer.map_err(|_| format!("silent for {} s", CHUNK_TIMEOUT.as_secs()))?;
    Ok(answer.map_err(|status| Refusal::from_status(&status).message)?.into_inner())
}
