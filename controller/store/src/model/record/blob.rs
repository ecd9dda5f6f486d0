//! Blobs, the uploads by which they come, and what a bucket of them is.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::super::blob::UploadId;
use super::super::name::Place;

/// What a bucket holds. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Values.
    Values,
    /// Blobs.
    Blobs {
        /// What somebody who comes by HTTP without a signature may do.
        access: Access,
        /// Makes signatures.
        key: SigningKey,
    },
}

/// What somebody who comes by HTTP without a signature may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Signed,
    /// Read.
    Read,
    /// Read, write and delete.
    Open,
}

/// The key of a bucket's signatures. It is shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigningKey(pub [u8; 32]);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// What is told of a blob beside what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Of a blob never empty.
    pub content_type: String,
    /// Whatever its writer said of it.
    pub metadata: BTreeMap<String, String>,
}

/// A blob. What it holds stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Greater than that of whatever was there before.
    pub version: u64,
    /// Its size.
    pub bytes: u64,
    /// Without quotes.
    pub etag: String,
    /// When it was committed, Unix milliseconds.
    pub modified_ms: u64,
    /// What else is told of it.
    pub look: Look,
    /// By which it came; none: its bytes stand beside it.
    pub upload: Option<UploadId>,
}

/// A part of a blob or of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// Which attempt to send it.
    pub run: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it; empty where it is not known or not kept.
    pub digest: Bytes,
}

/// What a blob holds that came by an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Committed {
    /// Of the blob.
    pub(in super::super) version: u64,
    /// In order, without digests.
    pub(in super::super) parts: Vec<Part>,
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Of which bucket.
    pub bucket: Place,
    /// Of which blob.
    pub key: String,
    /// When it was opened, Unix milliseconds.
    pub begun_ms: u64,
    /// Without a word it is over after so long.
    pub time_ms: u64,
    /// Which is then.
    pub until_ms: u64,
    /// What its blob is to be.
    pub look: Look,
}

/// Some parts of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct UploadParts {
    /// Sorted by number.
    pub(in super::super) parts: Vec<Part>,
}

/// How many uploads are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Uploads {
    pub(in super::super) count: u64,
}
