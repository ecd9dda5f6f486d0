//! What is told of a blob beside what it holds, and its `ETag`: within bounds, and such that a header of HTTP can have them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::super::limits::{CONTENT_TYPE_BYTES_MAX, ETAG_BYTES_MAX, METADATA_BYTES_MAX};
use super::super::record::Look;
use super::super::refusal::{Reason, Refusal};

/// The content type of what nobody has said another one of.
const USUAL_TYPE: &str = "application/octet-stream";
/// Bytes of the name of a piece of metadata.
const NAME_BYTES_MAX: usize = 64;

impl Look {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.content_type.len() > CONTENT_TYPE_BYTES_MAX {
            let found = self.content_type.len();
            return Err(Refusal::over_size(
                Reason::TooLarge,
                "a content type",
                found,
                CONTENT_TYPE_BYTES_MAX,
            ));
        }
        if !self.content_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Refusal::of(Reason::Invalid, "a content type has printable ASCII only"));
        }
        let is_name = |name: &str| {
            let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
            (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
        };
        for (name, value) in &self.metadata {
            if !is_name(name) {
                let sentence = format!(
                    "'{}' names no metadata: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and '-'",
                    name.chars().take(80).collect::<String>()
                );
                return Err(Refusal::of(Reason::Invalid, sentence));
            }
            if value.chars().any(char::is_control) {
                let sentence = format!("metadata '{name}' has controls");
                return Err(Refusal::of(Reason::Invalid, sentence));
            }
        }
        let metadata: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = metadata + self.content_type.len();
        if bytes > METADATA_BYTES_MAX {
            let what = "metadata with the content type";
            return Err(Refusal::over_size(Reason::TooLarge, what, bytes, METADATA_BYTES_MAX));
        }
        Ok(())
    }

    /// What is not said here is as it was said when the upload was opened, or as is usual.
    pub(super) fn or(&self, upload: Option<&Self>) -> Self {
        let first = |look: &Self| Some(look.content_type.clone()).filter(|it| !it.is_empty());
        let content_type = first(self).or_else(|| upload.and_then(first));
        let metadata = if self.metadata.is_empty() { upload.unwrap_or(self) } else { self }.metadata.clone();
        Self { content_type: content_type.unwrap_or_else(|| USUAL_TYPE.to_owned()), metadata }
    }
}

/// Refuses what stands in no header as an entity tag.
pub(super) fn check_etag(etag: &str) -> Result<(), Refusal> {
    // RFC 9110, 8.8.3, without what is not ASCII.
    let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'~');
    if etag.len() > ETAG_BYTES_MAX || !etag.bytes().all(allowed) {
        let sentence =
            format!("an etag has at most {ETAG_BYTES_MAX} bytes, and neither spaces nor quotation marks");
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    Ok(())
}

/// The tag of what is all here.
pub(super) fn etag_of(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// The tag of what came in parts.
pub(super) fn etag_of_parts<'a>(digests: impl Iterator<Item = &'a [u8]>) -> String {
    let (mut hash, mut count) = (Sha256::new(), 0_u32);
    for digest in digests {
        hash.update(digest);
        count += 1;
    }
    format!("{}-{count}", hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // A String takes whatever is written to it.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
