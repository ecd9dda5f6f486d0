//! Values of buckets.

use std::time::Instant;

use coracle_proto::id::GroupId;
use coracle_proto::pb;
use coracle_proto::pb::key_value_client::KeyValueClient;
use coracle_proto::status::Refusal;
use tonic::transport::Channel;

use super::not_understood;
use crate::stores::ask::{Question, traced};
use crate::stores::{Stores, wire};
use crate::values::{Bucket, Holds, Listing, Page, Value, Write, Written};

/// A page of a list has 4 MiB of keys at most, and what is said of each of them.
const PAGE_BYTES_MAX: usize = 8 << 20;

fn key_value(channel: Channel) -> KeyValueClient<Channel> {
    KeyValueClient::new(channel).max_decoding_message_size(PAGE_BYTES_MAX)
}

impl Stores {
    /// What the bucket holds. None: there is no such bucket.
    ///
    /// # Errors
    /// `no-store`; at the deadline why nobody answered.
    pub async fn holds(&self, bucket: &Bucket, deadline: Instant) -> Result<Option<Holds>, Refusal> {
        let group = self.group_of(&bucket.namespace)?;
        let wire = pb::KvListBucketsRequest {
            cluster_id: self.inner.cluster.to_wire(),
            group: group.get(),
            namespace: bucket.namespace.to_string(),
            after: before(&bucket.name),
            limit: 1,
        };
        let list = |channel| {
            let wire = wire.clone();
            async move { key_value(channel).list_buckets(traced(wire)).await }
        };
        let reply: pb::KvListBucketsReply = self.ask(Question::read(group, deadline), list).await?;
        let found = reply.buckets.into_iter().next().filter(|found| found.bucket == bucket.name);
        Ok(found.map(|found| wire::holds(found.holds())))
    }

    /// What is there under a key: as new as all that was acknowledged before this is asked. None: there is nothing.
    ///
    /// # Errors
    /// `no-store`, `bucket-not-found`; at the deadline why nobody answered.
    pub async fn value(
        &self,
        bucket: &Bucket,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Option<Value>, Refusal> {
        let group = self.group_of(&bucket.namespace)?;
        let key = bytes::Bytes::copy_from_slice(key);
        let wire = pb::KvGetRequest { place: Some(self.bucket(group, bucket)), key, version_only: false };
        let reply = self.entry(group, wire, deadline).await?;
        Ok(reply.map(wire::value))
    }

    /// What there is under a key, as it is asked for.
    async fn entry(
        &self,
        group: GroupId,
        wire: pb::KvGetRequest,
        deadline: Instant,
    ) -> Result<Option<pb::KvEntry>, Refusal> {
        let get = |channel| {
            let wire = wire.clone();
            async move { key_value(channel).get(traced(wire)).await }
        };
        let reply: pb::KvGetReply = self.ask(Question::read(group, deadline), get).await?;
        self.reached(group, reply.sequence);
        Ok(reply.entry)
    }

    /// At which version the value under a key is. None: there is none.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub async fn version(
        &self,
        bucket: &Bucket,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Option<u64>, Refusal> {
        let group = self.group_of(&bucket.namespace)?;
        let (place, key) = (Some(self.bucket(group, bucket)), bytes::Bytes::copy_from_slice(key));
        let wire = pb::KvGetRequest { place, key, version_only: true };
        Ok(self.entry(group, wire, deadline).await?.map(|entry| entry.version))
    }

    /// Keys in their order, each with its value's version: a page of them.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub async fn values(
        &self,
        bucket: &Bucket,
        listing: Listing,
        deadline: Instant,
    ) -> Result<Page, Refusal> {
        let group = self.group_of(&bucket.namespace)?;
        let wire = wire::list_request(listing, self.bucket(group, bucket));
        let list = |channel| {
            let wire = wire.clone();
            async move { key_value(channel).list(traced(wire)).await }
        };
        let reply: pb::KvListReply = self.ask(Question::read(group, deadline), list).await?;
        self.reached(group, reply.sequence);
        Ok(wire::page(reply))
    }

    /// Changes values: all of it is done, or nothing. There are at most [`WRITES_MAX`](crate::values::WRITES_MAX). The answer
    /// has one of each, in their order. Whoever writes says how many calls in a row led to it.
    ///
    /// # Errors
    /// `no-store`, `bucket-not-found`; `conflict` where a value is at another version than the one that was to be there;
    /// `limit-reached` where the bucket is full; `loop-detected`; `invalid-argument`; at the deadline why nobody answered.
    pub async fn write(
        &self,
        bucket: &Bucket,
        writes: Vec<Write>,
        hops: u32,
        deadline: Instant,
    ) -> Result<Vec<Written>, Refusal> {
        let group = self.group_of(&bucket.namespace)?;
        let request = self.request(group, deadline, 0).await?;
        let (place, count) = (self.bucket(group, bucket), writes.len());
        let wire = wire::write_request(writes, hops, place, request);
        let write = |channel| {
            let wire = wire.clone();
            async move { key_value(channel).write(traced(wire)).await }
        };
        let reply: pb::KvWriteReply = self.ask(Question::change(group, deadline), write).await?;
        self.reached(group, reply.sequence);
        wire::written(&reply, count).map_err(not_understood)
    }

    pub(super) fn bucket(&self, group: GroupId, bucket: &Bucket) -> pb::KvPlace {
        pb::KvPlace {
            cluster_id: self.inner.cluster.to_wire(),
            group: group.get(),
            namespace: bucket.namespace.to_string(),
            bucket: bucket.name.clone(),
        }
    }
}

/// A text between a bucket's name and whatever name there can be before it: no name has a character as great as `~`.
fn before(name: &str) -> String {
    let mut before = name.to_owned();
    let last = before.pop().and_then(|last| char::from_u32(u32::from(last).saturating_sub(1)));
    before.extend(last);
    before.push('~');
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_between_a_name_and_what_is_before_it() {
        for (name, lesser) in
            [("b", ["a", "az", "a-0"]), ("ab", ["aa", "aaz", "aa9"]), ("b0", ["b", "a", "az"])]
        {
            let before = before(name);
            assert!(before.as_str() < name && lesser.iter().all(|it| *it < before.as_str()), "{before}");
        }
    }
}
