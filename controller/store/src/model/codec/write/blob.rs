//! What is asked of blobs, of their uploads and buckets, to its wire form.

use bytes::Bytes;
use coracle_proto::pb::store::{self as pb, blob_change};

use super::super::super::{Begin, BlobBecomes, BlobChange, Part, Place, ToHold, UploadName};
use super::super::names::{access_to_wire, place_to_wire};
use super::super::record::{look_to_wire, part_to_wire, upload_to_wire};

pub(super) fn put_bucket(bucket: &Place, (keys_max, bytes_max): (u64, u64), wanted: ToHold) -> pb::PutBucket {
    let (holds, access, signing_key) = match wanted {
        ToHold::Any => (pb::Holds::Unspecified, pb::BlobAccess::Unspecified, Bytes::new()),
        ToHold::Values => (pb::Holds::Values, pb::BlobAccess::Unspecified, Bytes::new()),
        ToHold::Blobs { access, key } => {
            let access = access.map_or(pb::BlobAccess::Unspecified, access_to_wire);
            (pb::Holds::Blobs, access, Bytes::copy_from_slice(&key.0))
        }
    };
    let (bucket, holds, access) = (Some(place_to_wire(bucket)), holds.into(), access.into());
    pb::PutBucket { bucket, keys_max, bytes_max, holds, access, signing_key }
}

pub(super) fn begin(it: &Begin) -> pb::BeginUpload {
    pb::BeginUpload {
        bucket: Some(place_to_wire(&it.bucket)),
        key: it.key.clone(),
        time_ms: it.time_ms,
        look: Some(look_to_wire(&it.look)),
        bytes: it.bytes,
    }
}

pub(super) fn renew(it: &UploadName) -> pb::RenewUpload {
    pb::RenewUpload { upload: Some(name(it)) }
}

pub(super) fn put_part(upload: &UploadName, part: &Part) -> pb::PutPart {
    pb::PutPart { upload: Some(name(upload)), part: Some(part_to_wire(part)) }
}

pub(super) fn abort(it: &UploadName) -> pb::AbortUpload {
    pb::AbortUpload { upload: Some(name(it)) }
}

pub(super) fn change(it: &BlobChange) -> pb::BlobChange {
    let (change, etag, look) = match &it.becomes {
        BlobBecomes::Nothing => (blob_change::Change::Delete(pb::Delete {}), String::new(), None),
        BlobBecomes::Content(content) => {
            let change = match content.upload {
                None => blob_change::Change::Data(pb::BlobData { data: content.data.clone() }),
                Some(id) => blob_change::Change::Parts(pb::BlobParts {
                    upload: upload_to_wire(id),
                    parts: content.parts.iter().map(part_to_wire).collect(),
                }),
            };
            (change, content.etag.clone(), Some(look_to_wire(&content.look)))
        }
    };
    pb::BlobChange {
        bucket: Some(place_to_wire(&it.bucket)),
        key: it.key.clone(),
        if_match: it.if_match.clone(),
        if_none_match: it.if_none_match,
        change: Some(change),
        etag,
        look,
    }
}

fn name(it: &UploadName) -> pb::UploadName {
    let bucket = Some(place_to_wire(&it.bucket));
    pb::UploadName { bucket, key: it.key.clone(), id: upload_to_wire(it.id) }
}
