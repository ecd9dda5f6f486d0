//! An upload from a user: received, checked, compiled, stored, copied; each step is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{Digest, Namespace, NodeId};
use coracle_proto::pb::{self, Step, Stored, UploadChunk, UploadEvent, Working, upload_event};
use coracle_proto::spec::ARTIFACT_SIZE_MAX;
use coracle_proto::status::{Code, Refusal};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::locks::Locks;
use super::metrics::Outcome;
use super::places::{Full, Place, Places};
use super::store::blocking;
use super::transfer::{Second, ensure_second};
use super::{ArtifactError, ArtifactMetrics, Checked, Fetcher, OnDisk, PeerList, Prepare, Sealed, Store};
use crate::clock;
use crate::turns::Turns;
use crate::turns::queue::SMALL_BYTES_MAX;

/// Uploads of users that are taken at once, until they are compiled: each may write 256 MiB.
const UPLOADS_MAX: usize = 8;
/// The same of small ones, beside those: they find a place, and their turn, however many large ones wait.
const SMALL_UPLOADS_MAX: usize = 32;
/// Copies of peers that are taken at once: each may write 256 MiB. A bound of their own, for neither may keep the other
/// out: a burst of uploads here would fail uploads elsewhere, whose second copies come here.
const COPIES_MAX: usize = 8;
/// Checks at once: each holds a whole artifact in memory, and uses one core for a second at most.
const CHECKS_MAX: usize = 1;
/// A sender that sends nothing for so long has left.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// All of an artifact has come by then: the largest one, over a line of 1.2 Mbit/s.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(1800);
/// A sender that was told that its artifact is stored has stopped by then, or sent all of the largest one at 4 MiB a
/// second.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(64);
/// Who does not read what is told for so long is told no more.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes artifacts from users and peers.
#[derive(Debug)]
pub struct Uploads {
    pub(super) node: NodeId,
    pub(super) store: Arc<Store>,
    pub(super) prepare: Arc<dyn Prepare>,
    peers: PeerList,
    locks: Locks,
    uploads: Arc<Places>,
    small_uploads: Arc<Places>,
    copies: Semaphore,
    pub(super) checks: Semaphore,
    pub(super) turns: Turns,
    pub(super) found: Mutex<HashMap<Digest, Checked>>,
    pub(super) metrics: ArtifactMetrics,
}

/// Where the steps of one upload are told.
pub(super) struct Progress {
    pub(super) events: mpsc::Sender<Result<UploadEvent, Status>>,
    pub(super) started: Instant,
}

/// What a sender may still send of an artifact that is stored already, and its place.
struct Rest {
    bytes: u64,
    _place: Place,
}

/// The head of a transfer.
struct Announced {
    digest: Digest,
    size: u64,
    first: UploadChunk,
    namespace: Namespace,
}

impl Progress {
    pub(super) async fn step(&self, name: &str, node: NodeId, detail: String) {
        let elapsed_ms = clock::millis(clock::now().saturating_duration_since(self.started));
        let step = Step { name: name.to_owned(), node: node.get(), detail, elapsed_ms };
        self.send(upload_event::Kind::Step(step)).await;
    }

    /// A compilation waits for so many, or runs, for so long. Whoever does not read is not waited for: it is told again.
    pub(super) fn working(&self, node: NodeId, ahead: u32, elapsed: Duration) {
        let working = Working { node: node.get(), ahead, elapsed_ms: clock::millis(elapsed) };
        let kind = Some(upload_event::Kind::Working(working));
        // Steps, which are told once, find room.
        if self.events.capacity() > self.events.max_capacity() / 2 {
            let _ = self.events.try_send(Ok(UploadEvent { kind }));
        }
    }

    /// Whoever left is noticed by the service, which drops the upload.
    async fn send(&self, kind: upload_event::Kind) {
        let _ = timeout(TELL_TIMEOUT, self.events.send(Ok(UploadEvent { kind: Some(kind) }))).await;
    }
}

impl Uploads {
    /// Stores into `store` on `node`, compiles with `prepare`, copies to `peers`.
    #[must_use]
    pub fn new(
        node: NodeId,
        store: Arc<Store>,
        prepare: Arc<dyn Prepare>,
        peers: PeerList,
        metrics: ArtifactMetrics,
    ) -> Self {
        Self {
            node,
            store,
            prepare,
            peers,
            locks: Locks::default(),
            uploads: Places::new(UPLOADS_MAX),
            small_uploads: Places::new(SMALL_UPLOADS_MAX),
            copies: Semaphore::new(COPIES_MAX),
            checks: Semaphore::new(CHECKS_MAX),
            turns: Turns::default(),
            found: Mutex::default(),
            metrics,
        }
    }

    /// Fetches from peers into the same store, never while an upload of the same digest runs.
    #[must_use]
    pub fn fetcher(&self) -> Fetcher {
        Fetcher::new(Arc::clone(&self.store), self.locks.clone(), self.metrics.clone())
    }

    /// Whoever compiles on this node takes a turn of these.
    #[must_use]
    pub fn turns(&self) -> Turns {
        self.turns.clone()
    }

    /// Takes an upload of a user, up to the second copy.
    ///
    /// # Errors
    /// Whatever was wrong with it, or with this node's or the peers' disks.
    pub(super) async fn put(
        &self,
        chunks: &mut Streaming<UploadChunk>,
        progress: &Progress,
    ) -> Result<(), Refusal> {
        let result = self.try_put(chunks, progress).await;
        self.metrics.uploads.get_or_create(&Outcome::of(&result)).inc();
        match result? {
            // The sender may not have looked yet: what it still sends is let through, so that it reads the answer.
            Some(rest) => drain(chunks, rest).await,
            None => Ok(()),
        }
    }

    async fn try_put(
        &self,
        chunks: &mut Streaming<UploadChunk>,
        progress: &Progress,
    ) -> Result<Option<Rest>, Refusal> {
        let Announced { digest, size, first, namespace } = announced(chunks).await?;
        let place = self.place(&namespace, size)?;
        // From now on others are told that there is something to do here.
        let turn = self.turns.announce(namespace, size);
        let _turn = self.locks.turn(digest).await;
        let renewed = self.stored(digest).await?;
        let (held, checked) = match renewed {
            Some(held) => (held, self.again(digest, turn, progress).await?),
            None => {
                let received = self.receive(digest, size, first, chunks).await;
                let sealed = received.map_err(|refusal| self.at("receive", refusal))?;
                progress.step("received", self.node, format!("{size} bytes")).await;
                let checked = self.accept(&digest, sealed.path(), turn, progress).await?;
                (sealed.commit(self.store.now_ms()).await?, checked)
            }
        };
        let holders = self.second(digest, progress).await.map_err(|refusal| self.at("copy", refusal))?;
        let stored = Stored {
            digest: digest.to_wire(),
            size: held.size,
            kind: pb::Kind::from(checked.kind).into(),
            holders: holders.into_iter().map(NodeId::get).collect(),
            existed: renewed.is_some(),
        };
        progress.send(upload_event::Kind::Stored(stored)).await;
        Ok(renewed.map(|_| Rest { bytes: size, _place: place }))
    }

    /// Takes a copy from a peer, by its hash alone. Returns whether it was here already.
    ///
    /// # Errors
    /// When the bytes are wrong or the disk fails.
    pub(super) async fn copy(&self, chunks: &mut Streaming<UploadChunk>) -> Result<bool, Refusal> {
        let Announced { digest, size, first, .. } = announced(chunks).await?;
        let full = || {
            Refusal::new(Code::Overloaded, format!("node {} takes {COPIES_MAX} copies at once", self.node))
        };
        let _place = self.copies.try_acquire().map_err(|_| full())?;
        let _turn = self.locks.turn(digest).await;
        if self.renew(digest).await?.is_some() {
            return Ok(true);
        }
        self.receive(digest, size, first, chunks).await?.commit(self.store.now_ms()).await?;
        Ok(false)
    }

    /// Begins a stored artifact's grace anew.
    pub(super) async fn renew(&self, digest: Digest) -> Result<Option<OnDisk>, ArtifactError> {
        let store = Arc::clone(&self.store);
        blocking(move || store.renew(&digest, store.now_ms())).await
    }

    /// [`Self::renew`] for an artifact that may be compiled here next: its bytes are checked before that.
    async fn stored(&self, digest: Digest) -> Result<Option<OnDisk>, ArtifactError> {
        let Some(held) = self.renew(digest).await? else { return Ok(None) };
        if self.is_known(&digest) {
            return Ok(Some(held));
        }
        let store = Arc::clone(&self.store);
        let _one = self.checks.acquire().await;
        match blocking(move || store.verify(&digest)).await {
            Ok(()) => Ok(Some(held)),
            // Given up: what is being sent takes its place.
            Err(ArtifactError::Missing { .. } | ArtifactError::Mismatch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it was checked in this process and its code is here.
    fn is_known(&self, digest: &Digest) -> bool {
        self.known(digest).is_some() && self.prepare.is_prepared(digest)
    }

    /// What a stored artifact is, if that was asked before.
    pub(super) fn known(&self, digest: &Digest) -> Option<Checked> {
        self.found().get(digest).copied()
    }

    /// Says first where and at which step.
    pub(super) fn at(&self, step: &str, refusal: Refusal) -> Refusal {
        Refusal { message: format!("node {}, {step}: {}", self.node, refusal.message), ..refusal }
    }

    fn place(&self, namespace: &Namespace, size: u64) -> Result<Place, Refusal> {
        let places = if size <= SMALL_BYTES_MAX { &self.small_uploads } else { &self.uploads };
        places.take(namespace).map_err(|Full { max, of_namespace }| {
            let whose = if of_namespace { format!(" of namespace '{namespace}'") } else { String::new() };
            let small = if size <= SMALL_BYTES_MAX { "small " } else { "" };
            Refusal::new(
                Code::Overloaded,
                format!("node {} takes {max} {small}uploads{whose} at once", self.node),
            )
        })
    }

    async fn receive(
        &self,
        digest: Digest,
        size: u64,
        first: UploadChunk,
        chunks: &mut Streaming<UploadChunk>,
    ) -> Result<Sealed, Refusal> {
        let store = Arc::clone(&self.store);
        let mut incoming = blocking(move || store.begin(digest, size)).await?;
        let receiving = async {
            let mut chunk = Some(first);
            while let Some(UploadChunk { data, .. }) = chunk {
                incoming.write(data).await?;
                chunk = next(chunks).await?;
            }
            Ok(incoming.seal().await?)
        };
        let late = || format!("not all of it came within {} s", RECEIVE_TIMEOUT.as_secs());
        let received = timeout(RECEIVE_TIMEOUT, receiving).await;
        received.unwrap_or_else(|_| Err(Refusal::new(Code::TimedOut, late())))
    }

    async fn second(&self, digest: Digest, progress: &Progress) -> Result<Vec<NodeId>, Refusal> {
        let (node, detail) = match ensure_second(&self.store, digest, &self.peers.get()).await? {
            Second::Alone(tried) if tried.is_empty() => return Ok(vec![self.node]),
            Second::Alone(tried) => {
                let detail = format!("only copy: {}", tried.join("; "));
                progress.step("alone", self.node, detail).await;
                return Ok(vec![self.node]);
            }
            Second::Held(node) => (node, "held already"),
            Second::Copied(node) => (node, ""),
        };
        progress.step("copied", node, detail.to_owned()).await;
        Ok(vec![self.node, node])
    }

    pub(super) fn found(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Checked>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets through what a sender still sends, as much as it announced.
async fn drain(chunks: &mut Streaming<UploadChunk>, rest: Rest) -> Result<(), Refusal> {
    let draining = async {
        let mut bytes = 0_u64;
        while let Ok(Some(UploadChunk { data, .. })) = next(chunks).await {
            bytes = bytes.saturating_add(data.len() as u64);
            if bytes > rest.bytes {
                return Err(ArtifactError::TooLarge { size: bytes, max: rest.bytes }.into());
            }
        }
        Ok(())
    };
    let late = || format!("it is stored already, and was still sent after {} s", DRAIN_TIMEOUT.as_secs());
    let drained = timeout(DRAIN_TIMEOUT, draining).await;
    drained.unwrap_or_else(|_| Err(Refusal::new(Code::TimedOut, late())))
}

/// Reads the first chunk, which names digest and size.
async fn announced(chunks: &mut Streaming<UploadChunk>) -> Result<Announced, Refusal> {
    let first = next(chunks).await?.ok_or_else(|| DecodeError::missing("digest"))?;
    let digest = Digest::try_from(&first.digest[..]).in_field("digest")?;
    let namespace = match first.namespace.as_str() {
        "" => Namespace::default(),
        named => named.parse().in_field("namespace")?,
    };
    match first.size {
        0 => Err(DecodeError::new("size", "an artifact has at least one byte").into()),
        size if size > ARTIFACT_SIZE_MAX => {
            Err(ArtifactError::TooLarge { size, max: ARTIFACT_SIZE_MAX }.into())
        }
        size => Ok(Announced { digest, size, first, namespace }),
    }
}

async fn next(chunks: &mut Streaming<UploadChunk>) -> Result<Option<UploadChunk>, Refusal> {
    let next = timeout(CHUNK_TIMEOUT, chunks.message()).await;
    let late = || Refusal::new(Code::TimedOut, format!("no data for {} s", CHUNK_TIMEOUT.as_secs()));
    next.map_err(|_| late())?.map_err(|status| Refusal::from_status(&status))
}
