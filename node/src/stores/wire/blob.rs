//! Blobs, uploads and their parts, to and from their wire form.

use bytes::Bytes;
use coracle_proto::codec::DecodeError;
use coracle_proto::pb;

use crate::blobs::{Blob, Commit, Content, Info, Listing, Opened, Page, Part, UploadId, Visitor, Wants};

pub(in crate::stores) fn visitor(it: &Visitor) -> pb::BlobVisitor {
    let method = match it.wants {
        Wants::Read => "GET",
        Wants::Write => "PUT",
        Wants::Delete => "DELETE",
    };
    let signature = it.signature.map(|it| Bytes::copy_from_slice(&it.mac)).unwrap_or_default();
    pb::BlobVisitor { method: method.to_owned(), expires: it.signature.map_or(0, |it| it.expires), signature }
}

pub(in crate::stores) fn info(it: pb::BlobInfo) -> Info {
    Info {
        key: it.key,
        version: it.version,
        bytes: it.bytes,
        etag: it.etag,
        modified_ms: it.modified_ms,
        content_type: it.content_type,
        metadata: it.metadata.into_iter().collect(),
    }
}

/// A blob with its content, whose size is the one that is told of it; none: there is none.
pub(in crate::stores) fn blob(wire: pb::BlobGetReply) -> Result<Option<Blob>, DecodeError> {
    let Some(told) = wire.info else { return Ok(None) };
    let (info, parts) = (info(told), wire.parts.into_iter().map(part).collect::<Vec<_>>());
    let bytes = if wire.upload.is_empty() {
        wire.data.len() as u64
    } else {
        parts.iter().fold(0, |sum: u64, it| sum.saturating_add(it.bytes))
    };
    if bytes != info.bytes {
        return Err(DecodeError::new("info.bytes", format!("{} bytes, and {bytes} of content", info.bytes)));
    }
    let content = if wire.upload.is_empty() {
        Content::Inline(wire.data)
    } else {
        Content::Parts { upload: upload_id(&wire.upload)?, parts }
    };
    Ok(Some(Blob { info, content }))
}

pub(in crate::stores) fn content(it: Commit) -> pb::BlobContent {
    let (data, upload, parts) = match it.content {
        Content::Inline(data) => (data, Bytes::new(), Vec::new()),
        Content::Parts { upload, parts } => {
            (Bytes::new(), upload_to_wire(upload), parts.into_iter().map(part_to_wire).collect())
        }
    };
    let (etag, content_type) = (it.etag, it.content_type);
    pb::BlobContent { data, upload, parts, etag, content_type, metadata: it.metadata.into_iter().collect() }
}

pub(in crate::stores) fn opened(wire: Option<pb::BlobUpload>) -> Result<Opened, DecodeError> {
    let it = wire.ok_or_else(|| DecodeError::new("upload", "missing"))?;
    let parts = it.parts.into_iter().map(part).collect();
    Ok(Opened { id: upload_id(&it.id)?, until_ms: it.until_ms, parts })
}

pub(in crate::stores) fn list_request(
    it: Listing,
    place: pb::KvPlace,
    visitor: Option<pb::BlobVisitor>,
) -> pb::BlobListRequest {
    let Listing { prefix, after, most } = it;
    pb::BlobListRequest { place: Some(place), prefix, after, limit: most, visitor }
}

pub(in crate::stores) fn page(wire: pb::BlobListReply) -> Page {
    Page { blobs: wire.blobs.into_iter().map(info).collect(), after: wire.after }
}

pub(in crate::stores) fn upload_to_wire(id: UploadId) -> Bytes {
    Bytes::copy_from_slice(&id)
}

pub(in crate::stores) fn part_to_wire(it: Part) -> pb::BlobPart {
    pb::BlobPart { number: it.number, run: it.run, bytes: it.bytes, digest: it.digest }
}

fn part(it: pb::BlobPart) -> Part {
    Part { number: it.number, run: it.run, bytes: it.bytes, digest: it.digest }
}

fn upload_id(wire: &[u8]) -> Result<UploadId, DecodeError> {
    wire.try_into().map_err(|_| DecodeError::new("upload", format!("{} bytes, not 16", wire.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: u64, data: &'static [u8], upload: &'static [u8], parts: &[u64]) -> pb::BlobGetReply {
        let parts = parts.iter().map(|bytes| pb::BlobPart { bytes: *bytes, ..Default::default() }).collect();
        let info = Some(pb::BlobInfo { bytes, ..Default::default() });
        pb::BlobGetReply { info, data: data.into(), upload: upload.into(), parts, sequence: 1 }
    }

    #[test]
    fn a_blob_has_as_much_content_as_is_told_of_it() {
        let read = |it| blob(it).map(|it| it.map(|it| it.content)).map_err(|error| error.field);
        assert_eq!(read(pb::BlobGetReply::default()), Ok(None));
        assert_eq!(read(reply(2, b"ab", b"", &[])), Ok(Some(Content::Inline("ab".into()))));
        assert_eq!(read(reply(3, b"ab", b"", &[])), Err("info.bytes"));
        assert_eq!(read(reply(3, b"", &[1; 15], &[1, 2])), Err("upload"));
        assert_eq!(read(reply(4, b"", &[1; 16], &[1, 2])), Err("info.bytes"));
        assert_eq!(read(reply(1, b"", &[1; 16], &[u64::MAX, 2])), Err("info.bytes"));
        let Ok(Some(Content::Parts { upload, parts })) = read(reply(3, b"", &[1; 16], &[1, 2])) else {
            panic!("no parts")
        };
        assert_eq!((upload, parts.len()), ([1; 16], 2));
    }
}
