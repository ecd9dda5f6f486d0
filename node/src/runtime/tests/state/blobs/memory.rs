//! Blobs in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::status::{Code, Refusal};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};

use crate::blobs::{
    At, Blob, Blobs, Commit, Content, Finished, Info, Listing, Page, Part, Pieces, Upload, UploadId,
};
use crate::values::Bucket;

/// Names of a page.
const PAGE_MAX: usize = 2;
/// Bytes of a piece.
const PIECE_BYTES: usize = 100_000;

/// Those of the namespace `default`, and what was sent of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Memory(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) blobs: BTreeMap<(String, String), Blob>,
    /// By their uploads, of which each has one part.
    pub(super) sent: BTreeMap<UploadId, Vec<u8>>,
    /// For how long each upload may rest.
    pub(super) idle: Vec<Duration>,
    /// Uploads that are open: in chunks, and neither committed nor given up.
    pub(super) open: BTreeSet<UploadId>,
    /// Why no commit is done.
    pub(super) refuses: Option<Refusal>,
    /// The page behind this name is refused once.
    pub(super) fails_behind: Option<String>,
    /// How often content was asked for.
    pub(super) fetched: u32,
    /// Why nothing more is taken.
    pub(super) full: Option<Refusal>,
    pub(super) hops: Vec<u32>,
    version: u64,
}

impl Memory {
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    pub(super) fn set(&self, bucket: &str, key: &str, data: impl Into<Bytes>) -> Info {
        let content = Content::Inline(data.into());
        let (content_type, metadata) = ("text/plain".to_owned(), [("by".to_owned(), "me".to_owned())].into());
        self.put((bucket, key), Commit { content, etag: "e".to_owned(), content_type, metadata })
    }

    /// What a blob holds.
    pub(super) fn text(&self, bucket: &str, key: &str) -> Option<String> {
        let kept = self.kept();
        let blob = kept.blobs.get(&(bucket.to_owned(), key.to_owned()))?;
        Some(String::from_utf8(kept.bytes(&blob.content)).unwrap())
    }

    fn put(&self, (bucket, key): (&str, &str), commit: Commit) -> Info {
        let mut kept = self.kept();
        if let Some(upload) = commit.content.upload() {
            assert!(kept.open.remove(&upload), "it was given up");
        }
        kept.version += 1;
        let info = Info {
            key: key.to_owned(),
            version: kept.version,
            bytes: kept.bytes(&commit.content).len() as u64,
            etag: commit.etag,
            modified_ms: 5000,
            content_type: commit.content_type,
            metadata: commit.metadata,
        };
        let blob = Blob { info: info.clone(), content: commit.content };
        kept.blobs.insert((bucket.to_owned(), key.to_owned()), blob);
        info
    }
}

impl Kept {
    fn bytes(&self, content: &Content) -> Vec<u8> {
        match content {
            Content::Inline(data) => data.to_vec(),
            Content::Parts { upload, .. } => self.sent[upload].clone(),
        }
    }
}

fn answer<'a, T: Send + 'a>(it: T) -> BoxFuture<'a, Result<T, Refusal>> {
    async move {
        tokio::task::yield_now().await;
        Ok(it)
    }
    .boxed()
}

impl Blobs for Memory {
    fn blob<'a>(&'a self, at: &'a At, _: Instant) -> BoxFuture<'a, Result<Option<Blob>, Refusal>> {
        assert_eq!(at.bucket.namespace.as_str(), "default");
        let mut kept = self.kept();
        kept.fetched += 1;
        answer(kept.blobs.get(&(at.bucket.name.clone(), at.key.clone())).cloned())
    }

    fn info<'a>(&'a self, at: &'a At, _: Instant) -> BoxFuture<'a, Result<Option<Info>, Refusal>> {
        let blob = self.kept().blobs.get(&(at.bucket.name.clone(), at.key.clone())).cloned();
        answer(blob.map(|blob| blob.info))
    }

    fn blobs<'a>(
        &'a self,
        bucket: &'a Bucket,
        listing: Listing,
        _: Instant,
    ) -> BoxFuture<'a, Result<Page, Refusal>> {
        let mut kept = self.kept();
        if kept.fails_behind.as_ref() == Some(&listing.after) {
            kept.fails_behind = None;
            let refusal = Refusal::new(Code::NoQuorum, "nobody leads");
            return futures::future::ready(Err(refusal)).boxed();
        }
        let all = kept.blobs.iter().filter(|((of, key), _)| *of == bucket.name && *key > listing.after);
        let all: Vec<_> = all.map(|(_, blob)| blob.info.clone()).collect();
        let more = all.len() > PAGE_MAX;
        let blobs: Vec<_> = all.into_iter().take(PAGE_MAX).collect();
        let after = blobs.last().filter(|_| more).map(|last| last.key.clone()).unwrap_or_default();
        answer(Page { blobs, after })
    }

    fn read(&self, _: &Bucket, content: &Content, range: Range<u64>) -> Pieces {
        let all = self.kept().bytes(content);
        let part = &all[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        let pieces: Vec<_> = part.chunks(PIECE_BYTES).map(|it| Ok(Bytes::copy_from_slice(it))).collect();
        stream::iter(pieces).boxed()
    }

    fn upload(&self, at: &At, idle: Duration, inline_max: usize) -> Box<dyn Upload> {
        let mut kept = self.kept();
        kept.idle.push(idle);
        let id = u128::try_from(kept.idle.len()).unwrap().to_be_bytes();
        kept.sent.insert(id, Vec::new());
        assert!(!at.key.is_empty());
        Box::new(Sending { memory: self.clone(), id, inline_max, own: true })
    }

    fn give_up(&self, at: &At, upload: UploadId) {
        assert!(!at.key.is_empty());
        self.kept().open.remove(&upload);
    }

    fn commit<'a>(
        &'a self,
        at: &'a At,
        commit: Commit,
        hops: u32,
        _: Instant,
    ) -> BoxFuture<'a, Result<Info, Refusal>> {
        self.kept().hops.push(hops);
        let refused = self.kept().refuses.clone();
        match refused {
            Some(refusal) => futures::future::ready(Err(refusal)).boxed(),
            None => answer(self.put((&at.bucket.name, &at.key), commit)),
        }
    }

    fn delete<'a>(&'a self, at: &'a At, hops: u32, _: Instant) -> BoxFuture<'a, Result<bool, Refusal>> {
        let mut kept = self.kept();
        kept.hops.push(hops);
        answer(kept.blobs.remove(&(at.bucket.name.clone(), at.key.clone())).is_some())
    }
}

struct Sending {
    memory: Memory,
    id: UploadId,
    inline_max: usize,
    /// It is given up when this is dropped.
    own: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.own {
            self.memory.kept().open.remove(&self.id);
        }
    }
}

impl Upload for Sending {
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), Refusal>> {
        async move {
            tokio::task::yield_now().await;
            let mut kept = self.memory.kept();
            if let Some(full) = kept.full.clone() {
                return Err(full);
            }
            let sent = kept.sent.get_mut(&self.id).unwrap();
            sent.extend(data);
            if sent.len() > self.inline_max {
                kept.open.insert(self.id);
            }
            Ok(())
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Finished, Refusal>> {
        self.own = false;
        let data = self.memory.kept().sent[&self.id].clone();
        let bytes = data.len() as u64;
        let part = Part { number: 1, run: 3, bytes, digest: vec![1; 32].into() };
        let content = if data.len() <= self.inline_max {
            Content::Inline(data.into())
        } else {
            Content::Parts { upload: self.id, parts: vec![part] }
        };
        answer(Finished { content, bytes, etag: "etag".to_owned() })
    }
}

/// That a disk is full.
pub(super) fn full() -> Refusal {
    Refusal::new(Code::DiskFull, "no member has room")
}
