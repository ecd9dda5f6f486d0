//! Blobs as a call for an event sees them: their content is sent at once, and what becomes of them is said with the call's end.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::status::Refusal;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::blobs::{At, Blob, Blobs, Commit, Content, Info, Listing, Page, Pieces, Upload, UploadId};
use crate::call::Gathered;
use crate::clock;
use crate::values::Bucket;

/// Of one call.
pub(super) struct GatheringBlobs {
    blobs: Arc<dyn Blobs>,
    gathered: Arc<Mutex<Gathered>>,
}

impl GatheringBlobs {
    pub(super) const fn new(blobs: Arc<dyn Blobs>, gathered: Arc<Mutex<Gathered>>) -> Self {
        Self { blobs, gathered }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the call had made of it before comes to nothing.
    fn write(&self, at: &At, commit: Option<Commit>) -> Result<Info, Refusal> {
        let (info, before) = {
            let mut gathered = self.gathered();
            let before = gathered.own_blob(&at.bucket.name, &at.key).flatten();
            (gathered.write_blob(&at.bucket.name, &at.key, commit, clock::unix_ms())?, before)
        };
        if let Some(upload) = before.and_then(|blob| blob.content.upload()) {
            self.blobs.give_up(at, upload);
        }
        Ok(info)
    }
}

impl Blobs for GatheringBlobs {
    fn blob<'a>(&'a self, at: &'a At, deadline: Instant) -> BoxFuture<'a, Result<Option<Blob>, Refusal>> {
        async move {
            let own = self.gathered().own_blob(&at.bucket.name, &at.key);
            if let Some(own) = own {
                return Ok(own);
            }
            let blob = self.blobs.blob(at, deadline).await?;
            let version = blob.as_ref().map_or(0, |blob| blob.info.version);
            self.gathered().check(&at.bucket.name, at.key.as_bytes(), version)?;
            Ok(blob)
        }
        .boxed()
    }

    fn info<'a>(&'a self, at: &'a At, deadline: Instant) -> BoxFuture<'a, Result<Option<Info>, Refusal>> {
        async move {
            let own = self.gathered().own_blob(&at.bucket.name, &at.key);
            if let Some(own) = own {
                return Ok(own.map(|blob| blob.info));
            }
            let info = self.blobs.info(at, deadline).await?;
            let version = info.as_ref().map_or(0, |info| info.version);
            self.gathered().check(&at.bucket.name, at.key.as_bytes(), version)?;
            Ok(info)
        }
        .boxed()
    }

    fn blobs<'a>(
        &'a self,
        bucket: &'a Bucket,
        listing: Listing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Page, Refusal>> {
        async move {
            let (prefix, after) = (listing.prefix.clone(), listing.after.clone());
            let page = self.blobs.blobs(bucket, listing, deadline).await?;
            Ok(self.gathered().seen_blobs(&bucket.name, (&prefix, &after), page))
        }
        .boxed()
    }

    fn read(&self, bucket: &Bucket, content: &Content, range: Range<u64>) -> Pieces {
        self.blobs.read(bucket, content, range)
    }

    fn upload(&self, at: &At, idle: Duration, inline_max: usize) -> Box<dyn Upload> {
        let room = self.gathered().inline_room();
        self.blobs.upload(at, idle, inline_max.min(room))
    }

    fn give_up(&self, at: &At, upload: UploadId) {
        self.blobs.give_up(at, upload);
    }

    fn commit<'a>(
        &'a self,
        at: &'a At,
        commit: Commit,
        _: u32,
        _: Instant,
    ) -> BoxFuture<'a, Result<Info, Refusal>> {
        std::future::ready(self.write(at, Some(commit))).boxed()
    }

    fn delete<'a>(&'a self, at: &'a At, _: u32, _: Instant) -> BoxFuture<'a, Result<bool, Refusal>> {
        let existed = self.gathered().own_blob(&at.bucket.name, &at.key).is_some_and(|own| own.is_some());
        std::future::ready(self.write(at, None).map(|_| existed)).boxed()
    }
}
