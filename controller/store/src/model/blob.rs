//! Blobs of buckets (docs/adr/0018): uploads that are opened, filled part by part and ended; what becomes of a blob, and how it is read.
//! What blobs hold is in files beside the replicas (`chunks`): here is only which of them belong to what.

mod change;
mod content;
mod drop;
mod event;
mod id;
mod look;
mod read;
mod upload;

use super::bucket;
use super::edit::Edit;
use super::fault::Fault;
use super::limits::KEY_BYTES_MAX;
use super::name::Place;
use super::record::{Bucket, Holds};
use super::refusal::{Reason, Refusal};

pub(super) use change::{change, check};
pub(super) use drop::take_some;
pub use id::{UploadId, UploadIdError};
pub use read::{
    Becoming, BlobEntry, BlobPage, PartsPage, Standing, blob, blob_data, blobs, commits, committed,
    has_chunks, parts_page, standing, upload, upload_parts, uploads,
};
pub(super) use upload::{abort, begin, expire, put_part, renew};

/// The bucket, which holds blobs and is not being deleted, or a refusal.
fn need(edit: &Edit<'_>, place: &Place) -> Result<Bucket, Fault> {
    let bucket = bucket::need_kept(edit, place)?;
    match bucket.holds {
        Holds::Blobs { .. } => Ok(bucket),
        Holds::Values => {
            let sentence = format!("bucket '{place}' holds values, no blobs");
            Err(Refusal::of(Reason::Invalid, sentence).into())
        }
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.chars().any(char::is_control) {
        return Err(Refusal::of(Reason::Invalid, "a blob's key has at least one byte, and no controls"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Refusal::over_size(Reason::TooLarge, "a blob's key", key.len(), KEY_BYTES_MAX));
    }
    Ok(())
}

/// Bytes for which a bucket answers.
fn weight(key: &str, bytes: u64) -> u64 {
    u64::try_from(key.len()).unwrap_or(u64::MAX).saturating_add(bytes)
}

fn named(place: &Place, key: &str) -> String {
    format!("'{key}' of bucket '{place}'")
}
