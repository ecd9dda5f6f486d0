//! An artifact on its way in: a temporary file that vanishes unless it is whole and wanted.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::Digest;
use sha2::{Digest as _, Sha256};

use super::store::{blocking, finish};
use super::{ArtifactError, OnDisk, Store};

/// Bytes of an artifact as they come. Dropping it removes the temporary file.
#[derive(Debug)]
pub struct Receiving {
    store: Arc<Store>,
    digest: Digest,
    size: u64,
    received: u64,
    /// Gone while a chunk is being written, and for good when that failed.
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    file: File,
    hash: Sha256,
    tmp: Tmp,
}

/// A file that is removed when nobody needs it any more.
#[derive(Debug)]
struct Tmp(PathBuf);

impl Drop for Tmp {
    fn drop(&mut self) {
        // Gone already when it was adopted; what stays because of an error is removed at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

impl Receiving {
    pub(super) fn create(
        store: Arc<Store>,
        path: PathBuf,
        digest: Digest,
        size: u64,
    ) -> Result<Self, ArtifactError> {
        let file = File::create_new(&path).map_err(ArtifactError::io(&path))?;
        let part = Part { file, hash: Sha256::new(), tmp: Tmp(path) };
        Ok(Self { store, digest, size, received: 0, part: Some(part) })
    }

    /// Bytes so far: where a source is asked to go on.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Whether all announced bytes are there.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.received == self.size
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// More bytes than announced, or a failure of the disk, after which nothing more is taken.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), ArtifactError> {
        let received = self.received.saturating_add(chunk.len() as u64);
        if received > self.size {
            return Err(ArtifactError::TooLarge { size: received, max: self.size });
        }
        let mut part = self.part.take().ok_or(ArtifactError::Stopped)?;
        let part = blocking(move || {
            part.hash.update(&chunk);
            part.file.write_all(&chunk).map_err(ArtifactError::io(&part.tmp.0))?;
            Ok(part)
        });
        self.part = Some(part.await?);
        self.received = received;
        Ok(())
    }

    /// Checks length and hash, and syncs the file.
    ///
    /// # Errors
    /// When the bytes are not those that were named, or the disk fails.
    pub async fn seal(self) -> Result<Sealed, ArtifactError> {
        let Self { store, digest, size, received, part } = self;
        if received < size {
            return Err(ArtifactError::Truncated { expected: size, got: received });
        }
        let Part { file, hash, tmp } = part.ok_or(ArtifactError::Stopped)?;
        let got = finish(hash);
        if got != digest {
            return Err(ArtifactError::Mismatch { expected: digest, got });
        }
        let tmp = blocking(move || {
            file.sync_all().map_err(ArtifactError::io(&tmp.0))?;
            Ok(tmp)
        });
        Ok(Sealed { store, digest, size, tmp: tmp.await? })
    }
}

/// A whole artifact, verified and on disk, but not in the store yet. Dropping it removes it.
#[derive(Debug)]
pub struct Sealed {
    store: Arc<Store>,
    digest: Digest,
    size: u64,
    tmp: Tmp,
}

impl Sealed {
    /// Where it lies until it is committed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.tmp.0
    }

    /// Puts it into the store. Durable when this returns.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn commit(self, now_ms: u64) -> Result<OnDisk, ArtifactError> {
        let held = OnDisk { size: self.size, renewed_ms: now_ms };
        blocking(move || self.store.adopt(&self.tmp.0, &self.digest, held)).await?;
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        Digest::new(Sha256::digest(bytes).into())
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut incoming = store.begin(digest(b"abc"), 3).unwrap();
        // The kernel's own full disk.
        incoming.part.as_mut().unwrap().file = File::options().write(true).open("/dev/full").unwrap();
        let error = incoming.write(Bytes::from_static(b"abc")).await.unwrap_err();
        assert_eq!(error.code(), coracle_proto::status::Code::DiskFull);
        assert!(error.to_string().contains("tmp"), "{error}");
        drop(incoming);
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_dropped_or_wrong_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let files = || fs::read_dir(folder.path().join("tmp")).unwrap().count();

        let mut incoming = store.begin(digest(b"abc"), 3).unwrap();
        incoming.write(Bytes::from_static(b"ab")).await.unwrap();
        assert_eq!(files(), 1);
        let error = incoming.write(Bytes::from_static(b"cd")).await.unwrap_err();
        assert!(matches!(error, ArtifactError::TooLarge { size: 4, max: 3 }), "{error}");
        let error = incoming.seal().await.unwrap_err();
        assert!(matches!(error, ArtifactError::Truncated { expected: 3, got: 2 }), "{error}");
        assert_eq!(files(), 0);

        let mut incoming = store.begin(digest(b"abc"), 3).unwrap();
        incoming.write(Bytes::from_static(b"abd")).await.unwrap();
        let error = incoming.seal().await.unwrap_err();
        assert!(matches!(error, ArtifactError::Mismatch { .. }), "{error}");
        assert_eq!(files(), 0);
        assert!(store.held().is_empty());
    }
}
