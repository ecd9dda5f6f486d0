//! Values of buckets, for whoever asks over the network.

mod buckets;

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::pb::key_value_server::KeyValue;
use coracle_proto::pb::{
    KvBucketReply, KvChangeReply, KvDropBucketRequest, KvEntry, KvGetReply, KvGetRequest, KvListBucketsReply,
    KvListBucketsRequest, KvListReply, KvListRequest, KvPlace, KvPutBucketRequest, KvUnwatchRequest,
    KvWatchRequest, KvWriteReply, KvWriteRequest, KvWritten,
};
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::leading::{Leading, sequence, unreadable};
use super::{effects, spec};
use crate::app::Context;
use crate::model::{self, Effected, Entry, Op, Outcome, Page, PageBounds, Place};

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
        let KvGetRequest { place, key, version_only } = request.into_inner();
        let asking = self.asking(place)?;
        let view = asking.leading.view().await?;
        let (now_ms, sequence) = (asking.leading.now_ms(), sequence(&view)?);
        let found = model::value(&view, &asking.bucket, &key, now_ms).map_err(|stop| unreadable(&stop))?;
        if found.is_none() {
            buckets::check_values(&view, &asking.bucket)?;
        }
        Ok(Response::new(KvGetReply {
            entry: found.map(|value| entry(Entry { key, value }, !version_only)),
            sequence,
        }))
    }

    async fn list(&self, request: Request<KvListRequest>) -> Result<Response<KvListReply>, Status> {
        let KvListRequest { place, prefix, after, limit, keys_only } = request.into_inner();
        let asking = self.asking(place)?;
        let view = asking.leading.view().await?;
        let (now_ms, sequence) = (asking.leading.now_ms(), sequence(&view)?);
        let most = if limit == 0 { model::PAGE_MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let after = (!after.is_empty()).then_some(&after[..]);
        let bounds = PageBounds { most, bytes_max: PAGE_BYTES_MAX, keys_only };
        let page = model::values(&view, &asking.bucket, &prefix, after, bounds, now_ms);
        let Page { entries, after } = page.map_err(|stop| unreadable(&stop))?;
        if entries.is_empty() {
            buckets::check_values(&view, &asking.bucket)?;
        }
        let entries = entries.into_iter().map(|it| entry(it, !keys_only)).collect();
        Ok(Response::new(KvListReply { entries, after: after.unwrap_or_default(), sequence }))
    }

    async fn write(&self, request: Request<KvWriteRequest>) -> Result<Response<KvWriteReply>, Status> {
        let KvWriteRequest { place, request, writes, hops } = request.into_inner();
        let asking = self.asking(place)?;
        if writes.is_empty() {
            return Err(Refusal::new(
                Code::InvalidArgument,
                "'writes' is empty: there is nothing to be done",
            )
            .into());
        }
        let effects = writes.into_iter().map(|write| effects::write(&asking.bucket, write));
        let op = Op::Perform { effects: effects.collect::<Result<_, _>>()?, hops: hops.into() };
        let written = match asking.leading.done(request, op).await? {
            Outcome::Performed(effects) => effects.iter().map(written).collect(),
            Outcome::Done
            | Outcome::Moved { .. }
            | Outcome::Claimed(_)
            | Outcome::UploadBegun(_)
            | Outcome::Settled { .. }
            | Outcome::Refused(_) => Vec::new(),
        };
        Ok(Response::new(KvWriteReply { written, sequence: asking.leading.sequence()? }))
    }

    async fn put_bucket(
        &self,
        request: Request<KvPutBucketRequest>,
    ) -> Result<Response<KvChangeReply>, Status> {
        let KvPutBucketRequest { place, request, keys_max, bytes_max, dry_run, holds, access } =
            request.into_inner();
        let Asking { leading, bucket } = self.asking(place)?;
        buckets::check(&bucket, keys_max, bytes_max)?;
        let holds = buckets::wanted(holds, access)?;
        let op = Op::PutBucket { bucket, keys_max, bytes_max, holds };
        let view = leading.done_or_rehearsed(request, op, dry_run).await?;
        Ok(Response::new(KvChangeReply { sequence: sequence(&view)? }))
    }

    /// In steps of their own entries: others of the group go on meanwhile.
    async fn drop_bucket(
        &self,
        request: Request<KvDropBucketRequest>,
    ) -> Result<Response<KvChangeReply>, Status> {
        let KvDropBucketRequest { place, force, request } = request.into_inner();
        let Asking { leading, bucket } = self.asking(place)?;
        buckets::dropped(&leading, request, &bucket, force).await?;
        Ok(Response::new(KvChangeReply { sequence: leading.sequence()? }))
    }

    async fn list_buckets(
        &self,
        request: Request<KvListBucketsRequest>,
    ) -> Result<Response<KvListBucketsReply>, Status> {
        let KvListBucketsRequest { cluster_id, group, namespace, after, limit } = request.into_inner();
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let namespace = namespace.parse().in_field("namespace")?;
        let (after, most) = (spec::after(&after)?, spec::page(limit, model::PAGE_MAX));
        let view = leading.view().await?;
        let found = model::buckets(&view, &namespace, after.as_ref(), most);
        let found = found.map_err(|stop| unreadable(&stop))?;
        let last = found.last().filter(|_| found.len() == most);
        let after = last.map_or_else(String::new, |last| last.place.name.to_string());
        let buckets = found.into_iter().map(buckets::detail).collect::<Result<_, _>>()?;
        Ok(Response::new(KvListBucketsReply { buckets, after }))
    }

    async fn watch(&self, request: Request<KvWatchRequest>) -> Result<Response<KvBucketReply>, Status> {
        let KvWatchRequest { place, request, watcher, queue, dry_run } = request.into_inner();
        let Asking { leading, bucket } = self.asking(place)?;
        let watcher = buckets::watcher(&bucket, watcher.in_field("watcher")?)?;
        let settings = spec::watch_settings(queue)?;
        let op = Op::Watch { bucket: bucket.clone(), watcher, settings };
        let view = leading.done_or_rehearsed(request, op, dry_run).await?;
        Ok(Response::new(buckets::reply(&view, &bucket)?))
    }

    async fn unwatch(&self, request: Request<KvUnwatchRequest>) -> Result<Response<KvBucketReply>, Status> {
        let KvUnwatchRequest { place, request, function } = request.into_inner();
        let Asking { leading, bucket } = self.asking(place)?;
        let function = spec::function(bucket.namespace.as_str(), &function, "function")?;
        leading.done(request, Op::Unwatch { bucket: bucket.clone(), function }).await?;
        Ok(Response::new(buckets::reply(&leading.served.replica.state(), &bucket)?))
    }
}

fn entry(Entry { key, value }: Entry, whole: bool) -> KvEntry {
    KvEntry {
        key,
        value: if whole { value.data } else { Bytes::new() },
        version: value.version,
        expires_ms: value.expires_ms.unwrap_or_default(),
    }
}

fn written(effected: &Effected) -> KvWritten {
    match effected {
        Effected::Written { version, number } => {
            KvWritten { version: *version, number: *number, existed: false }
        }
        Effected::Deleted { existed } => KvWritten { version: 0, number: None, existed: *existed },
        // Only values are written here.
        Effected::Published { .. }
        | Effected::Spread { .. }
        | Effected::Checked
        | Effected::Committed { .. } => KvWritten { version: 0, number: None, existed: false },
    }
}

#[cfg(test)]
mod tests;
