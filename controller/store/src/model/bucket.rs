//! Buckets, of values or of blobs: made with bounds, watched, taken away in bounded steps.

mod drop;
mod put;
mod read;
mod watch;

use super::edit::Edit;
use super::fault::Fault;
use super::keys;
use super::name::Place;
use super::record::Bucket;
use super::refusal::{Reason, Refusal};

pub(super) use drop::{drop, go_on};
pub(super) use put::{never_fits, put};
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
        return Err(Refusal::of(Reason::BucketDropping, format!("bucket '{place}'")));
    }
    Ok(())
}
