//! What is kept, as a call for an event sees it: what it reads is as it is, what it changes is done with its end, and its reads see
//! that.

mod blobs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_proto::status::{Code, Refusal};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use self::blobs::GatheringBlobs;
use super::State;
use crate::blobs::Blobs;
use crate::call::Gathered;
use crate::values::{Bucket, Change, Holds, Page, Said, Value, Write, Written};

/// Of one call.
pub(super) struct Gathering {
    state: Arc<dyn State>,
    gathered: Arc<Mutex<Gathered>>,
}

impl Gathering {
    pub(super) const fn new(state: Arc<dyn State>, gathered: Arc<Mutex<Gathered>>) -> Self {
        Self { state, gathered }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a change begins from, where it is of that what comes of it.
    async fn before(
        &self,
        bucket: &Bucket,
        write: &Write,
        deadline: Instant,
    ) -> Result<Option<Value>, Refusal> {
        match &write.change {
            Change::Increment { .. } => self.value(bucket, &write.key, deadline).await,
            Change::Set { .. } | Change::Delete => Ok(None),
        }
    }
}

impl State for Gathering {
    fn holds<'a>(
        &'a self,
        bucket: &'a Bucket,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Holds>, Refusal>> {
        self.state.holds(bucket, deadline)
    }

    fn value<'a>(
        &'a self,
        bucket: &'a Bucket,
        key: &'a [u8],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Value>, Refusal>> {
        async move {
            if let Some(own) = self.gathered().own(&bucket.name, key) {
                return Ok(own.data.clone().map(|data| Value { data, version: own.version }));
            }
            let value = self.state.value(bucket, key, deadline).await?;
            let version = value.as_ref().map_or(0, |value| value.version);
            self.gathered().check(&bucket.name, key, version)?;
            Ok(value)
        }
        .boxed()
    }

    fn version<'a>(
        &'a self,
        bucket: &'a Bucket,
        key: &'a [u8],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<u64>, Refusal>> {
        async move {
            if let Some(own) = self.gathered().own(&bucket.name, key) {
                return Ok(own.data.is_some().then_some(own.version));
            }
            // Whether it still is so is asked at the end.
            let read = self.gathered().read(&bucket.name, key);
            if let Some(version) = read {
                return Ok((version > 0).then_some(version));
            }
            let version = self.state.version(bucket, key, deadline).await?;
            self.gathered().check(&bucket.name, key, version.unwrap_or(0))?;
            Ok(version)
        }
        .boxed()
    }

    fn keys<'a>(
        &'a self,
        bucket: &'a Bucket,
        after: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Page, Refusal>> {
        async move {
            let page = self.state.keys(bucket, after.clone(), deadline).await?;
            Ok(self.gathered().seen(&bucket.name, &after, page))
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        bucket: &'a Bucket,
        writes: Vec<Write>,
        _: u32,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Written>, Refusal>> {
        async move {
            let mut before = Vec::with_capacity(writes.len());
            for write in &writes {
                before.push(self.before(bucket, write, deadline).await?);
            }
            let mut gathered = self.gathered();
            // All of it, or nothing.
            let mut next = gathered.clone();
            let mut written = Vec::with_capacity(writes.len());
            for (Write { key, change }, before) in writes.into_iter().zip(before) {
                let existed = next.own(&bucket.name, &key).is_some_and(|own| own.data.is_some());
                expected(&mut next, &bucket.name, &key, &change)?;
                let (version, number) = match change {
                    Change::Delete => (next.write(&bucket.name, &key, None)?, None),
                    Change::Set { data, .. } => (next.write(&bucket.name, &key, Some(data))?, None),
                    Change::Increment { by } => {
                        let sum = sum(by, before.as_ref())?;
                        (next.add(&bucket.name, &key, by, sum)?, Some(sum))
                    }
                };
                written.push(Written { version, number, existed });
            }
            *gathered = next;
            Ok(written)
        }
        .boxed()
    }

    fn as_blobs(&self) -> Option<Arc<dyn Blobs>> {
        let gathered = Arc::clone(&self.gathered);
        self.state.as_blobs().map(|blobs| Arc::new(GatheringBlobs::new(blobs, gathered)) as Arc<dyn Blobs>)
    }

    fn publish<'a>(&'a self, _: &'a Namespace, said: Said, _: Instant) -> BoxFuture<'a, Result<(), Refusal>> {
        std::future::ready(self.gathered().say(said)).boxed()
    }
}

/// Checks a change of a value that is to be at a version. What the call has put there itself is at it, or is not; all else is asked
/// at the end: a call that has read two versions, and cannot end well, does not swap until its bounds are reached.
fn expected(gathered: &mut Gathered, bucket: &str, key: &[u8], change: &Change) -> Result<(), Refusal> {
    let Change::Set { if_version: Some(expected), .. } = *change else { return Ok(()) };
    match gathered.own(bucket, key).map(|own| own.data.as_ref().map_or(0, |_| own.version)) {
        None => gathered.check(bucket, key, expected),
        Some(found) if found == expected => Ok(()),
        Some(_) => Err(Refusal::new(Code::Conflict, "the value is at another version")),
    }
}

/// The number that comes of it.
fn sum(by: i64, before: Option<&Value>) -> Result<i64, Refusal> {
    let wrong = |said: &str| Refusal::new(Code::InvalidArgument, format!("the value {said}"));
    let number = before.map_or(Ok(0), |value| {
        let text = std::str::from_utf8(&value.data).ok();
        text.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("is no whole number of 64 bits"))
    })?;
    i64::checked_add(number, by).ok_or_else(|| wrong("would leave the range of 64 bits"))
}
