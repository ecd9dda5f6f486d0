//! What is asked of blobs, of their uploads and buckets, from its wire form.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::pb::store::{self as pb, blob_change};

use super::super::super::{
    Begin, BlobBecomes, BlobChange, BlobContent, Op, Place, SigningKey, ToHold, UploadName,
};
use super::super::DecodeError;
use super::super::names::{access_from_wire, place_from_wire};
use super::super::record::{look_from_wire, part_from_wire, upload_from_wire};

pub(super) fn put_bucket(wire: pb::PutBucket) -> Result<Op, FieldError> {
    let holds = match wire.holds() {
        pb::Holds::Unspecified => ToHold::Any,
        pb::Holds::Values => ToHold::Values,
        pb::Holds::Blobs => ToHold::Blobs {
            access: match wire.access() {
                pb::BlobAccess::Unspecified => None,
                access => Some(access_from_wire(access)?),
            },
            key: SigningKey(<[u8; 32]>::try_from(&wire.signing_key[..]).in_field("put_bucket.signing_key")?),
        },
    };
    let pb::PutBucket { bucket, keys_max, bytes_max, .. } = wire;
    let bucket = place_from_wire(bucket, "put_bucket.bucket")?;
    Ok(Op::PutBucket { bucket, keys_max, bytes_max, holds })
}

pub(super) fn begin(wire: pb::BeginUpload) -> Result<Op, FieldError> {
    let pb::BeginUpload { bucket, key, time_ms, look, bytes } = wire;
    let (bucket, look) = (self::bucket(bucket)?, look_from_wire(look));
    Ok(Op::BeginUpload(Begin { bucket, key, time_ms, look, bytes }))
}

pub(super) fn renew(wire: pb::RenewUpload) -> Result<Op, FieldError> {
    Ok(Op::RenewUpload(name(wire.upload)?))
}

pub(super) fn put_part(wire: pb::PutPart) -> Result<Op, FieldError> {
    let part = part_from_wire(wire.part.in_field("put_part.part")?);
    Ok(Op::PutPart { upload: name(wire.upload)?, part })
}

pub(super) fn abort(wire: pb::AbortUpload) -> Result<Op, FieldError> {
    Ok(Op::AbortUpload(name(wire.upload)?))
}

pub(super) fn change(wire: pb::BlobChange) -> Result<BlobChange, DecodeError> {
    let pb::BlobChange { bucket, key, if_match, if_none_match, change, etag, look } = wire;
    let (data, upload, parts) = match change.ok_or(DecodeError::UnknownOp)? {
        blob_change::Change::Delete(pb::Delete {}) => {
            let (bucket, becomes) = (self::bucket(bucket)?, BlobBecomes::Nothing);
            return Ok(BlobChange { bucket, key, if_match, if_none_match, becomes });
        }
        blob_change::Change::Data(pb::BlobData { data }) => (data, None, Vec::new()),
        blob_change::Change::Parts(pb::BlobParts { upload, parts }) => {
            (Bytes::new(), Some(upload_from_wire(&upload)?), parts)
        }
    };
    let parts = parts.into_iter().map(part_from_wire).collect();
    let content = BlobContent { data, upload, parts, etag, look: look_from_wire(look) };
    let (bucket, becomes) = (self::bucket(bucket)?, BlobBecomes::Content(content));
    Ok(BlobChange { bucket, key, if_match, if_none_match, becomes })
}

fn name(wire: Option<pb::UploadName>) -> Result<UploadName, FieldError> {
    let pb::UploadName { bucket, key, id } = wire.in_field("upload")?;
    Ok(UploadName { bucket: self::bucket(bucket)?, key, id: upload_from_wire(&id)? })
}

fn bucket(wire: Option<pb::Place>) -> Result<Place, FieldError> {
    place_from_wire(wire, "bucket")
}
