//! A change of a blob is an event for whoever watches its bucket, published in the operation that makes it.

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::kv::{Told, json, tell_watchers};
use super::super::name::Place;
use super::super::record::Blob;

/// The types of the events.
const CREATED: &str = "dev.coracle.blob.created";
const DELETED: &str = "dev.coracle.blob.deleted";

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Also of one that replaces another one.
    Created,
    /// With what it was.
    Deleted,
}

pub(super) fn tell(
    edit: &mut Edit<'_>,
    (place, key): (&Place, &str),
    change: Change,
    blob: &Blob,
) -> Result<(), Fault> {
    let (kind, sets) = match change {
        Change::Created => (CREATED, true),
        Change::Deleted => (DELETED, false),
    };
    tell_watchers(edit, (place, key.as_bytes()), sets, |edit| {
        // Of one that is gone: later than what was there, and before what comes.
        let version = if sets { blob.version } else { edit.next() };
        Told { kind, version, data: data(place, key, version, blob).into() }
    })
}

/// JSON: names and numbers, not what it holds.
fn data(place: &Place, key: &str, version: u64, blob: &Blob) -> String {
    let bucket = json(place.name.as_str());
    let (key, etag, bytes) = (json(key), json(&blob.etag), blob.bytes);
    let content_type = json(&blob.look.content_type);
    format!(
        "{{\"bucket\":{bucket},\"key\":{key},\"version\":{version},\"bytes\":{bytes},\"etag\":{etag},\"contentType\":{content_type}}}"
    )
}
