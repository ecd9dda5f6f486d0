//! Whether the files are what the index says: people delete some, and disks lose others.
//!
//! What is lost is given up: the index names it no more, nor does this node's report, so that it is fetched anew where
//! it is wanted here and copied elsewhere where it is short.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use coracle_proto::id::Digest;
use sha2::{Digest as _, Sha256};

use super::{OnDisk, Store, finish};
use crate::artifact::{ArtifactError, CHUNK_BYTES};
use crate::os;

impl Store {
    /// Opens an artifact. One that is gone, cannot be read, or has another length is given up.
    ///
    /// # Errors
    /// When it is not here, or this process cannot open files.
    pub fn open_file(&self, digest: &Digest) -> Result<(OnDisk, File), ArtifactError> {
        let _changing = self.changing();
        let digest = *digest;
        let held = self.get(&digest).ok_or(ArtifactError::Missing { digest })?;
        let path = self.path(&digest);
        match File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((size, file)) if size == held.size => Ok((held, file)),
            Ok((size, _)) => {
                self.give_up(&digest, &format_args!("it has {size} bytes, not {}", held.size));
                self.unlink(&digest)?;
                Err(ArtifactError::Missing { digest })
            }
            Err(error) if os::tells_loss(&error) => {
                self.give_up(&digest, &error);
                Err(ArtifactError::Missing { digest })
            }
            Err(error) => Err(ArtifactError::io(&path)(error)),
        }
    }

    /// Looks at every file, reading none.
    pub fn look(&self) {
        for digest in self.held().keys() {
            // Told where it is given up; what cannot be told now is looked at again.
            let _ = self.open_file(digest);
        }
    }

    /// Reads the file and compares its hash. One that rotted is removed, since it is not what its name says.
    ///
    /// # Errors
    /// When it is not here, not whole any more, or cannot be read for another reason.
    pub fn verify(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let (_, file) = self.open_file(digest)?;
        match hash_of(&file) {
            Ok(got) if got == *digest => Ok(()),
            Ok(got) => {
                self.give_up_read(digest, &file, &format_args!("its digest is {got}"))?;
                Err(ArtifactError::Mismatch { expected: *digest, got })
            }
            Err(error) => {
                if os::tells_loss(&error) {
                    self.give_up_read(digest, &file, &error)?;
                }
                Err(ArtifactError::io(&self.path(digest))(error))
            }
        }
    }

    /// Gives up and removes what was read for some time without holding anything up, unless another file took its
    /// place meanwhile.
    fn give_up_read(&self, digest: &Digest, read: &File, why: &dyn Display) -> Result<(), ArtifactError> {
        let _changing = self.changing();
        let path = self.path(digest);
        let read = read.metadata().map_err(ArtifactError::io(&path))?;
        if fs::metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (read.dev(), read.ino())) {
            self.give_up(digest, why);
            self.unlink(digest)?;
        }
        Ok(())
    }

    /// Forgets an artifact. The caller has `changing`.
    pub(super) fn give_up(&self, digest: &Digest, why: &dyn Display) {
        tracing::error!(%digest, "a stored artifact is lost: {why}");
        Arc::make_mut(&mut self.index()).remove(digest);
        self.changed();
    }
}

fn hash_of(mut file: &File) -> io::Result<Digest> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(finish(hash)),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    const BYTES: &[u8] = b"an artifact";

    async fn store(store: &Arc<Store>) -> Digest {
        let digest = Digest::new(Sha256::digest(BYTES).into());
        let mut incoming = store.begin(digest, BYTES.len() as u64).unwrap();
        incoming.write(Bytes::from_static(BYTES)).await.unwrap();
        incoming.seal().await.unwrap().commit(1_000).await.unwrap();
        digest
    }

    #[tokio::test]
    async fn calls_and_reports_never_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let it = Store::open(folder.path()).unwrap();
        let digest = store(&it).await;
        let _the_disk_is_slow = it.changing();
        assert!(it.get(&digest).is_some() && it.held().len() == 1);
    }

    #[tokio::test]
    async fn what_was_stored_anew_is_not_given_up_for_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let it = Store::open(folder.path()).unwrap();
        let digest = store(&it).await;
        let (_, old) = it.open_file(&digest).unwrap();
        fs::remove_file(it.path(&digest)).unwrap();
        it.look();
        store(&it).await;
        it.give_up_read(&digest, &old, &"it rotted").unwrap();
        it.verify(&digest).unwrap();
    }
}
