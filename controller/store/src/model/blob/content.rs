//! What a blob comes to hold: bytes that are all here, or parts of its upload, which are known by what its sender says of them or by
//! what the upload has.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::limits::{BLOB_INLINE_MAX, PARTS_MAX};
use super::super::op::{BlobChange, BlobContent, UploadName};
use super::super::record::{Look, Part};
use super::super::refusal::{Reason, Refusal};
use super::look::{check_etag, etag_of, etag_of_parts};
use super::{UploadId, upload};

/// Checked, and without a doubt of what it is.
pub(super) struct Resolved {
    pub(super) bytes: u64,
    pub(super) etag: String,
    pub(super) look: Look,
    pub(super) from: From,
}

pub(super) enum From {
    Data(Bytes),
    Upload(UploadId, Vec<Part>),
}

pub(super) fn resolve(
    edit: &mut Edit<'_>,
    change: &BlobChange,
    content: &BlobContent,
) -> Result<Resolved, Fault> {
    check_etag(&content.etag)?;
    content.look.check()?;
    match content.upload {
        None => here(content),
        Some(id) => {
            let name = UploadName { bucket: change.bucket.clone(), key: change.key.clone(), id };
            by_upload(edit, &name, content)
        }
    }
}

fn here(content: &BlobContent) -> Result<Resolved, Fault> {
    let data = &content.data;
    if data.len() > BLOB_INLINE_MAX {
        let what = "a blob without an upload";
        return Err(Refusal::over_size(Reason::TooLarge, what, data.len(), BLOB_INLINE_MAX).into());
    }
    let etag = if content.etag.is_empty() { etag_of(data) } else { content.etag.clone() };
    let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
    Ok(Resolved { bytes, etag, look: content.look.or(None), from: From::Data(data.clone()) })
}

fn by_upload(edit: &mut Edit<'_>, name: &UploadName, content: &BlobContent) -> Result<Resolved, Fault> {
    let opened = upload::find(edit, name)?;
    check_order(&content.parts)?;
    let is_told = content.parts.iter().all(|part| part.bytes > 0);
    let kept = if is_told { Vec::new() } else { upload::parts(edit, name.id)? };
    let kept: BTreeMap<u32, Part> = kept.into_iter().map(|part| (part.number, part)).collect();
    let parts: Vec<Part> =
        content.parts.iter().map(|part| known(&kept, part)).collect::<Result<_, Refusal>>()?;
    let bytes = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.bytes));
    upload::check_size(bytes)?;
    let etag = if content.etag.is_empty() { reckoned(&parts)? } else { content.etag.clone() };
    let look = content.look.or(Some(&opened.look));
    Ok(Resolved { bytes, etag, look, from: From::Upload(name.id, parts) })
}

fn check_order(parts: &[Part]) -> Result<(), Refusal> {
    let most = usize::try_from(PARTS_MAX).unwrap_or(usize::MAX);
    if parts.len() > most {
        return Err(Refusal::over_size(Reason::TooMany, "parts of a blob", parts.len(), most));
    }
    let numbers = parts.iter().map(|part| part.number);
    let is_sorted = numbers.clone().zip(numbers.skip(1)).all(|(one, next)| one < next);
    let is_allowed = |part: &Part| (1..=PARTS_MAX).contains(&part.number);
    if parts.is_empty() || !is_sorted || !parts.iter().all(is_allowed) {
        let sentence = format!(
            "the parts of a blob are at least one, with numbers from 1 to {PARTS_MAX}, each greater than the one before"
        );
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    Ok(())
}

/// As it was told, or as the upload has it.
fn known(kept: &BTreeMap<u32, Part>, told: &Part) -> Result<Part, Refusal> {
    if told.bytes > 0 {
        return Ok(told.clone());
    }
    let number = told.number;
    let wrong = |why| Refusal::of(Reason::Invalid, format!("part {number} of the upload {why}"));
    let part = kept.get(&number).ok_or_else(|| wrong("is not there"))?;
    if !told.digest.is_empty() && told.digest != part.digest {
        return Err(wrong("has another content than is told"));
    }
    Ok(part.clone())
}

fn reckoned(parts: &[Part]) -> Result<String, Refusal> {
    if let Some(part) = parts.iter().find(|part| part.digest.len() != 32) {
        let sentence =
            format!("part {} of the blob has no digest of 32 bytes, and no etag is told", part.number);
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    Ok(etag_of_parts(parts.iter().map(|part| &part.digest[..])))
}
