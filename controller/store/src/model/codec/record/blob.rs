//! Buckets, blobs and uploads to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::pb::store as pb;
use prost::Message as _;

use super::super::super::blob::UploadId;
use super::super::super::record::{
    Blob, Bucket, Committed, Holds, Look, Part, SigningKey, Upload, UploadParts, Uploads,
};
use super::super::DecodeError;
use super::super::names::{access_from_wire, access_to_wire, place_from_wire, place_to_wire};
use super::{Stored, plain};

plain!(Uploads, "the number of uploads", [count]);

pub(in super::super) fn upload_to_wire(id: UploadId) -> Bytes {
    Bytes::copy_from_slice(&id.to_bytes())
}

pub(in super::super) fn upload_from_wire(wire: &[u8]) -> Result<UploadId, FieldError> {
    UploadId::try_from(wire).in_field("upload")
}

/// No bytes stand for none.
fn some_upload_from_wire(wire: &[u8]) -> Result<Option<UploadId>, FieldError> {
    if wire.is_empty() { Ok(None) } else { upload_from_wire(wire).map(Some) }
}

pub(in super::super) fn part_to_wire(it: &Part) -> pb::Part {
    pb::Part { number: it.number, run: it.run, bytes: it.bytes, digest: it.digest.clone() }
}

pub(in super::super) fn part_from_wire(wire: pb::Part) -> Part {
    let pb::Part { number, run, bytes, digest } = wire;
    Part { number, run, bytes, digest }
}

pub(in super::super) fn look_to_wire(it: &Look) -> pb::BlobLook {
    pb::BlobLook { content_type: it.content_type.clone(), metadata: it.metadata.clone() }
}

pub(in super::super) fn look_from_wire(wire: Option<pb::BlobLook>) -> Look {
    let pb::BlobLook { content_type, metadata } = wire.unwrap_or_default();
    Look { content_type, metadata }
}

impl Stored for Bucket {
    const WHAT: &'static str = "a bucket";

    fn encode(&self) -> Bytes {
        let Self { keys_max, bytes_max, keys, bytes, watched, dropping_ms, holds, uploads } = *self;
        let (access, signing_key) = match holds {
            Holds::Values => (pb::BlobAccess::Unspecified, Bytes::new()),
            Holds::Blobs { access, key } => (access_to_wire(access), Bytes::copy_from_slice(&key.0)),
        };
        let access = access.into();
        let wire = pb::Bucket {
            keys_max,
            bytes_max,
            keys,
            bytes,
            watched,
            dropping_ms,
            access,
            signing_key,
            uploads,
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Bucket::decode(bytes)?;
        let holds = match wire.access() {
            pb::BlobAccess::Unspecified => Holds::Values,
            access => Holds::Blobs {
                access: access_from_wire(access)?,
                key: SigningKey(<[u8; 32]>::try_from(&wire.signing_key[..]).in_field("signing_key")?),
            },
        };
        let pb::Bucket { keys_max, bytes_max, keys, bytes, watched, dropping_ms, uploads, .. } = wire;
        Ok(Self { keys_max, bytes_max, keys, bytes, watched, dropping_ms, holds, uploads })
    }
}

impl Stored for Blob {
    const WHAT: &'static str = "a blob";

    fn encode(&self) -> Bytes {
        let wire = pb::Blob {
            version: self.version,
            bytes: self.bytes,
            etag: self.etag.clone(),
            modified_ms: self.modified_ms,
            look: Some(look_to_wire(&self.look)),
            upload: self.upload.map_or_else(Bytes::new, upload_to_wire),
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Blob { version, bytes, etag, modified_ms, look, upload } = pb::Blob::decode(bytes)?;
        let upload = some_upload_from_wire(&upload)?;
        Ok(Self { version, bytes, etag, modified_ms, look: look_from_wire(look), upload })
    }
}

impl Stored for Committed {
    const WHAT: &'static str = "what a blob holds";

    fn encode(&self) -> Bytes {
        let parts = self.parts.iter().map(part_to_wire).collect();
        pb::CommittedParts { version: self.version, parts }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::CommittedParts { version, parts } = pb::CommittedParts::decode(bytes)?;
        Ok(Self { version, parts: parts.into_iter().map(part_from_wire).collect() })
    }
}

impl Stored for Upload {
    const WHAT: &'static str = "an upload";

    fn encode(&self) -> Bytes {
        let wire = pb::Upload {
            bucket: Some(place_to_wire(&self.bucket)),
            key: self.key.clone(),
            begun_ms: self.begun_ms,
            time_ms: self.time_ms,
            until_ms: self.until_ms,
            look: Some(look_to_wire(&self.look)),
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Upload { bucket, key, begun_ms, time_ms, until_ms, look } = pb::Upload::decode(bytes)?;
        let (bucket, look) = (place_from_wire(bucket, "upload.bucket")?, look_from_wire(look));
        Ok(Self { bucket, key, begun_ms, time_ms, until_ms, look })
    }
}

impl Stored for UploadParts {
    const WHAT: &'static str = "parts of an upload";

    fn encode(&self) -> Bytes {
        pb::UploadParts { parts: self.parts.iter().map(part_to_wire).collect() }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::UploadParts { parts } = pb::UploadParts::decode(bytes)?;
        Ok(Self { parts: parts.into_iter().map(part_from_wire).collect() })
    }
}
