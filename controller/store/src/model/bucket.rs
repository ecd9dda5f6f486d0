//! Buckets: made with bounds, watched, taken away in bounded steps.

mod drop;
mod read;
mod watch;

use super::edit::Edit;
use super::fault::Fault;
use super::name::Place;
use super::outcome::Outcome;
use super::record::Bucket;
use super::refusal::{Reason, Refusal};
use super::{census, keys};

pub(super) use drop::{drop, go_on};
pub use read::{Listed, bucket, buckets};
pub(super) use watch::{forget, unwatch, watch, watchers};

/// The bucket, or a refusal.
pub(super) fn need(edit: &Edit<'_>, place: &Place) -> Result<Bucket, Fault> {
    Ok(edit.get(&keys::bucket(place))?.ok_or_else(|| Refusal::of(Reason::NoBucket, place))?)
}

/// The same of one that is not being deleted.
pub(super) fn need_kept(edit: &Edit<'_>, place: &Place) -> Result<Bucket, Fault> {
    let bucket = need(edit, place)?;
    check_kept(place, &bucket)?;
    Ok(bucket)
}

/// Refuses what is asked of a bucket that is being deleted.
pub(super) fn check_kept(place: &Place, bucket: &Bucket) -> Result<(), Refusal> {
    if bucket.dropping_ms > 0 {
        return Err(Refusal::of(Reason::Dropping, format!("bucket '{place}'")));
    }
    Ok(())
}

/// Makes it, or gives it other bounds.
pub(super) fn put(
    edit: &mut Edit<'_>,
    place: &Place,
    keys_max: u64,
    bytes_max: u64,
) -> Result<Outcome, Fault> {
    let key = keys::bucket(place);
    let bucket = if let Some(bucket) = edit.get::<Bucket>(&key)? {
        check_kept(place, &bucket)?;
        bucket
    } else {
        census::count_bucket(edit, true)?;
        Bucket { keys_max, bytes_max, keys: 0, bytes: 0, watched: false, dropping_ms: 0 }
    };
    edit.put(key, &Bucket { keys_max, bytes_max, ..bucket });
    Ok(Outcome::Done)
}
