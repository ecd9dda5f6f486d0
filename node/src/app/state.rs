//! What the runtime is given for what functions keep: the way to the stores.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_proto::status::Refusal;
use futures::future::BoxFuture;

use crate::blobs::Blobs;
use crate::runtime::State;
use crate::stores::Stores;
use crate::values::{Bucket, Holds, Listing, Page, Said, Value, Write, Written};

impl State for Stores {
    fn holds<'a>(
        &'a self,
        bucket: &'a Bucket,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Holds>, Refusal>> {
        Box::pin(Self::holds(self, bucket, deadline))
    }

    fn value<'a>(
        &'a self,
        bucket: &'a Bucket,
        key: &'a [u8],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Value>, Refusal>> {
        Box::pin(Self::value(self, bucket, key, deadline))
    }

    fn version<'a>(
        &'a self,
        bucket: &'a Bucket,
        key: &'a [u8],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<u64>, Refusal>> {
        Box::pin(Self::version(self, bucket, key, deadline))
    }

    fn keys<'a>(
        &'a self,
        bucket: &'a Bucket,
        after: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Page, Refusal>> {
        Box::pin(Self::values(self, bucket, Listing { after, ..Listing::default() }, deadline))
    }

    fn write<'a>(
        &'a self,
        bucket: &'a Bucket,
        writes: Vec<Write>,
        hops: u32,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Written>, Refusal>> {
        Box::pin(Self::write(self, bucket, writes, hops, deadline))
    }

    fn as_blobs(&self) -> Option<Arc<dyn Blobs>> {
        Some(Arc::new(self.clone()))
    }

    fn publish<'a>(
        &'a self,
        namespace: &'a Namespace,
        said: Said,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let to = said.to.clone();
            Self::publish(self, namespace, &to, vec![said.into()], deadline).await.map(drop)
        })
    }
}
