//! What a bucket of blobs holds is taken away in bounded steps, with the bucket.

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys;
use super::super::limits::OP_STEPS_MAX;
use super::super::name::Place;
use super::{change, upload};

/// Takes blobs away, and behind them uploads: how many, and whether there may be more.
pub(in super::super) fn take_some(edit: &mut Edit<'_>, place: &Place) -> Result<(u32, bool), Fault> {
    let (found, more) = edit.steps(&keys::blobs(place, ""), OP_STEPS_MAX)?;
    for key in &found {
        let key = keys::blob_parts(key).ok_or_else(|| unreadable("a blob's key"))?;
        change::take(edit, place, key)?;
    }
    let mut moved = found.len().try_into().unwrap_or(u32::MAX);
    if more {
        return Ok((moved, true));
    }
    let (found, more) = edit.steps(&keys::uploads_of(place), OP_STEPS_MAX)?;
    for key in &found {
        let id = keys::upload_of_parts(key).ok_or_else(|| unreadable("an upload's key"))?;
        if !upload::end(edit, id)? {
            return Ok((moved, true));
        }
        moved = moved.saturating_add(1);
    }
    Ok((moved, more))
}
