//! Uploads: opened with a time, which begins anew whenever something is heard of them, filled with parts, and ended.

use bytes::Bytes;

use super::super::bucket;
use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys::{self, Due};
use super::super::limits::{
    BLOB_BYTES_MAX, PARTS_MAX, PARTS_OF_PAGE, UPLOAD_MS_MAX, UPLOAD_MS_MIN, UPLOADS_MAX,
    UPLOADS_OF_BUCKET_MAX,
};
use super::super::luck;
use super::super::name::Place;
use super::super::op::{Begin, UploadName};
use super::super::outcome::Outcome;
use super::super::record::{Bucket, Part, Upload, UploadParts, Uploads};
use super::super::refusal::{Reason, Refusal};
use super::{UploadId, check_key, need, weight};

/// Rows of parts that an upload has at most.
const PAGES_MAX: usize = (PARTS_MAX / PARTS_OF_PAGE) as usize;

/// Opens one.
pub(in super::super) fn begin(edit: &mut Edit<'_>, begin: Begin) -> Result<Outcome, Fault> {
    let Begin { bucket: place, key, time_ms, look, bytes } = begin;
    let bucket = need(edit, &place)?;
    check_key(&key)?;
    look.check()?;
    if !(UPLOAD_MS_MIN..=UPLOAD_MS_MAX).contains(&time_ms) {
        let sentence =
            format!("an upload's time is {time_ms} ms: {UPLOAD_MS_MIN} to {UPLOAD_MS_MAX} are allowed");
        return Err(Refusal::of(Reason::Invalid, sentence).into());
    }
    check_size(bytes)?;
    check_fits(&place, weight(&key, bytes), bucket.bytes_max)?;
    count(edit, true)?;
    count_of_bucket(edit, &place, true)?;
    let sequence = edit.next();
    let id = UploadId::new(sequence, luck::upload(edit.moment.random, sequence));
    let now_ms = edit.moment.now_ms;
    edit.mark(keys::upload_of(&place, id));
    let upload = Upload { bucket: place, key, begun_ms: now_ms, time_ms, until_ms: 0, look };
    extend(edit, id, upload);
    Ok(Outcome::UploadBegun(id))
}

/// Its time begins anew.
pub(in super::super) fn renew(edit: &mut Edit<'_>, name: &UploadName) -> Result<Outcome, Fault> {
    need(edit, &name.bucket)?;
    let upload = find(edit, name)?;
    extend(edit, name.id, upload);
    Ok(Outcome::Done)
}

/// A part's chunks are there. One of the same number is replaced.
pub(in super::super) fn put_part(
    edit: &mut Edit<'_>,
    name: &UploadName,
    part: Part,
) -> Result<Outcome, Fault> {
    need(edit, &name.bucket)?;
    let upload = find(edit, name)?;
    if !(1..=PARTS_MAX).contains(&part.number) || part.digest.len() != 32 {
        let sentence = format!(
            "part {} of an upload: its number is from 1 to {PARTS_MAX}, and its digest has 32 bytes",
            part.number
        );
        return Err(Refusal::of(Reason::Invalid, sentence).into());
    }
    check_size(part.bytes)?;
    let page = keys::parts(name.id, (part.number - 1) / PARTS_OF_PAGE);
    let UploadParts { mut parts } = edit.get(&page)?.unwrap_or_default();
    let at = parts.partition_point(|it| it.number < part.number);
    parts.retain(|it| it.number != part.number);
    parts.insert(at, part);
    edit.put(page, &UploadParts { parts });
    extend(edit, name.id, upload);
    Ok(Outcome::Done)
}

/// It is given up.
pub(in super::super) fn abort(edit: &mut Edit<'_>, name: &UploadName) -> Result<Outcome, Fault> {
    let upload = find(edit, name)?;
    close(edit, name.id, &upload)?;
    Ok(Outcome::Done)
}

/// Ends one whose time is over. False: the entry has no steps left for it.
pub(in super::super) fn expire(edit: &mut Edit<'_>, subject: &[u8]) -> Result<bool, Fault> {
    let id = UploadId::try_from(subject).map_err(|_| unreadable("a timer of an upload"))?;
    end(edit, id)
}

/// Ends it, if the entry has steps left for all of its parts.
pub(super) fn end(edit: &mut Edit<'_>, id: UploadId) -> Result<bool, Fault> {
    let Some(upload) = edit.get::<Upload>(&keys::upload(id))? else { return Ok(true) };
    let Some(pages) = pages(edit, id)? else { return Ok(false) };
    clear(edit, id, &upload, &pages)?;
    Ok(true)
}

/// The rows of its parts, each of which is a step. None: the entry has no steps left for all of them.
fn pages(edit: &mut Edit<'_>, id: UploadId) -> Result<Option<Vec<Bytes>>, Fault> {
    let all = keys::all_parts(id);
    // One of whose parts nobody was told needs none.
    if edit.keys(&all, 1)?.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let (pages, more) = edit.steps(&all, PAGES_MAX + 1)?;
    Ok((!more).then_some(pages))
}

/// The same for somebody who asks again where it is too much for one entry, for which everybody waits.
fn pages_or_busy(edit: &mut Edit<'_>, id: UploadId) -> Result<Vec<Bytes>, Fault> {
    let what = || format!("rows of parts of upload {id} may be there");
    let busy = || Refusal::over_size(Reason::Busy, what(), PAGES_MAX, 0);
    Ok(pages(edit, id)?.ok_or_else(busy)?)
}

/// The upload, if it is that of this blob.
pub(super) fn find(edit: &Edit<'_>, name: &UploadName) -> Result<Upload, Fault> {
    let upload: Option<Upload> = edit.get(&keys::upload(name.id))?;
    let meant = upload.filter(|it| it.bucket == name.bucket && it.key == name.key);
    Ok(meant.ok_or_else(|| Refusal::of(Reason::NoUpload, name.id))?)
}

/// Its parts that there are, in order.
pub(super) fn parts(edit: &mut Edit<'_>, id: UploadId) -> Result<Vec<Part>, Fault> {
    let mut found = Vec::new();
    for page in pages_or_busy(edit, id)? {
        found.extend(edit.get::<UploadParts>(&page)?.unwrap_or_default().parts);
    }
    Ok(found)
}

/// Nothing is known of it any more.
pub(super) fn close(edit: &mut Edit<'_>, id: UploadId, upload: &Upload) -> Result<(), Fault> {
    let pages = pages_or_busy(edit, id)?;
    clear(edit, id, upload, &pages)
}

fn clear(edit: &mut Edit<'_>, id: UploadId, upload: &Upload, pages: &[Bytes]) -> Result<(), Fault> {
    pages.iter().for_each(|page| edit.remove(page));
    edit.remove(&timer(id, upload));
    edit.remove(&keys::upload_of(&upload.bucket, id));
    edit.remove(&keys::upload(id));
    count_of_bucket(edit, &upload.bucket, false)?;
    count(edit, false)
}

pub(super) fn check_size(bytes: u64) -> Result<(), Refusal> {
    if bytes > BLOB_BYTES_MAX {
        return Err(Refusal::over(Reason::TooLarge, "a blob", bytes, BLOB_BYTES_MAX));
    }
    Ok(())
}

/// Refuses for good what an empty bucket has no room for.
pub(super) fn check_fits(place: &Place, weight: u64, bytes_max: u64) -> Result<(), Refusal> {
    if weight > bytes_max {
        let sentence =
            format!("{weight} bytes for bucket '{place}', which may have {bytes_max}: they never fit");
        return Err(Refusal::over(Reason::NeverFits, sentence, weight, bytes_max));
    }
    Ok(())
}

fn extend(edit: &mut Edit<'_>, id: UploadId, upload: Upload) {
    edit.remove(&timer(id, &upload));
    let until_ms = edit.moment.now_ms.saturating_add(upload.time_ms);
    let upload = Upload { until_ms, ..upload };
    edit.mark(timer(id, &upload));
    edit.put(keys::upload(id), &upload);
}

fn timer(id: UploadId, upload: &Upload) -> Bytes {
    keys::timer(Due::Uploads, upload.until_ms, &keys::upload(id))
}

fn count(edit: &mut Edit<'_>, more: bool) -> Result<(), Fault> {
    let Uploads { count } = edit.get(&keys::upload_count())?.unwrap_or_default();
    let count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    if more && count > UPLOADS_MAX {
        return Err(Refusal::over(Reason::UploadsFull, "open uploads", count, UPLOADS_MAX).into());
    }
    if count == 0 {
        edit.remove(&keys::upload_count());
    } else {
        edit.put(keys::upload_count(), &Uploads { count });
    }
    Ok(())
}

/// The bucket's own count. An upload ends with its bucket at the latest, so it is there.
fn count_of_bucket(edit: &mut Edit<'_>, place: &Place, more: bool) -> Result<(), Fault> {
    let bucket = bucket::need(edit, place)?;
    let uploads = if more { bucket.uploads.saturating_add(1) } else { bucket.uploads.saturating_sub(1) };
    if more && uploads > UPLOADS_OF_BUCKET_MAX {
        let what = format!("open uploads into bucket '{place}'");
        return Err(Refusal::over(Reason::UploadsFull, what, uploads, UPLOADS_OF_BUCKET_MAX).into());
    }
    edit.put(keys::bucket(place), &Bucket { uploads, ..bucket });
    Ok(())
}
