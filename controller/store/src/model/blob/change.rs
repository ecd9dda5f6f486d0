//! A blob becomes another one, or is not there any more: for all at once, within its bucket's bounds, and told to whoever watches it.

use bytes::Bytes;

use super::super::bucket;
use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::keys;
use super::super::name::Place;
use super::super::op::{BlobBecomes, BlobChange, BlobContent, Check, UploadName};
use super::super::outcome::Effected;
use super::super::record::{Blob, Bucket, Committed, Part};
use super::super::refusal::{Reason, Refusal};
use super::content::{From, Resolved, resolve};
use super::event::{self, Change};
use super::{check_key, named, need, upload, weight};

/// Any blob, as a condition.
const ANY: &str = "*";

/// Makes the change, or refuses it.
pub(in super::super) fn change(edit: &mut Edit<'_>, change: &BlobChange) -> Result<Effected, Fault> {
    let bucket = need(edit, &change.bucket)?;
    check_key(&change.key)?;
    let stored: Option<Blob> = edit.get(&keys::blob(&change.bucket, &change.key))?;
    // What is not there is not deleted on any condition, and that is no failure (RFC 9110 13.2.1).
    if stored.is_none() && matches!(change.becomes, BlobBecomes::Nothing) {
        return Ok(Effected::Deleted { existed: false });
    }
    check_conditions(change, stored.as_ref())?;
    match &change.becomes {
        BlobBecomes::Content(content) => commit(edit, change, content, (bucket, stored)),
        BlobBecomes::Nothing => delete(edit, change, (bucket, stored)),
    }
}

/// What was read is as it was, or the operation is refused.
pub(in super::super) fn check(edit: &Edit<'_>, check: &Check) -> Result<Effected, Fault> {
    // What is no text was never there.
    let key = std::str::from_utf8(&check.key).unwrap_or_default();
    let stored: Option<Blob> = edit.get(&keys::blob(&check.bucket, key))?;
    let found = stored.map_or(0, |blob| blob.version);
    if found == check.version {
        return Ok(Effected::Checked);
    }
    Err(Refusal::over(Reason::Mismatch, named(&check.bucket, key), found, check.version).into())
}

/// Takes a blob away that is known to be there, and tells nobody.
pub(super) fn take(edit: &mut Edit<'_>, place: &Place, key: &str) -> Result<(), Fault> {
    let mut bucket = bucket::need(edit, place)?;
    if let Some(blob) = edit.get::<Blob>(&keys::blob(place, key))? {
        clear(edit, (place, key), &blob, &mut bucket);
        edit.put(keys::bucket(place), &bucket);
    }
    Ok(())
}

fn commit(
    edit: &mut Edit<'_>,
    change: &BlobChange,
    content: &BlobContent,
    (before, stored): (Bucket, Option<Blob>),
) -> Result<Effected, Fault> {
    let (place, key) = (&change.bucket, &change.key[..]);
    let Resolved { bytes, etag, look, from } = resolve(edit, change, content)?;
    let (mut bucket, existed) = (before, stored.is_some());
    if let Some(blob) = &stored {
        clear(edit, (place, key), blob, &mut bucket);
    }
    bucket.keys = bucket.keys.saturating_add(1);
    bucket.bytes = bucket.bytes.saturating_add(weight(key, bytes));
    check_bounds(place, before, bucket, weight(key, bytes))?;
    edit.put(keys::bucket(place), &bucket);
    let version = edit.next();
    let upload = match from {
        From::Data(data) => {
            edit.write(keys::blob_data(place, key), data);
            None
        }
        From::Upload(id, parts) => {
            let name = UploadName { bucket: place.clone(), key: key.to_owned(), id };
            let opened = upload::find(edit, &name)?;
            upload::close(edit, id, &opened)?;
            // Nobody asks for them any more.
            let parts = parts.into_iter().map(|part| Part { digest: Bytes::new(), ..part }).collect();
            edit.put(keys::committed(id), &Committed { version, parts });
            edit.mark(keys::commit(version, id));
            Some(id)
        }
    };
    let modified_ms = edit.moment.now_ms;
    let blob = Blob { version, bytes, etag: etag.clone(), modified_ms, look, upload };
    edit.put(keys::blob(place, key), &blob);
    if bucket.watched {
        event::tell(edit, (place, key), Change::Created, &blob)?;
    }
    Ok(Effected::Committed { version, bytes, etag, modified_ms, existed })
}

fn delete(
    edit: &mut Edit<'_>,
    change: &BlobChange,
    (mut bucket, stored): (Bucket, Option<Blob>),
) -> Result<Effected, Fault> {
    let Some(blob) = stored else { return Ok(Effected::Deleted { existed: false }) };
    let at = (&change.bucket, &change.key[..]);
    clear(edit, at, &blob, &mut bucket);
    edit.put(keys::bucket(&change.bucket), &bucket);
    if bucket.watched {
        event::tell(edit, at, Change::Deleted, &blob)?;
    }
    Ok(Effected::Deleted { existed: true })
}

/// Nothing is stored here any more. Its chunks belong to nothing from now on.
fn clear(edit: &mut Edit<'_>, (place, key): (&Place, &str), blob: &Blob, bucket: &mut Bucket) {
    edit.remove(&keys::blob(place, key));
    match blob.upload {
        None => edit.remove(&keys::blob_data(place, key)),
        Some(id) => {
            edit.remove(&keys::committed(id));
            edit.remove(&keys::commit(blob.version, id));
        }
    }
    bucket.keys = bucket.keys.saturating_sub(1);
    bucket.bytes = bucket.bytes.saturating_sub(weight(key, blob.bytes));
}

fn check_conditions(change: &BlobChange, stored: Option<&Blob>) -> Result<(), Refusal> {
    let refused = |why: &str| {
        let sentence = format!("{} {why}", named(&change.bucket, &change.key));
        Refusal::of(Reason::Precondition, sentence)
    };
    if change.if_none_match && stored.is_some() {
        return Err(refused("is there already"));
    }
    match (&change.if_match[..], stored) {
        ("", _) | (ANY, Some(_)) => Ok(()),
        (_, None) => Err(refused("is not there")),
        (etag, Some(blob)) if etag == blob.etag => Ok(()),
        (_, Some(blob)) => Err(refused(&format!("has the etag {}, another one was expected", blob.etag))),
    }
}

/// A bucket that is over its bounds, which were others once, may shrink.
fn check_bounds(place: &Place, before: Bucket, after: Bucket, weight: u64) -> Result<(), Refusal> {
    if after.keys > after.keys_max && after.keys > before.keys {
        return Err(Refusal::over(Reason::BucketFullKeys, place, after.keys, after.keys_max));
    }
    if after.bytes > after.bytes_max && after.bytes > before.bytes {
        upload::check_fits(place, weight, after.bytes_max)?;
        return Err(Refusal::over(Reason::BucketFullBytes, place, after.bytes, after.bytes_max));
    }
    Ok(())
}
