//! What is asked of blobs and of the uploads by which they come.

use bytes::Bytes;

use super::super::blob::UploadId;
use super::super::name::Place;
use super::super::record::{Access, Look, Part, SigningKey};

/// What a bucket is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToHold {
    /// Values where it is made; else what it holds.
    Any,
    /// Values.
    Values,
    /// Blobs.
    Blobs {
        /// None: signed where it is made; else as it is.
        access: Option<Access>,
        /// Of one that is made by this, drawn by the leader.
        key: SigningKey,
    },
}

/// Opens an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// Of which bucket.
    pub bucket: Place,
    /// Of which blob.
    pub key: String,
    /// Without a word it is over after so long.
    pub time_ms: u64,
    /// What its blob is to be.
    pub look: Look,
    /// How much will come; 0: nobody knows.
    pub bytes: u64,
}

/// An upload of a blob: one of another blob is not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadName {
    /// Of which bucket.
    pub bucket: Place,
    /// Of which blob.
    pub key: String,
    /// Its id.
    pub id: UploadId,
}

/// A change of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobChange {
    /// In which bucket.
    pub bucket: Place,
    /// Under which key.
    pub key: String,
    /// The etag that it must have, or `*` for any; empty: whatever there is.
    pub if_match: String,
    /// Only where there is none.
    pub if_none_match: bool,
    /// What becomes of it.
    pub becomes: BlobBecomes,
}

/// What becomes of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobBecomes {
    /// It is this from now on.
    Content(BlobContent),
    /// It is not there any more.
    Nothing,
}

/// What a blob comes to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobContent {
    /// All of it, where it came by no upload.
    pub data: Bytes,
    /// By which it came.
    pub upload: Option<UploadId>,
    /// Of the upload, in order; those of no bytes are as the upload has them.
    pub parts: Vec<Part>,
    /// Without quotes; empty: reckoned.
    pub etag: String,
    /// What is empty is as it was said when the upload was opened, or as is usual.
    pub look: Look,
}
