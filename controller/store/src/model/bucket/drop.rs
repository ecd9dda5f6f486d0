//! A bucket is deleted: marked first, so that nothing is written to it, then emptied in bounded steps, and taken away with the last of what it
//! holds.
//! What somebody has begun goes on by itself.

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys::{self, Due};
use super::super::limits::OP_STEPS_MAX;
use super::super::name::Place;
use super::super::outcome::Outcome;
use super::super::record::{Bucket, Holds};
use super::super::refusal::{Reason, Refusal};
use super::super::{blob, census, kv};
use super::{need, watch, watchers};

/// Whoever has begun it goes on with it for so long alone.
const GRACE_MS: u64 = 10_000;

/// Deletes it, as far as one operation may. Refused while it is watched, unless it is forced: then nobody is told. With `begun` it only goes
/// on with what was begun.
pub(in super::super) fn drop(
    edit: &mut Edit<'_>,
    place: &Place,
    (force, begun): (bool, bool),
) -> Result<Outcome, Fault> {
    let bucket = need(edit, place)?;
    if bucket.dropping_ms == 0 {
        if begun {
            return Err(Refusal::of(Reason::NoBucket, place).into());
        }
        if bucket.watched && !force {
            let watchers = watchers(edit, place)?.watchers;
            let names: Vec<_> = watchers.iter().map(|it| it.function.as_str()).collect();
            let sentence = format!("bucket '{place}' is watched by {}", names.join(", "));
            return Err(Refusal::of(Reason::InUse, sentence).into());
        }
        if bucket.watched {
            watch::forget_all(edit, place, bucket)?;
        }
        mark(edit, place, GRACE_MS)?;
    }
    let (moved, more) = empty(edit, place)?;
    Ok(Outcome::Moved { moved, more, next: 0 })
}

/// Goes on with what somebody has begun and not ended.
pub(in super::super) fn go_on(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    let (place, _) = keys::subject_parts(subject).ok_or_else(|| unreadable("a timer of a bucket"))?;
    if empty(edit, &place)?.1 {
        mark(edit, &place, 1)?;
    }
    Ok(())
}

/// It is marked, with a timer that goes on with it.
fn mark(edit: &mut Edit<'_>, place: &Place, in_ms: u64) -> Result<(), Fault> {
    let bucket = need(edit, place)?;
    forget_timer(edit, place, &bucket);
    let dropping_ms = edit.moment.now_ms.saturating_add(in_ms);
    edit.mark(keys::timer(Due::Buckets, dropping_ms, &keys::bucket(place)));
    edit.put(keys::bucket(place), &Bucket { dropping_ms, ..bucket });
    Ok(())
}

fn forget_timer(edit: &mut Edit<'_>, place: &Place, bucket: &Bucket) {
    if bucket.dropping_ms > 0 {
        edit.remove(&keys::timer(Due::Buckets, bucket.dropping_ms, &keys::bucket(place)));
    }
}

/// Takes away what it holds, and with the last of that the bucket: how much, and whether there may be more.
fn empty(edit: &mut Edit<'_>, place: &Place) -> Result<(u32, bool), Fault> {
    let (moved, more) = match need(edit, place)?.holds {
        Holds::Values => take_values(edit, place)?,
        Holds::Blobs { .. } => blob::take_some(edit, place)?,
    };
    if !more {
        let bucket = need(edit, place)?;
        forget_timer(edit, place, &bucket);
        edit.remove(&keys::bucket(place));
        census::count_bucket(edit, false)?;
    }
    Ok((moved, more))
}

fn take_values(edit: &mut Edit<'_>, place: &Place) -> Result<(u32, bool), Fault> {
    let (found, more) = edit.steps(&keys::values(place, b""), OP_STEPS_MAX)?;
    for key in &found {
        let (_, key) = keys::value_parts(key).ok_or_else(|| unreadable("a value's key"))?;
        kv::take(edit, place, key)?;
    }
    Ok((found.len().try_into().unwrap_or(u32::MAX), more))
}
