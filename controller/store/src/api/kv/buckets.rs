//! Buckets as they are listed and watched.

use coracle_proto::codec::InField as _;
use coracle_proto::id::FunctionId;
use coracle_proto::pb::{BlobAccess, KvBucket, KvBucketReply, KvHolds, KvRequest, KvWatcher};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::View;

use super::super::leading::{Leading, sequence, unreadable};
use super::super::spec;
use crate::model::{
    self, Access, BUCKET_BLOB_BYTES_MAX, BUCKET_BYTES_MIN, BUCKET_KEYS_MAX, Holds, Listed, Op, Outcome,
    Place, SigningKey, ToHold, Watcher,
};

/// Names of people's buckets are as those of functions; their bounds have bounds. How many bytes may be asked for depends on what it holds,
/// which the model knows.
pub(super) fn check(bucket: &Place, keys_max: u64, bytes_max: u64) -> Result<(), Refusal> {
    FunctionId::parse(bucket.namespace.as_str(), bucket.name.as_str()).in_field("place.bucket")?;
    for (field, value, least, most) in [
        ("keys_max", keys_max, 1, BUCKET_KEYS_MAX),
        ("bytes_max", bytes_max, BUCKET_BYTES_MIN, BUCKET_BLOB_BYTES_MAX),
    ] {
        if !(least..=most).contains(&value) {
            let sentence = format!("field '{field}' of a bucket is {value}: {least} to {most} are allowed");
            return Err(Refusal::new(Code::InvalidArgument, sentence));
        }
    }
    Ok(())
}

/// What it is to hold. The key of its signatures is drawn here, and kept where a bucket of blobs is made.
pub(super) fn wanted(holds: i32, access: i32) -> Result<ToHold, Refusal> {
    let holds = KvHolds::try_from(holds).in_field("holds")?;
    let access = match BlobAccess::try_from(access).in_field("access")? {
        BlobAccess::Unspecified => None,
        BlobAccess::Signed => Some(Access::Signed),
        BlobAccess::Read => Some(Access::Read),
        BlobAccess::Open => Some(Access::Open),
    };
    match (holds, access) {
        (KvHolds::Unspecified, None) => Ok(ToHold::Any),
        (KvHolds::Values, None) => Ok(ToHold::Values),
        (KvHolds::Values, Some(_)) => {
            let sentence = "field 'access' is of buckets that hold blobs, and this one is to hold values";
            Err(Refusal::new(Code::InvalidArgument, sentence))
        }
        (KvHolds::Blobs, access) | (KvHolds::Unspecified, access) => {
            Ok(ToHold::Blobs { access, key: SigningKey(rand::random()) })
        }
    }
}

/// Refuses to look for values among blobs.
pub(super) fn check_values(view: &View, place: &Place) -> Result<(), Refusal> {
    let found = model::bucket(view, place).map_err(|stop| unreadable(&stop))?;
    if found.is_some_and(|it| it.bucket.holds != Holds::Values) {
        let sentence = format!("bucket '{place}' holds blobs, no values");
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    Ok(())
}

/// Who is to watch, and what concerns it.
pub(super) fn watcher(bucket: &Place, wire: KvWatcher) -> Result<Watcher, Refusal> {
    let KvWatcher { function, queue: _, sets, deletes, prefix, suffix } = wire;
    let function = spec::function(bucket.namespace.as_str(), &function, "watcher.function")?;
    Ok(Watcher { function, sets, deletes, prefix, suffix })
}

/// Deletes a bucket. Where nobody goes on with it the leader does, by itself.
pub(super) async fn dropped(
    leading: &Leading,
    mut request: Option<KvRequest>,
    bucket: &Place,
    force: bool,
) -> Result<(), Refusal> {
    let mut begun = false;
    loop {
        let op = Op::DropBucket { bucket: bucket.clone(), force, begun };
        match leading.done(request.take(), op).await {
            Ok(Outcome::Moved { more: true, .. }) => begun = true,
            Ok(_) => return Ok(()),
            // The leader has ended it meanwhile, or this is a repetition: another bucket may have its name by now.
            Err(refusal) if begun && refusal.code == Code::BucketNotFound => return Ok(()),
            Err(refusal) => return Err(refusal),
        }
    }
}

/// With the bucket as it is now, if it is there.
pub(super) fn reply(view: &View, place: &Place) -> Result<KvBucketReply, Refusal> {
    let found = model::bucket(view, place).map_err(|stop| unreadable(&stop))?;
    Ok(KvBucketReply { bucket: found.map(detail).transpose()?, sequence: sequence(view)? })
}

pub(super) fn detail(found: Listed) -> Result<KvBucket, Refusal> {
    let Listed { place, bucket, watchers } = found;
    let (holds, access) = match bucket.holds {
        Holds::Values => (KvHolds::Values, BlobAccess::Unspecified),
        Holds::Blobs { access: Access::Signed, .. } => (KvHolds::Blobs, BlobAccess::Signed),
        Holds::Blobs { access: Access::Read, .. } => (KvHolds::Blobs, BlobAccess::Read),
        Holds::Blobs { access: Access::Open, .. } => (KvHolds::Blobs, BlobAccess::Open),
    };
    let one = |it: Watcher| {
        let queue = Place::of_watcher(&place, &it.function).in_field("bucket")?;
        let Watcher { function, sets, deletes, prefix, suffix } = it;
        let (function, queue) = (function.to_string(), queue.name.to_string());
        Ok::<_, Refusal>(KvWatcher { function, queue, sets, deletes, prefix, suffix })
    };
    Ok(KvBucket {
        bucket: place.name.to_string(),
        keys_max: bucket.keys_max,
        bytes_max: bucket.bytes_max,
        keys: bucket.keys,
        bytes: bucket.bytes,
        watchers: watchers.into_iter().map(one).collect::<Result<_, _>>()?,
        holds: holds.into(),
        access: access.into(),
        dropping: bucket.dropping_ms > 0,
    })
}
