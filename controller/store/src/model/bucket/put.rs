//! A bucket is made, or told anew; and what could never be in one is refused for good.

use std::collections::BTreeMap;

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::limits::{BUCKET_BLOB_BYTES_MAX, BUCKET_BYTES_MAX};
use super::super::name::Place;
use super::super::op::{BlobBecomes, Change, Effect, ToHold};
use super::super::outcome::Outcome;
use super::super::record::{Access, Bucket, Holds};
use super::super::refusal::{Reason, Refusal};
use super::super::{census, keys};
use super::check_kept;

/// Makes it, or gives it other bounds. What it holds never changes.
pub(in super::super) fn put(
    edit: &mut Edit<'_>,
    place: &Place,
    (keys_max, bytes_max): (u64, u64),
    wanted: ToHold,
) -> Result<Outcome, Fault> {
    let key = keys::bucket(place);
    let bucket = if let Some(bucket) = edit.get::<Bucket>(&key)? {
        check_kept(place, &bucket)?;
        Bucket { holds: told(place, bucket.holds, wanted)?, ..bucket }
    } else {
        census::count_bucket(edit, true)?;
        let holds = match wanted {
            ToHold::Any | ToHold::Values => Holds::Values,
            ToHold::Blobs { access, key } => Holds::Blobs { access: access.unwrap_or(Access::Signed), key },
        };
        Bucket { keys_max, bytes_max, keys: 0, bytes: 0, watched: false, dropping_ms: 0, holds, uploads: 0 }
    };
    let most = match bucket.holds {
        Holds::Values => BUCKET_BYTES_MAX,
        Holds::Blobs { .. } => BUCKET_BLOB_BYTES_MAX,
    };
    if bytes_max > most {
        let sentence =
            format!("field 'bytes_max' of bucket '{place}' is {bytes_max}: at most {most} are allowed");
        return Err(Refusal::of(Reason::Invalid, sentence).into());
    }
    edit.put(key, &Bucket { keys_max, bytes_max, ..bucket });
    Ok(Outcome::Done)
}

/// What one that is there holds from now on.
fn told(place: &Place, holds: Holds, wanted: ToHold) -> Result<Holds, Refusal> {
    let other = |what| {
        let sentence = format!("bucket '{place}' holds {what}, which never changes");
        Err(Refusal::of(Reason::Invalid, sentence))
    };
    match (holds, wanted) {
        (holds, ToHold::Any) | (holds @ Holds::Values, ToHold::Values) => Ok(holds),
        (Holds::Values, ToHold::Blobs { .. }) => other("values"),
        (Holds::Blobs { .. }, ToHold::Values) => other("blobs"),
        (Holds::Blobs { access: before, key }, ToHold::Blobs { access, .. }) => {
            Ok(Holds::Blobs { access: access.unwrap_or(before), key })
        }
    }
}

/// What is said instead of that the bucket is full, where these effects would not fit into it if it were empty.
pub(in super::super) fn never_fits(effects: &[Effect], refusal: &Refusal) -> Option<Refusal> {
    let counts_bytes = match refusal.reason {
        Reason::BucketFullBytes => true,
        Reason::BucketFullKeys => false,
        _ => return None,
    };
    let (mut held, mut most) = (BTreeMap::new(), 0_u64);
    for effect in effects {
        let Some((bucket, key, bytes)) = change(effect) else { continue };
        // The refusal names the bucket so.
        if bucket.to_string() != refusal.subject {
            continue;
        }
        match bytes {
            Some(bytes) => {
                held.insert(key, u64::try_from(key.len()).unwrap_or(u64::MAX).saturating_add(bytes))
            }
            None => held.remove(key),
        };
        let keys = u64::try_from(held.len()).unwrap_or(u64::MAX);
        let bytes = held.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        most = most.max(if counts_bytes { bytes } else { keys });
    }
    let (place, bound) = (&refusal.subject, refusal.bound);
    let what = if counts_bytes { "bytes" } else { "keys" };
    let sentence =
        format!("{most} {what} at once for bucket '{place}', which may have {bound}: they never fit");
    (most > bound).then(|| Refusal::over(Reason::NeverFits, sentence, most, bound))
}

/// Whose bucket and key an effect changes, and the least bytes that are there then; none: nothing is.
fn change(effect: &Effect) -> Option<(&Place, &[u8], Option<u64>)> {
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    match effect {
        Effect::Write(write) => {
            let bytes = match &write.change {
                Change::Set { data, .. } | Change::CompareAndSet { data, .. } => Some(wide(data.len())),
                // One digit at least.
                Change::Increment { .. } => Some(1),
                Change::Delete => None,
            };
            Some((&write.bucket, &write.key, bytes))
        }
        Effect::Blob(it) => {
            let bytes = match &it.becomes {
                BlobBecomes::Nothing => None,
                BlobBecomes::Content(content) => {
                    let parts = content.parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.bytes));
                    Some(parts.saturating_add(wide(content.data.len())))
                }
            };
            Some((&it.bucket, it.key.as_bytes(), bytes))
        }
        Effect::Publish(_) | Effect::Check(_) => None,
    }
}
