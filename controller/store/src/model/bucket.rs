//! Buckets: made with bounds, taken away in bounded steps.

use super::edit::Edit;
use super::fault::{Fault, unreadable};
use super::limits::OP_STEPS_MAX;
use super::name::Place;
use super::outcome::Outcome;
use super::record::Bucket;
use super::refusal::{Reason, Refusal};
use super::{keys, kv};

/// The bucket, or a refusal.
pub(super) fn need(edit: &Edit<'_>, place: &Place) -> Result<Bucket, Fault> {
    Ok(edit.get(&keys::bucket(place))?.ok_or_else(|| Refusal::of(Reason::NoBucket, place))?)
}

/// Makes it, or gives it other bounds.
pub(super) fn put(
    edit: &mut Edit<'_>,
    place: &Place,
    keys_max: u64,
    bytes_max: u64,
) -> Result<Outcome, Fault> {
    let key = keys::bucket(place);
    let (keys, bytes) = edit.get::<Bucket>(&key)?.map_or((0, 0), |bucket| (bucket.keys, bucket.bytes));
    edit.put(key, &Bucket { keys_max, bytes_max, keys, bytes });
    Ok(Outcome::Done)
}

/// Takes values away, and with the last one the bucket.
pub(super) fn drop(edit: &mut Edit<'_>, place: &Place) -> Result<Outcome, Fault> {
    let bucket = need(edit, place)?;
    let (found, more) = edit.steps(&keys::values(place, b""), OP_STEPS_MAX)?;
    for key in &found {
        let (_, key) = keys::value_parts(key).ok_or_else(|| unreadable("a value's key"))?;
        kv::take(edit, place, key)?;
    }
    if !more && bucket.keys <= found.len().try_into().unwrap_or(u64::MAX) {
        edit.remove(&keys::bucket(place));
    }
    Ok(Outcome::Moved { moved: found.len().try_into().unwrap_or(u32::MAX), more, next: 0 })
}
