//! Blobs, and uploads of them.

use std::collections::BTreeMap;

use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use serde::Serialize;

use crate::output::{Detail, Row, rfc3339, table};
use crate::units::show_bytes;

/// What is told of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BlobView {
    key: String,
    bytes: u64,
    modified: String,
    content_type: String,
    etag: String,
    version: u64,
    /// In lists it is not told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl From<pb::BlobInfo> for BlobView {
    fn from(wire: pb::BlobInfo) -> Self {
        Self {
            key: wire.key,
            bytes: wire.bytes,
            modified: rfc3339(wire.modified_ms),
            content_type: wire.content_type,
            etag: wire.etag,
            version: wire.version,
            metadata: wire.metadata.into_iter().collect(),
        }
    }
}

impl Row for BlobView {
    const COLUMNS: &'static [&'static str] = &["KEY", "SIZE", "MODIFIED", "TYPE", "VERSION", "ETAG"];
    const WIDE_FROM: usize = 4;

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.clone(),
            show_bytes(self.bytes),
            self.modified.clone(),
            self.content_type.clone(),
            self.version.to_string(),
            self.etag.clone(),
        ]
    }

    fn name(&self) -> String {
        self.key.clone()
    }
}

impl Detail for BlobView {
    fn name(&self) -> String {
        self.key.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        let head = [
            ("key", self.key.clone()),
            ("size", format!("{} ({} bytes)", show_bytes(self.bytes), self.bytes)),
            ("modified", self.modified.clone()),
            ("type", self.content_type.clone()),
            ("etag", self.etag.clone()),
            ("version", self.version.to_string()),
        ];
        let metadata = self.metadata.iter().map(|(name, value)| ("meta", format!("{name}={value}")));
        table::pairs(head.into_iter().chain(metadata))
    }
}

/// What was put. People were told on stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PutView {
    bucket: String,
    key: String,
    bytes: u64,
    pub(crate) etag: String,
}

impl PutView {
    pub(crate) fn new(bucket: &FunctionId, key: &str, bytes: u64, etag: String) -> Self {
        Self { bucket: bucket.to_string(), key: key.to_owned(), bytes, etag }
    }

    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let Self { bucket, key, bytes, etag } = self;
        format!("{key} is in bucket {bucket}: {}, ETag {etag}", show_bytes(*bytes))
    }
}

impl Detail for PutView {
    fn name(&self) -> String {
        self.key.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        String::new()
    }
}

/// A URL with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LinkView {
    url: String,
    method: &'static str,
    expires: String,
}

impl LinkView {
    /// Good until then: Unix milliseconds.
    pub(crate) fn new(url: String, method: &'static str, expires_ms: u64) -> Self {
        Self { url, method, expires: rfc3339(expires_ms) }
    }
}

impl Detail for LinkView {
    fn name(&self) -> String {
        self.url.clone()
    }

    /// Alone, for whatever takes a URL.
    fn describe(&self, _wide: bool) -> String {
        format!("{}\n", self.url)
    }
}

/// An upload that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UploadView {
    id: String,
    key: String,
    begun: String,
    /// Its time is over then.
    until: String,
    content_type: String,
}

impl From<pb::BlobUpload> for UploadView {
    fn from(wire: pb::BlobUpload) -> Self {
        Self {
            id: wire.id.iter().map(|byte| format!("{byte:02x}")).collect(),
            key: wire.key,
            begun: rfc3339(wire.begun_ms),
            until: rfc3339(wire.until_ms),
            content_type: wire.content_type,
        }
    }
}

impl Row for UploadView {
    const COLUMNS: &'static [&'static str] = &["UPLOAD", "KEY", "BEGUN", "UNTIL", "TYPE"];
    const WIDE_FROM: usize = 4;

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.key.clone(),
            self.begun.clone(),
            self.until.clone(),
            self.content_type.clone(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_shown_with_what_is_told_of_it() {
        let wire = pb::BlobInfo {
            key: "a/b.jpg".to_owned(),
            version: 7,
            bytes: 2048,
            etag: "abc".to_owned(),
            modified_ms: 1000,
            content_type: "image/jpeg".to_owned(),
            metadata: [("by".to_owned(), "Ada".to_owned())].into(),
        };
        let view = BlobView::from(wire);
        assert_eq!(view.cells().join("|"), "a/b.jpg|2 KiB|1970-01-01T00:00:01.000Z|image/jpeg|7|abc");
        let text = view.describe(false);
        assert!(text.contains("2 KiB (2048 bytes)") && text.contains("by=Ada"), "{text}");
        let upload = UploadView::from(pb::BlobUpload { id: vec![1, 0xff].into(), ..Default::default() });
        assert_eq!(upload.cells()[0], "01ff");
    }
}
