//! What tests ask of blobs: bucket `b`, uploads, parts and commits.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::bench::{Bench, effected, perform, place, text};
use crate::model::{
    Access, Begin, Blob, BlobBecomes, BlobChange, BlobContent, Effect, Effected, Look, Op, Outcome, Part,
    SigningKey, ToHold, UploadId, UploadName, blob,
};

pub(crate) const KEY: SigningKey = SigningKey([7; 32]);
/// Of an upload.
pub(crate) const TIME_MS: u64 = 10_000;

impl Bench {
    /// With one bucket of blobs, `shop/b`.
    pub(crate) fn with_blobs(keys_max: u64, bytes_max: u64) -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.run(put_blobs(keys_max, bytes_max, None)), Outcome::Done);
        bench
    }

    pub(crate) fn begin(&mut self, key: &str) -> UploadId {
        let outcome = self.run(begin(key, 0));
        let Outcome::UploadBegun(id) = outcome else { panic!("{outcome:?}") };
        id
    }

    pub(crate) fn put_part(&mut self, key: &str, id: UploadId, part: Part) -> Outcome {
        self.run(Op::PutPart { upload: upload(key, id), part })
    }

    /// Commits what is all here; its version.
    pub(crate) fn put_blob(&mut self, key: &str, data: &str) -> u64 {
        let outcome = self.run(perform(vec![change(key, here(data))]));
        let [Effected::Committed { version, .. }] = effected(&outcome) else { panic!("{outcome:?}") };
        *version
    }

    pub(crate) fn blob(&self, key: &str) -> Option<Blob> {
        blob(&self.records, &place("b"), key).unwrap()
    }

    /// How many rows of these kinds there are.
    pub(crate) fn rows(&self, kinds: &str) -> usize {
        self.records.keys().filter(|key| kinds.as_bytes().contains(&key[0])).count()
    }
}

pub(crate) fn put_blobs(keys_max: u64, bytes_max: u64, access: Option<Access>) -> Op {
    Op::PutBucket { bucket: place("b"), keys_max, bytes_max, holds: ToHold::Blobs { access, key: KEY } }
}

pub(crate) fn begin(key: &str, bytes: u64) -> Op {
    let (bucket, key, look) = (place("b"), key.to_owned(), Look::default());
    Op::BeginUpload(Begin { bucket, key, time_ms: TIME_MS, look, bytes })
}

pub(crate) fn upload(key: &str, id: UploadId) -> UploadName {
    UploadName { bucket: place("b"), key: key.to_owned(), id }
}

/// With the digest of its number, as if that were its content.
pub(crate) fn part(number: u32, run: u64, bytes: u64) -> Part {
    Part { number, run, bytes, digest: Bytes::copy_from_slice(&Sha256::digest(run.to_be_bytes())) }
}

/// As a commit names it that was put before.
pub(crate) fn only_named(part: &Part) -> Part {
    Part { run: 0, bytes: 0, ..part.clone() }
}

pub(crate) fn here(data: &str) -> BlobBecomes {
    let (data, etag, look) = (text(data), String::new(), Look::default());
    BlobBecomes::Content(BlobContent { data, upload: None, parts: Vec::new(), etag, look })
}

pub(crate) fn parts(id: UploadId, parts: Vec<Part>) -> BlobBecomes {
    let (data, etag, look) = (Bytes::new(), String::new(), Look::default());
    BlobBecomes::Content(BlobContent { data, upload: Some(id), parts, etag, look })
}

pub(crate) fn change(key: &str, becomes: BlobBecomes) -> Effect {
    let (bucket, key, if_match) = (place("b"), key.to_owned(), String::new());
    Effect::Blob(Box::new(BlobChange { bucket, key, if_match, if_none_match: false, becomes }))
}

pub(crate) fn only_if(change: Effect, etag: &str, none: bool) -> Effect {
    let Effect::Blob(change) = change else { panic!("{change:?} is of no blob") };
    Effect::Blob(Box::new(BlobChange { if_match: etag.to_owned(), if_none_match: none, ..*change }))
}
