//! Values of buckets, for whoever asks over the network.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::pb;
use coracle_proto::pb::key_value_server::KeyValue;
use coracle_proto::pb::{
    KvChangeReply, KvDropBucketRequest, KvEntry, KvGetReply, KvGetRequest, KvListReply, KvListRequest,
    KvPlace, KvPutBucketRequest, KvWrite, KvWriteReply, KvWriteRequest, KvWritten, kv_write,
};
use coracle_proto::status::Refusal;
use tonic::{Request, Response, Status};

use super::leading::{Leading, sequence, unreadable};
use crate::app::Context;
use crate::model::{self, Change, Effect, Effected, Entry, Op, Outcome, Place, Value, Write};

/// Keys and values of one answer to a list: it is whole in memory, here and there.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Serves clients and other processes of the cluster.
pub(crate) struct KvService {
    pub(crate) context: Arc<Context>,
}

/// Where something is asked for: the replica that answers, and the bucket.
struct Asking {
    leading: Leading,
    bucket: Place,
}

impl KvService {
    fn asking(&self, place: Option<KvPlace>) -> Result<Asking, Refusal> {
        let place = place.in_field("place")?;
        let leading = Leading::of(&self.context, &place.cluster_id, place.group)?;
        let bucket = Place::parse(&place.namespace, &place.bucket).in_field("place")?;
        Ok(Asking { leading, bucket })
    }
}

#[tonic::async_trait]
impl KeyValue for KvService {
    async fn get(&self, request: Request<KvGetRequest>) -> Result<Response<KvGetReply>, Status> {
        let KvGetRequest { place, key } = request.into_inner();
        let asking = self.asking(place)?;
        let view = asking.leading.view().await?;
        let (now_ms, sequence) = (asking.leading.now_ms(), sequence(&view)?);
        let found = model::value(&view, &asking.bucket, &key, now_ms).map_err(|stop| unreadable(&stop))?;
        Ok(Response::new(KvGetReply { entry: found.map(|value| entry(key, value, true)), sequence }))
    }

    async fn list(&self, request: Request<KvListRequest>) -> Result<Response<KvListReply>, Status> {
        let KvListRequest { place, prefix, after, limit, keys_only } = request.into_inner();
        let asking = self.asking(place)?;
        let view = asking.leading.view().await?;
        let (now_ms, sequence) = (asking.leading.now_ms(), sequence(&view)?);
        let most = if limit == 0 { model::PAGE_MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let after = (!after.is_empty()).then_some(&after[..]);
        let page = model::values(&view, &asking.bucket, &prefix, after, (most, now_ms));
        let page = page.map_err(|stop| unreadable(&stop))?;
        let (entries, after) = cut(page, !keys_only);
        Ok(Response::new(KvListReply { entries, after: after.unwrap_or_default(), sequence }))
    }

    async fn write(&self, request: Request<KvWriteRequest>) -> Result<Response<KvWriteReply>, Status> {
        let KvWriteRequest { place, request, writes } = request.into_inner();
        let asking = self.asking(place)?;
        let effects = writes.into_iter().map(|write| effect(&asking.bucket, write));
        let op = Op::Perform { effects: effects.collect::<Result<_, _>>()? };
        let written = match asking.leading.done(request, op).await? {
            Outcome::Performed(effects) => effects.iter().map(written).collect(),
            Outcome::Done
            | Outcome::Moved { .. }
            | Outcome::Claimed(_)
            | Outcome::Settled { .. }
            | Outcome::Refused(_) => Vec::new(),
        };
        Ok(Response::new(KvWriteReply { written, sequence: asking.leading.sequence()? }))
    }

    async fn put_bucket(
        &self,
        request: Request<KvPutBucketRequest>,
    ) -> Result<Response<KvChangeReply>, Status> {
        let KvPutBucketRequest { place, request, keys_max, bytes_max } = request.into_inner();
        let asking = self.asking(place)?;
        let bucket = asking.bucket.clone();
        asking.leading.done(request, Op::PutBucket { bucket, keys_max, bytes_max }).await?;
        Ok(Response::new(KvChangeReply { sequence: asking.leading.sequence()? }))
    }

    /// In steps of their own entries: others of the group go on meanwhile.
    async fn drop_bucket(
        &self,
        request: Request<KvDropBucketRequest>,
    ) -> Result<Response<KvChangeReply>, Status> {
        let asking = self.asking(request.into_inner().place)?;
        let step = || asking.leading.done(None, Op::DropBucket { bucket: asking.bucket.clone() });
        while let Outcome::Moved { more: true, .. } = step().await? {}
        Ok(Response::new(KvChangeReply { sequence: asking.leading.sequence()? }))
    }

    async fn list_buckets(
        &self,
        _: Request<pb::KvListBucketsRequest>,
    ) -> Result<Response<pb::KvListBucketsReply>, Status> {
        Err(Status::unimplemented("list_buckets"))
    }

    async fn watch(&self, _: Request<pb::KvWatchRequest>) -> Result<Response<pb::KvBucketReply>, Status> {
        Err(Status::unimplemented("watch"))
    }

    async fn unwatch(&self, _: Request<pb::KvUnwatchRequest>) -> Result<Response<pb::KvBucketReply>, Status> {
        Err(Status::unimplemented("unwatch"))
    }
}

/// As much of a page as one answer has; where the next one begins.
fn cut(page: model::Page, whole: bool) -> (Vec<KvEntry>, Option<Bytes>) {
    let (mut entries, mut bytes, mut last) = (Vec::new(), 0, None);
    for Entry { key, value } in page.entries {
        let next = entry(key.clone(), value, whole);
        bytes += next.key.len() + next.value.len();
        if bytes > PAGE_BYTES_MAX && last.is_some() {
            return (entries, last);
        }
        last = Some(key);
        entries.push(next);
    }
    (entries, page.after)
}

fn entry(key: Bytes, value: Value, whole: bool) -> KvEntry {
    KvEntry {
        key,
        value: if whole { value.data } else { Bytes::new() },
        version: value.version,
        expires_ms: value.expires_ms.unwrap_or_default(),
    }
}

fn effect(bucket: &Place, wire: KvWrite) -> Result<Effect, Refusal> {
    let ttl_of = |ttl_ms: u64| (ttl_ms > 0).then_some(ttl_ms);
    let change = match wire.change.in_field("writes.change")? {
        kv_write::Change::Delete(_) => Change::Delete,
        kv_write::Change::Increment(it) => Change::Increment { by: it.by },
        kv_write::Change::Set(it) => match it.if_version {
            None => Change::Set { data: it.value, ttl_ms: ttl_of(it.ttl_ms) },
            Some(version) => Change::CompareAndSet {
                expected: (version > 0).then_some(version),
                data: it.value,
                ttl_ms: ttl_of(it.ttl_ms),
            },
        },
    };
    Ok(Effect::Write(Write { bucket: bucket.clone(), key: wire.key, change }))
}

fn written(effected: &Effected) -> KvWritten {
    match effected {
        Effected::Written { version, number } => {
            KvWritten { version: *version, number: *number, existed: false }
        }
        Effected::Deleted { existed } => KvWritten { version: 0, number: None, existed: *existed },
        // Only values are written here.
        Effected::Published { .. } => KvWritten { version: 0, number: None, existed: false },
    }
}
