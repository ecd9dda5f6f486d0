//! Buckets of a fake store, without values.

use coracle_proto::pb;
use coracle_proto::pb::key_value_server::KeyValue;
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::super::Answer;
use super::{FakeStore, Kept};

impl Kept {
    fn find_bucket(&mut self, place: Option<pb::KvPlace>) -> Result<&mut pb::KvBucket, Status> {
        let name = place.unwrap().bucket;
        let missing = || Refusal::new(Code::BucketNotFound, format!("there is no bucket '{name}'")).into();
        self.buckets.iter_mut().find(|it| it.bucket == name).ok_or_else(missing)
    }
}

#[tonic::async_trait]
impl KeyValue for FakeStore {
    async fn get(&self, _: Request<pb::KvGetRequest>) -> Answer<pb::KvGetReply> {
        Err(Status::unimplemented("get"))
    }

    async fn list(&self, _: Request<pb::KvListRequest>) -> Answer<pb::KvListReply> {
        Err(Status::unimplemented("list"))
    }

    async fn write(&self, _: Request<pb::KvWriteRequest>) -> Answer<pb::KvWriteReply> {
        Err(Status::unimplemented("write"))
    }

    async fn put_bucket(&self, request: Request<pb::KvPutBucketRequest>) -> Answer<pb::KvChangeReply> {
        let pb::KvPutBucketRequest { place, keys_max, bytes_max, dry_run, holds, access, .. } =
            request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let bucket = place.clone().unwrap().bucket;
            if kept.buckets.iter().any(|it| it.bucket == bucket && it.holds.max(1) != holds) {
                let sentence = format!("what bucket '{bucket}' holds never changes");
                return Err(Refusal::new(Code::InvalidArgument, sentence).into());
            }
            if dry_run {
                kept.log.push(format!("dry bucket {bucket}"));
                return Ok(Response::new(pb::KvChangeReply { sequence: 42 }));
            }
            kept.log.push(format!("put bucket {bucket} {keys_max} {bytes_max}"));
            match kept.find_bucket(place) {
                Ok(found) => (found.keys_max, found.bytes_max, found.access) = (keys_max, bytes_max, access),
                Err(_) => {
                    let made =
                        pb::KvBucket { bucket, keys_max, bytes_max, holds, access, ..Default::default() };
                    kept.buckets.push(made);
                }
            }
            kept.acknowledged(pb::KvChangeReply { sequence: 42 })
        })
    }

    async fn drop_bucket(&self, request: Request<pb::KvDropBucketRequest>) -> Answer<pb::KvChangeReply> {
        let pb::KvDropBucketRequest { place, force, .. } = request.into_inner();
        self.with(|kept| {
            let found = kept.find_bucket(place)?.clone();
            if !found.watchers.is_empty() && !force {
                return Err(Refusal::new(Code::Conflict, "it is watched").into());
            }
            kept.buckets.retain(|it| it.bucket != found.bucket);
            kept.log.push(format!("drop bucket {}", found.bucket));
            kept.acknowledged(pb::KvChangeReply { sequence: 42 })
        })
    }

    async fn list_buckets(&self, _: Request<pb::KvListBucketsRequest>) -> Answer<pb::KvListBucketsReply> {
        self.with(|kept| {
            let (buckets, after) = (kept.buckets.clone(), String::new());
            Ok(Response::new(pb::KvListBucketsReply { buckets, after }))
        })
    }

    async fn watch(&self, request: Request<pb::KvWatchRequest>) -> Answer<pb::KvBucketReply> {
        let pb::KvWatchRequest { place, watcher, queue, dry_run, .. } = request.into_inner();
        let (mut watcher, queue) = (watcher.unwrap(), queue.unwrap_or_default());
        self.with(|kept| {
            kept.refused()?;
            let bucket = kept.find_bucket(place)?;
            watcher.queue = format!("bucket/{}/{}", bucket.bucket, watcher.function);
            let (function, name, own) =
                (watcher.function.clone(), bucket.bucket.clone(), watcher.queue.clone());
            if dry_run {
                kept.log.push(format!("dry watcher {name} {function}"));
                return Ok(Response::new(pb::KvBucketReply::default()));
            }
            bucket.watchers.retain(|it| it.function != function);
            bucket.watchers.push(watcher);
            let bucket = Some(bucket.clone());
            let spec = pb::QueueSpec {
                function: function.clone(),
                attempts: queue.attempts,
                messages_max: queue.messages_max,
                bytes_max: queue.bytes_max,
                backoff_ms: queue.backoff_ms,
                backoff_max_ms: queue.backoff_max_ms,
                age_ms: queue.age_ms,
                dead_keep_ms: queue.dead_keep_ms,
                delivery: queue.delivery.clone(),
            };
            kept.tell_queue(&own, &spec);
            kept.log.push(format!("put watcher {name} {function}"));
            kept.acknowledged(pb::KvBucketReply { bucket, sequence: 42 })
        })
    }

    async fn unwatch(&self, request: Request<pb::KvUnwatchRequest>) -> Answer<pb::KvBucketReply> {
        let pb::KvUnwatchRequest { place, function, .. } = request.into_inner();
        self.with(|kept| {
            let bucket = kept.find_bucket(place)?;
            bucket.watchers.retain(|it| it.function != function);
            let bucket = bucket.clone();
            kept.log.push(format!("drop watcher {} {function}", bucket.bucket));
            kept.acknowledged(pb::KvBucketReply { bucket: Some(bucket), sequence: 42 })
        })
    }
}
