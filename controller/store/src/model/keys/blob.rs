//! Where blobs and their uploads lie.

use bytes::Bytes;

use super::super::blob::UploadId;
use super::super::name::Place;
use super::kind::Kind;
use super::parts::{Parts, after, range, subject_parts};

pub(in super::super) fn blob(bucket: &Place, key: &str) -> Bytes {
    Parts::of(Kind::Blob).place(bucket).bytes(key.as_bytes()).key()
}

/// All blobs of a bucket whose keys begin so.
pub(in super::super) fn blobs(bucket: &Place, prefix: &str) -> (Bytes, Bytes) {
    range(blob(bucket, prefix))
}

/// The key of a blob, after that of its bucket.
pub(in super::super) fn blob_parts(key: &[u8]) -> Option<&str> {
    let (_, key) = subject_parts(key.get(1..)?)?;
    std::str::from_utf8(key).ok()
}

/// What a blob holds that came by no upload.
pub(in super::super) fn blob_data(bucket: &Place, key: &str) -> Bytes {
    Parts::of(Kind::BlobData).place(bucket).bytes(key.as_bytes()).key()
}

/// What a blob holds that came by one.
pub(in super::super) fn committed(upload: UploadId) -> Bytes {
    Parts::of(Kind::Committed).bytes(&upload.to_bytes()).key()
}

/// In the order of commits.
pub(in super::super) fn commit(version: u64, upload: UploadId) -> Bytes {
    Parts::of(Kind::Commit).number(version).bytes(&upload.to_bytes()).key()
}

/// Those of this version and later ones.
pub(in super::super) fn commits(from: u64) -> (Bytes, Bytes) {
    let commits = Parts::of(Kind::Commit);
    (commits.clone().number(from).key(), after(&commits.key()))
}

/// Version and upload of a row of [`commit`].
pub(in super::super) fn commit_parts(key: &[u8]) -> Option<(u64, UploadId)> {
    let (version, id) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*version), UploadId::try_from(id).ok()?))
}

pub(in super::super) fn upload(upload: UploadId) -> Bytes {
    Parts::of(Kind::Upload).bytes(&upload.to_bytes()).key()
}

/// An open upload of a bucket.
pub(in super::super) fn upload_of(bucket: &Place, upload: UploadId) -> Bytes {
    Parts::of(Kind::UploadOf).place(bucket).bytes(&upload.to_bytes()).key()
}

/// All of a bucket.
pub(in super::super) fn uploads_of(bucket: &Place) -> (Bytes, Bytes) {
    range(Parts::of(Kind::UploadOf).place(bucket).key())
}

/// The upload of a row of [`upload_of`].
pub(in super::super) fn upload_of_parts(key: &[u8]) -> Option<UploadId> {
    let (_, id) = subject_parts(key.get(1..)?)?;
    UploadId::try_from(id).ok()
}

/// How many there are.
pub(in super::super) fn upload_count() -> Bytes {
    Parts::of(Kind::Uploads).key()
}

/// Some parts of an upload.
pub(in super::super) fn parts(upload: UploadId, page: u32) -> Bytes {
    Parts::of(Kind::UploadParts).bytes(&upload.to_bytes()).bytes(&page.to_be_bytes()).key()
}

/// The parts of all uploads from one of them and one of its pages on.
pub(in super::super) fn parts_from(upload: UploadId, page: u32) -> (Bytes, Bytes) {
    (parts(upload, page), after(&Parts::of(Kind::UploadParts).key()))
}

/// Upload and page of a row of [`parts`].
pub(in super::super) fn upload_parts_of(key: &[u8]) -> Option<(UploadId, u32)> {
    let (id, page) = key.get(1..)?.split_last_chunk::<4>()?;
    Some((UploadId::try_from(id).ok()?, u32::from_be_bytes(*page)))
}

/// All of them.
pub(in super::super) fn all_parts(upload: UploadId) -> (Bytes, Bytes) {
    range(Parts::of(Kind::UploadParts).bytes(&upload.to_bytes()).key())
}
