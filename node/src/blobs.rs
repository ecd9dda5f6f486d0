//! Blobs of buckets (docs/adr/0018): what runtime, front and stores speak of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::status::Refusal;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::values::Bucket;

/// Bytes of a blob's key, which is text without controls.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Bytes of a blob.
pub const BLOB_BYTES_MAX: u64 = 5 << 30;
/// A blob of so many bytes is kept in its record, without chunks.
pub const INLINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a chunk; of a part's last one fewer.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// Parts of an upload.
pub const PARTS_MAX: u32 = 10_000;
/// Bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Bytes of metadata and content type.
pub const METADATA_BYTES_MAX: usize = 2 << 10;

/// Which blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// That holds blobs.
    pub bucket: Bucket,
    /// 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
}

/// What is told of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// Its key.
    pub key: String,
    /// Greater than that of whatever was there before.
    pub version: u64,
    /// Its size.
    pub bytes: u64,
    /// Without quotes.
    pub etag: String,
    /// Unix milliseconds.
    pub modified_ms: u64,
    /// Never empty where a store tells it.
    pub content_type: String,
    /// Whatever its writer said of it.
    pub metadata: BTreeMap<String, String>,
}

/// A part of a blob, as chunks are named by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// Which attempt to send it.
    pub run: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it; empty where only its place is told.
    pub digest: Bytes,
}

/// An upload's id.
pub type UploadId = [u8; 16];

/// Where a blob's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Here: at most [`INLINE_BYTES_MAX`].
    Inline(Bytes),
    /// In chunks.
    Parts {
        /// By which it came.
        upload: UploadId,
        /// In order.
        parts: Vec<Part>,
    },
}

impl Content {
    /// The upload that it came by, if it is in chunks.
    #[must_use]
    pub const fn upload(&self) -> Option<UploadId> {
        match self {
            Self::Inline(_) => None,
            Self::Parts { upload, .. } => Some(*upload),
        }
    }
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What is told of it.
    pub info: Info,
    /// What it holds.
    pub content: Content,
}

/// Somebody who came by HTTP: what they want is refused unless the bucket's access or their signature allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// What they want.
    pub wants: Wants,
    /// None: they have none.
    pub signature: Option<Signature>,
}

/// What a visitor wants, by the method that a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// `GET`, also for `HEAD` and for lists.
    Read,
    /// `PUT`, also for all steps of an upload in parts.
    Write,
    /// `DELETE`.
    Delete,
}

/// A signature, as it is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Unix seconds.
    pub expires: u64,
    /// HMAC-SHA-256.
    pub mac: [u8; 32],
}

/// On which terms a blob is changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// An etag without quotes, or `*`: some blob. Empty: whatever there is.
    pub if_match: String,
    /// Only where there is none.
    pub if_none_match: bool,
}

/// An upload that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its id.
    pub id: UploadId,
    /// Unix milliseconds: its time is over then.
    pub until_ms: u64,
    /// The parts that are there, in order.
    pub parts: Vec<Part>,
}

/// What becomes of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// What it holds: inline, or what an [`Upload`] came to.
    pub content: Content,
    /// Without quotes; empty: reckoned by the store.
    pub etag: String,
    /// Empty: `application/octet-stream`.
    pub content_type: String,
    /// At most [`METADATA_BYTES_MAX`] with the content type.
    pub metadata: BTreeMap<String, String>,
}

/// Which blobs are asked for, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// They begin so.
    pub prefix: String,
    /// They are behind this one; empty: from the first on.
    pub after: String,
    /// At most so many; zero: as many as a page has.
    pub most: u32,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Without metadata.
    pub blobs: Vec<Info>,
    /// Where the next page begins; empty: the list ends here.
    pub after: String,
}

/// Content on its way out, in pieces of at most 256 KiB. It ends with an error, or when all of it was sent.
pub type Pieces = BoxStream<'static, Result<Bytes, Refusal>>;

/// Content on its way in, whose chunks are kept as they come. Dropped, it is over: its chunks go within the grace.
pub trait Upload: Send + Sync {
    /// More of it. Waits while the stores are slow: what waits in here is bounded.
    ///
    /// # Errors
    /// `request-too-large`; `disk-full`; why no majority has kept it.
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), Refusal>>;

    /// All of it has come: when this answers, a majority has synced it. Nothing is to be seen of it until it is committed. What is small
    /// enough is inline, and nothing was opened for it.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Finished, Refusal>>;
}

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// To be committed.
    pub content: Content,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hex: what the blob's etag is.
    pub etag: String,
}

/// What answers for blobs. The runtime knows that it answers, and nothing else.
pub trait Blobs: Send + Sync {
    /// The blob, as new as all that was acknowledged before. None: there is none.
    ///
    /// # Errors
    /// `bucket-not-found`; why nobody has answered by the deadline.
    fn blob<'a>(&'a self, at: &'a At, deadline: Instant) -> BoxFuture<'a, Result<Option<Blob>, Refusal>>;

    /// What is told of the blob, without its content. None: there is none.
    ///
    /// # Errors
    /// As [`Self::blob`].
    fn info<'a>(&'a self, at: &'a At, deadline: Instant) -> BoxFuture<'a, Result<Option<Info>, Refusal>>;

    /// A page of a bucket's blobs.
    ///
    /// # Errors
    /// As [`Self::blob`].
    fn blobs<'a>(
        &'a self,
        bucket: &'a Bucket,
        listing: Listing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Page, Refusal>>;

    /// Bytes of a blob that was asked for before.
    fn read(&self, bucket: &Bucket, content: &Content, range: Range<u64>) -> Pieces;

    /// Begins to send content. `idle` is how long it may rest: its chunks are kept so long after the last one, also without a commit.
    /// What has at most `inline_max` bytes comes back as it is, and is in no chunk.
    fn upload(&self, at: &At, idle: Duration, inline_max: usize) -> Box<dyn Upload>;

    /// What was sent by it is not going to be committed: its chunks go within the grace. Nobody waits for that. Nothing comes of it
    /// where it was committed.
    fn give_up(&self, at: &At, upload: UploadId);

    /// The blob is this from now on, for all at once.
    ///
    /// # Errors
    /// `limit-reached` where the bucket is full; `upload-not-found`; `loop-detected`; otherwise as [`Self::blob`].
    fn commit<'a>(
        &'a self,
        at: &'a At,
        commit: Commit,
        hops: u32,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Info, Refusal>>;

    /// It is gone. Gives whether there was one.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn delete<'a>(&'a self, at: &'a At, hops: u32, deadline: Instant)
    -> BoxFuture<'a, Result<bool, Refusal>>;
}

/// Digests and ids as text: lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that such a text says; none where it says something else.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| pair.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_as_text_and_read_back() {
        assert_eq!(hex(&[0, 1, 0xab, 0xff]), "0001abff");
        assert_eq!(from_hex("0001ABff"), Some([0, 1, 0xab, 0xff]));
        for bad in ["", "00", "0001abf", "0001abfg", "+001abff", "0001abff0", "é00000"] {
            assert_eq!(from_hex::<4>(bad), None, "{bad}");
        }
    }
}
