//! Blobs and uploads between their wire form and the model.

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::pb::{self, BlobInfo, BlobUpload};
use coracle_proto::status::Refusal;

use crate::model::{Blob, BlobBecomes, BlobContent, BlobEntry, Look, Part, Upload, UploadId};

/// What becomes of a blob; none: it is not there any more.
pub(in super::super) fn becomes(wire: Option<pb::BlobContent>) -> Result<BlobBecomes, Refusal> {
    let Some(wire) = wire else { return Ok(BlobBecomes::Nothing) };
    let pb::BlobContent { data, upload, parts, etag, content_type, metadata } = wire;
    let look = Look { content_type, metadata };
    let content = if upload.is_empty() {
        BlobContent { data, upload: None, parts: Vec::new(), etag, look }
    } else {
        let upload = Some(UploadId::try_from(&upload[..]).in_field("content.upload")?);
        let parts = parts.into_iter().map(part).collect();
        BlobContent { data: Bytes::new(), upload, parts, etag, look }
    };
    Ok(BlobBecomes::Content(content))
}

pub(super) fn part(wire: pb::BlobPart) -> Part {
    let pb::BlobPart { number, run, bytes, digest } = wire;
    Part { number, run, bytes, digest }
}

pub(super) fn part_to_wire(part: Part) -> pb::BlobPart {
    let Part { number, run, bytes, digest } = part;
    pb::BlobPart { number, run, bytes, digest }
}

pub(super) fn info(BlobEntry { key, blob }: BlobEntry) -> BlobInfo {
    let Blob { version, bytes, etag, modified_ms, look, upload: _ } = blob;
    let Look { content_type, metadata } = look;
    BlobInfo { key, version, bytes, etag, modified_ms, content_type, metadata }
}

/// Without its parts.
pub(super) fn upload(id: UploadId, it: Upload) -> BlobUpload {
    let Upload { bucket, key, begun_ms, time_ms: _, until_ms, look } = it;
    let Look { content_type, metadata } = look;
    BlobUpload {
        id: Bytes::copy_from_slice(&id.to_bytes()),
        bucket: bucket.name.to_string(),
        key,
        begun_ms,
        until_ms,
        content_type,
        metadata,
        parts: Vec::new(),
    }
}
