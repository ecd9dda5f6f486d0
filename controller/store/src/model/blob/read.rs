//! Blobs, uploads and commits read off a view.

use bytes::Bytes;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::Place;
use super::super::record::{Blob, Committed, Part, Upload, UploadParts};
use super::super::{group, keys, view};
use super::UploadId;

/// A blob with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its key.
    pub key: String,
    /// What is told of it.
    pub blob: Blob,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPage {
    /// In the order of keys.
    pub entries: Vec<BlobEntry>,
    /// Where the next page begins: after this key. None: the list ends here.
    pub after: Option<String>,
}

/// An upload that is open, with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Becoming {
    /// Its id.
    pub id: UploadId,
    /// What was said when it was opened.
    pub upload: Upload,
}

/// What a state knows of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is to come, as far as this state knows.
    ToCome,
    /// It is open.
    Open,
    /// It is what a blob holds: these parts.
    Committed(Vec<Part>),
    /// It has ended, and nothing was made of it, or what was made is gone.
    Ended,
}

/// The blob under a key.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn blob(reader: &dyn Reader, bucket: &Place, key: &str) -> Result<Option<Blob>, Stop> {
    view::get(reader, &keys::blob(bucket, key))
}

/// What a blob holds that came by no upload.
///
/// # Errors
/// When it cannot be read, or is not there.
pub fn blob_data(reader: &dyn Reader, bucket: &Place, key: &str) -> Result<Bytes, Stop> {
    reader.get(&keys::blob_data(bucket, key))?.ok_or_else(|| unreadable("what a blob holds"))
}

/// The blobs whose keys begin with `prefix` and come after `after`, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn blobs(
    reader: &dyn Reader,
    bucket: &Place,
    prefix: &str,
    after: Option<&str>,
    most: usize,
) -> Result<BlobPage, Stop> {
    let (first, end) = keys::blobs(bucket, prefix);
    // The least key after another one is the same with a zero byte behind it.
    let next = after.map(|after| keys::blob(bucket, &format!("{after}\0")));
    let from = next.map_or_else(|| first.clone(), |next| next.max(first.clone()));
    let (most, mut entries) = (most.clamp(1, PAGE_MAX), Vec::new());
    for record in reader.scan(&from, &end) {
        if entries.len() == most {
            let after = entries.last().map(|last: &BlobEntry| last.key.clone());
            return Ok(BlobPage { entries, after });
        }
        let (key, bytes) = record?;
        let key = keys::blob_parts(&key).ok_or_else(|| unreadable("a blob's key"))?.to_owned();
        entries.push(BlobEntry { key, blob: view::decoded(&bytes)? });
    }
    Ok(BlobPage { entries, after: None })
}

/// An open upload.
///
/// # Errors
/// When it cannot be read.
pub fn upload(reader: &dyn Reader, id: UploadId) -> Result<Option<Upload>, Stop> {
    view::get(reader, &keys::upload(id))
}

/// The parts of an open upload, in order.
///
/// # Errors
/// When they cannot be read.
pub fn upload_parts(reader: &dyn Reader, id: UploadId) -> Result<Vec<Part>, Stop> {
    let (from, to) = keys::all_parts(id);
    let mut parts = Vec::new();
    for record in reader.scan(&from, &to) {
        parts.extend(view::decoded::<UploadParts>(&record?.1)?.parts);
    }
    Ok(parts)
}

/// Parts of open uploads, some at a time: those of one upload and of those that were opened after it, from a page on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsPage {
    /// Of which upload.
    pub upload: UploadId,
    /// Which page of it.
    pub page: u32,
    /// In order.
    pub parts: Vec<Part>,
}

/// The first such page; none: there are no more.
///
/// # Errors
/// When it cannot be read.
pub fn parts_page(reader: &dyn Reader, from: (UploadId, u32)) -> Result<Option<PartsPage>, Stop> {
    let (first, end) = keys::parts_from(from.0, from.1);
    let Some(record) = reader.scan(&first, &end).next() else { return Ok(None) };
    let (key, bytes) = record?;
    let (upload, page) = keys::upload_parts_of(&key).ok_or_else(|| unreadable("a key of parts"))?;
    Ok(Some(PartsPage { upload, page, parts: view::decoded::<UploadParts>(&bytes)?.parts }))
}

/// Whether there is anything that chunks belong to and that stays.
///
/// # Errors
/// When it cannot be read.
pub fn has_chunks(reader: &dyn Reader) -> Result<bool, Stop> {
    Ok(!commits(reader, 0, 1)?.is_empty() || parts_page(reader, (UploadId::new(0, 0), 0))?.is_some())
}

/// The open uploads of a bucket, the oldest first, those after `after`, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn uploads(
    reader: &dyn Reader,
    bucket: &Place,
    after: Option<UploadId>,
    most: usize,
) -> Result<Vec<Becoming>, Stop> {
    let (first, end) = keys::uploads_of(bucket);
    let from = after.map_or(first, |after| [&keys::upload_of(bucket, after)[..], b"\0"].concat().into());
    let mut found = Vec::new();
    for key in view::keys(reader, &(from, end), most.min(PAGE_MAX))? {
        let id = keys::upload_of_parts(&key).ok_or_else(|| unreadable("an upload's key"))?;
        let upload = view::get(reader, &keys::upload(id))?.ok_or_else(|| unreadable("an upload"))?;
        found.push(Becoming { id, upload });
    }
    Ok(found)
}

/// What became of an upload.
///
/// # Errors
/// When it cannot be read.
pub fn standing(reader: &dyn Reader, id: UploadId) -> Result<Standing, Stop> {
    if let Some(parts) = committed(reader, id)? {
        return Ok(Standing::Committed(parts));
    }
    if reader.get(&keys::upload(id))?.is_some() {
        return Ok(Standing::Open);
    }
    let reached = group::group(reader)?.map_or(0, |group| group.sequence);
    Ok(if id.sequence() > reached { Standing::ToCome } else { Standing::Ended })
}

/// What a blob holds that came by this upload; none: no blob did.
///
/// # Errors
/// When it cannot be read.
pub fn committed(reader: &dyn Reader, id: UploadId) -> Result<Option<Vec<Part>>, Stop> {
    Ok(view::get::<Committed>(reader, &keys::committed(id))?.map(|committed| committed.parts))
}

/// Uploads that blobs came by, in the order of their commits: those of versions from `from` on, as many as `most`.
///
/// # Errors
/// When they cannot be read.
pub fn commits(reader: &dyn Reader, from: u64, most: usize) -> Result<Vec<(u64, UploadId)>, Stop> {
    let found = view::keys(reader, &keys::commits(from), most)?;
    let parts = found.iter().map(|key| keys::commit_parts(key).ok_or_else(|| unreadable("a commit's key")));
    parts.collect()
}
