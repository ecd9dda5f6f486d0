//! Blobs of buckets: what is asked of whoever leads their group, and for whom.

mod chunk;
mod fan;
mod reading;
mod sending;
mod spans;

pub use self::sending::Sending;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use coracle_proto::id::GroupId;
use coracle_proto::pb;
use coracle_proto::pb::blobs_client::BlobsClient;
use coracle_proto::status::Refusal;
use futures::future::BoxFuture;
use tonic::transport::Channel;

use super::not_understood;
use crate::blobs::{
    At, Blob, Blobs, Commit, Content, Info, Listing, Opened, Page, Part, Pieces, Terms, Upload, UploadId,
    Visitor,
};
use crate::clock::millis;
use crate::stores::Stores;
use crate::stores::ask::{Question, traced};
use crate::stores::wire::blob as wire;
use crate::values::Bucket;

/// A page of a list has a thousand keys of 1 KiB with content types of 2 KiB; an upload has ten thousand parts.
const REPLY_BYTES_MAX: usize = 8 << 20;

fn blobs(channel: Channel) -> BlobsClient<Channel> {
    BlobsClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX)
}

/// Asks about blobs: for a function, which may have what its namespace has, or for a visitor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobClient {
    stores: Stores,
    visitor: Option<Visitor>,
}

/// How an upload is begun.
#[derive(Debug, Clone, Default)]
pub struct Begin {
    /// It is renewed within this, or over; zero: 10 minutes.
    pub time: Duration,
    /// Of one in parts.
    pub content_type: String,
    /// Of one in parts.
    pub metadata: BTreeMap<String, String>,
    /// That will come, where that is known: what can never fit is refused.
    pub bytes: u64,
}

impl Stores {
    /// Asks for somebody who came by HTTP.
    #[must_use]
    pub fn blobs_for(&self, visitor: Visitor) -> BlobClient {
        BlobClient { stores: self.clone(), visitor: Some(visitor) }
    }

    pub(in crate::stores) fn blobs_for_functions(&self) -> BlobClient {
        BlobClient { stores: self.clone(), visitor: None }
    }
}

impl BlobClient {
    /// The same for whoever was let in before: what follows in the same request is asked without the signature, whose time may
    /// end while a long one goes on.
    #[must_use]
    pub fn admitted(&self) -> Self {
        self.stores.blobs_for_functions()
    }

    /// The blob, as new as all that was acknowledged before. None: there is none.
    ///
    /// # Errors
    /// `no-store`, `bucket-not-found`, `signature-refused`; at the deadline why nobody answered.
    pub async fn get(&self, at: &At, deadline: Instant) -> Result<Option<Blob>, Refusal> {
        wire::blob(self.got(at, false, deadline).await?).map_err(not_understood)
    }

    /// What is told of the blob.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn info(&self, at: &At, deadline: Instant) -> Result<Option<Info>, Refusal> {
        Ok(self.got(at, true, deadline).await?.info.map(wire::info))
    }

    async fn got(&self, at: &At, info_only: bool, deadline: Instant) -> Result<pb::BlobGetReply, Refusal> {
        let (group, place) = self.place(&at.bucket)?;
        let (key, visitor) = (at.key.clone(), self.visitor());
        let wire = pb::BlobGetRequest { place, key, visitor, info_only };
        let get = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).get(traced(wire)).await }
        };
        let reply: pb::BlobGetReply = self.stores.ask(Question::read(group, deadline), get).await?;
        self.stores.reached(group, reply.sequence);
        Ok(reply)
    }

    /// A page of a bucket's blobs.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn list(&self, bucket: &Bucket, listing: Listing, deadline: Instant) -> Result<Page, Refusal> {
        let group = self.stores.group_of(&bucket.namespace)?;
        let wire = wire::list_request(listing, self.stores.bucket(group, bucket), self.visitor());
        let list = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).list(traced(wire)).await }
        };
        let reply: pb::BlobListReply = self.stores.ask(Question::read(group, deadline), list).await?;
        self.stores.reached(group, reply.sequence);
        Ok(wire::page(reply))
    }

    /// Opens an upload.
    ///
    /// # Errors
    /// `limit-reached`, `disk-full`; otherwise as [`Self::get`].
    pub async fn begin(&self, at: &At, begin: Begin, deadline: Instant) -> Result<UploadId, Refusal> {
        let (group, place) = self.place(&at.bucket)?;
        let wire = pb::BlobBeginRequest {
            place,
            request: Some(self.stores.request(group, deadline, 0).await?),
            key: at.key.clone(),
            time_ms: millis(begin.time),
            content_type: begin.content_type,
            metadata: begin.metadata.into_iter().collect(),
            bytes: begin.bytes,
            visitor: self.visitor(),
        };
        let begin = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).begin(traced(wire)).await }
        };
        let reply: pb::BlobUploadReply = self.stores.ask(Question::change(group, deadline), begin).await?;
        self.seen(group, reply).map(|opened| opened.id)
    }

    /// An upload goes on: its time begins anew.
    ///
    /// # Errors
    /// `upload-not-found`; otherwise as [`Self::get`].
    pub async fn renew(&self, at: &At, upload: UploadId, deadline: Instant) -> Result<(), Refusal> {
        let (group, wire) = self.upload_request(at, upload, true, deadline).await?;
        let renew = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).renew(traced(wire)).await }
        };
        let reply: pb::BlobUploadReply = self.stores.ask(Question::change(group, deadline), renew).await?;
        self.stores.reached(group, reply.sequence);
        Ok(())
    }

    /// An upload, with its parts.
    ///
    /// # Errors
    /// `upload-not-found`; otherwise as [`Self::get`].
    pub async fn opened(&self, at: &At, upload: UploadId, deadline: Instant) -> Result<Opened, Refusal> {
        let (group, wire) = self.upload_request(at, upload, false, deadline).await?;
        let get = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).get_upload(traced(wire)).await }
        };
        let reply: pb::BlobUploadReply = self.stores.ask(Question::read(group, deadline), get).await?;
        self.seen(group, reply)
    }

    /// A part's chunks are kept.
    ///
    /// # Errors
    /// `upload-not-found`, `limit-reached`; otherwise as [`Self::get`].
    pub async fn put_part(
        &self,
        at: &At,
        upload: UploadId,
        part: Part,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let (group, place) = self.place(&at.bucket)?;
        let wire = pb::BlobPutPartRequest {
            place,
            request: Some(self.stores.request(group, deadline, 0).await?),
            key: at.key.clone(),
            upload: wire::upload_to_wire(upload),
            part: Some(wire::part_to_wire(part)),
            visitor: self.visitor(),
        };
        let put = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).put_part(traced(wire)).await }
        };
        let reply: pb::BlobUploadReply = self.stores.ask(Question::change(group, deadline), put).await?;
        self.stores.reached(group, reply.sequence);
        Ok(())
    }

    /// An upload is given up.
    ///
    /// # Errors
    /// `upload-not-found`; otherwise as [`Self::get`].
    pub async fn abort(&self, at: &At, upload: UploadId, deadline: Instant) -> Result<(), Refusal> {
        let (group, wire) = self.upload_request(at, upload, true, deadline).await?;
        let abort = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).abort(traced(wire)).await }
        };
        let reply: pb::BlobChangeReply = self.stores.ask(Question::change(group, deadline), abort).await?;
        self.stores.reached(group, reply.sequence);
        Ok(())
    }

    /// The blob is this from now on. Gives what it is, and whether there was one before.
    ///
    /// # Errors
    /// `precondition-failed`, `limit-reached`, `upload-not-found`, `loop-detected`; otherwise as [`Self::get`].
    pub async fn commit(
        &self,
        at: &At,
        (commit, terms): (Commit, Terms),
        hops: u32,
        deadline: Instant,
    ) -> Result<(Info, bool), Refusal> {
        let (group, place) = self.place(&at.bucket)?;
        let wire = pb::BlobCommitRequest {
            place,
            request: Some(self.stores.request(group, deadline, 0).await?),
            key: at.key.clone(),
            content: Some(wire::content(commit)),
            if_match: terms.if_match,
            if_none_match: terms.if_none_match,
            hops,
            visitor: self.visitor(),
        };
        let commit = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).commit(traced(wire)).await }
        };
        let reply: pb::BlobCommitReply = self.stores.ask(Question::change(group, deadline), commit).await?;
        self.stores.reached(group, reply.sequence);
        Ok((reply.info.map(wire::info).unwrap_or_default(), reply.existed))
    }

    /// It is gone. Gives whether there was one.
    ///
    /// # Errors
    /// `precondition-failed`, `loop-detected`; otherwise as [`Self::get`].
    pub async fn delete(
        &self,
        at: &At,
        if_match: String,
        hops: u32,
        deadline: Instant,
    ) -> Result<bool, Refusal> {
        let (group, place) = self.place(&at.bucket)?;
        let request = Some(self.stores.request(group, deadline, 0).await?);
        let (key, visitor) = (at.key.clone(), self.visitor());
        let wire = pb::BlobDeleteRequest { place, request, key, if_match, hops, visitor };
        let delete = |channel| {
            let wire = wire.clone();
            async move { blobs(channel).delete(traced(wire)).await }
        };
        let reply: pb::BlobDeleteReply = self.stores.ask(Question::change(group, deadline), delete).await?;
        self.stores.reached(group, reply.sequence);
        Ok(reply.existed)
    }

    async fn upload_request(
        &self,
        at: &At,
        upload: UploadId,
        changes: bool,
        deadline: Instant,
    ) -> Result<(GroupId, pb::BlobUploadRequest), Refusal> {
        let (group, place) = self.place(&at.bucket)?;
        let request = if changes { Some(self.stores.request(group, deadline, 0).await?) } else { None };
        let (upload, visitor) = (wire::upload_to_wire(upload), self.visitor());
        Ok((group, pb::BlobUploadRequest { place, request, key: at.key.clone(), upload, visitor }))
    }

    fn seen(&self, group: GroupId, reply: pb::BlobUploadReply) -> Result<Opened, Refusal> {
        self.stores.reached(group, reply.sequence);
        wire::opened(reply.upload).map_err(not_understood)
    }

    fn place(&self, bucket: &Bucket) -> Result<(GroupId, Option<pb::KvPlace>), Refusal> {
        let group = self.stores.group_of(&bucket.namespace)?;
        Ok((group, Some(self.stores.bucket(group, bucket))))
    }

    fn visitor(&self) -> Option<pb::BlobVisitor> {
        self.visitor.as_ref().map(wire::visitor)
    }
}

impl Blobs for Stores {
    fn blob<'a>(&'a self, at: &'a At, deadline: Instant) -> BoxFuture<'a, Result<Option<Blob>, Refusal>> {
        let client = self.blobs_for_functions();
        Box::pin(async move { client.get(at, deadline).await })
    }

    fn info<'a>(&'a self, at: &'a At, deadline: Instant) -> BoxFuture<'a, Result<Option<Info>, Refusal>> {
        let client = self.blobs_for_functions();
        Box::pin(async move { client.info(at, deadline).await })
    }

    fn blobs<'a>(
        &'a self,
        bucket: &'a Bucket,
        listing: Listing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Page, Refusal>> {
        let client = self.blobs_for_functions();
        Box::pin(async move { client.list(bucket, listing, deadline).await })
    }

    fn read(&self, bucket: &Bucket, content: &Content, range: Range<u64>) -> Pieces {
        reading::pieces(self, bucket, content, range)
    }

    fn upload(&self, at: &At, idle: Duration, inline_max: usize) -> Box<dyn Upload> {
        let begin = Begin { time: idle, ..Begin::default() };
        Box::new(self.blobs_for_functions().send(at, begin).with_inline_max(inline_max))
    }

    fn give_up(&self, at: &At, upload: UploadId) {
        self.blobs_for_functions().give_up(at, upload);
    }

    fn commit<'a>(
        &'a self,
        at: &'a At,
        commit: Commit,
        hops: u32,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Info, Refusal>> {
        let client = self.blobs_for_functions();
        Box::pin(async move {
            let (info, _) = client.commit(at, (commit, Terms::default()), hops, deadline).await?;
            Ok(info)
        })
    }

    fn delete<'a>(
        &'a self,
        at: &'a At,
        hops: u32,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Refusal>> {
        let client = self.blobs_for_functions();
        Box::pin(async move { client.delete(at, String::new(), hops, deadline).await })
    }
}
