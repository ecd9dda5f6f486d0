//! What functions keep (docs/adr/0017): the way to it, which the runtime is given. Guests go it by the interfaces in `host`, within
//! the bounds of their call.

mod address;
mod gathering;
mod incoming;
pub(super) mod keeper;
pub(super) mod objects;
pub(super) mod operation;
mod outgoing;
pub(super) mod task;
pub(super) mod trouble;
pub(super) mod work;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_proto::status::Refusal;
use futures::future::BoxFuture;

use crate::blobs::Blobs;
use crate::values::{Bucket, Holds, Page, Said, Value, Write, Written};

/// What answers for what is kept. The runtime knows that it answers, and nothing else.
pub trait State: Send + Sync {
    /// What the bucket holds. None: there is no such bucket.
    ///
    /// # Errors
    /// Why nobody has answered by the deadline.
    fn holds<'a>(
        &'a self,
        bucket: &'a Bucket,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Holds>, Refusal>>;

    /// What is there under a key, as new as all that was acknowledged before.
    ///
    /// # Errors
    /// `bucket-not-found`; why nobody has answered by the deadline.
    fn value<'a>(
        &'a self,
        bucket: &'a Bucket,
        key: &'a [u8],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Value>, Refusal>>;

    /// Whether there is a value under a key: at which version.
    ///
    /// # Errors
    /// As [`Self::value`].
    fn version<'a>(
        &'a self,
        bucket: &'a Bucket,
        key: &'a [u8],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<u64>, Refusal>>;

    /// A page of keys, in their order, behind one of them; behind an empty one: from the first on.
    ///
    /// # Errors
    /// As [`Self::value`].
    fn keys<'a>(
        &'a self,
        bucket: &'a Bucket,
        after: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Page, Refusal>>;

    /// Makes changes: all of them, or none. It answers with one word of each. They have so many calls in a row behind them.
    ///
    /// # Errors
    /// As [`Self::value`]; `conflict` where a version is not the one that was to be there; `limit-reached` where the bucket is full;
    /// `loop-detected` where somebody would get an event of it, and the chain is too long.
    fn write<'a>(
        &'a self,
        bucket: &'a Bucket,
        writes: Vec<Write>,
        hops: u32,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Written>, Refusal>>;

    /// What answers for blobs; none: nobody does.
    fn as_blobs(&self) -> Option<Arc<dyn Blobs>>;

    /// Puts a message into a queue of the namespace, or into those of a topic's subscribers: when it answers that is kept.
    ///
    /// # Errors
    /// `queue-not-found`, `queue-full`; why nobody has answered by the deadline.
    fn publish<'a>(
        &'a self,
        namespace: &'a Namespace,
        said: Said,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Refusal>>;
}
