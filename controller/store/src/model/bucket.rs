//! Buckets: made with bounds, watched, taken away in bounded steps.

mod read;
mod watch;

use super::edit::Edit;
use super::fault::{Fault, unreadable};
use super::limits::OP_STEPS_MAX;
use super::name::Place;
use super::outcome::Outcome;
use super::record::Bucket;
use super::refusal::{Reason, Refusal};
use super::{census, keys, kv};

pub use read::{Listed, bucket, buckets};
pub(super) use watch::{forget, unwatch, watch, watchers};

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
    let bucket = if let Some(bucket) = edit.get::<Bucket>(&key)? {
        bucket
    } else {
        census::count_bucket(edit, true)?;
        Bucket { keys_max, bytes_max, keys: 0, bytes: 0, watched: false }
    };
    edit.put(key, &Bucket { keys_max, bytes_max, ..bucket });
    Ok(Outcome::Done)
}

/// Takes values away, and with the last one the bucket. Refused while it is watched, unless forced: then nobody is told.
pub(super) fn drop(edit: &mut Edit<'_>, place: &Place, force: bool) -> Result<Outcome, Fault> {
    let bucket = need(edit, place)?;
    if bucket.watched && !force {
        let watchers = watchers(edit, place)?.watchers;
        let names: Vec<_> = watchers.iter().map(|it| it.function.as_str()).collect();
        let sentence = format!("bucket '{place}' is watched by {}", names.join(", "));
        return Err(Refusal::of(Reason::InUse, sentence).into());
    }
    if bucket.watched {
        watch::forget_all(edit, place, bucket);
    }
    let (found, more) = edit.steps(&keys::values(place, b""), OP_STEPS_MAX)?;
    for key in &found {
        let (_, key) = keys::value_parts(key).ok_or_else(|| unreadable("a value's key"))?;
        kv::take(edit, place, key)?;
    }
    if !more && bucket.keys <= found.len().try_into().unwrap_or(u64::MAX) {
        edit.remove(&keys::bucket(place));
        census::count_bucket(edit, false)?;
    }
    Ok(Outcome::Moved { moved: found.len().try_into().unwrap_or(u32::MAX), more, next: 0 })
}
