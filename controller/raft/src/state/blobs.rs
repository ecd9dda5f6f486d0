//! sled's blobs, made durable: a message of over 128 KiB is a file of its own, which sled writes and never syncs.
//!
//! Such a message is not rare: a page of the log's tree holds up to 17 entries before it is split, so entries of
//! 8 KiB make one. Its pointer in the database is worth nothing without the file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk;

/// The folder, and what of it is known to be on the disk: each file with its length.
///
/// A blob is written from its beginning to its end and then stays as it is until it is removed, and no name is
/// given twice in the life of a process. So a file that is as long as when it was last synced has nothing new. One
/// that is just being written is longer the next time, which is before anybody is told of what it holds.
#[derive(Debug)]
pub(super) struct Blobs {
    dir: PathBuf,
    pub(super) durable: HashMap<OsString, u64>,
}

impl Blobs {
    /// Nothing is known to be durable: a killed process may have left what it had not synced.
    pub(super) fn new(sled_dir: &Path) -> Self {
        Self { dir: sled_dir.join("blobs"), durable: HashMap::new() }
    }

    /// Makes every blob durable that is complete now, and its name.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let mut durable = HashMap::with_capacity(self.durable.len());
        let mut new = false;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Some(length) = there(entry.metadata().map(|file| file.len()))? else { continue };
            if self.durable.get(&entry.file_name()) != Some(&length) {
                new = true;
                if there(sync(&entry))?.is_none() {
                    continue;
                }
            }
            durable.insert(entry.file_name(), length);
        }
        if new {
            disk::sync_dir(&self.dir)?;
        }
        self.durable = durable;
        Ok(())
    }
}

fn sync(blob: &DirEntry) -> io::Result<()> {
    File::open(blob.path())?.sync_data()
}

/// None for a file that sled has removed meanwhile: nothing points to it any more.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lengths(blobs: &Blobs) -> Vec<u64> {
        let mut lengths: Vec<_> = blobs.durable.values().copied().collect();
        lengths.sort_unstable();
        lengths
    }

    /// `/dev/null` is a file that the system refuses to sync: here it tells whether somebody tried.
    #[test]
    fn a_blob_is_synced_once_and_again_when_it_has_grown() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("blobs");
        fs::create_dir(&folder).unwrap();
        let mut blobs = Blobs::new(dir.path());
        blobs.sync().unwrap();
        let mut half = File::create(folder.join("100")).unwrap();
        half.write_all(&[0; 100]).unwrap();
        fs::write(folder.join("200"), [0; 200]).unwrap();
        blobs.sync().unwrap();
        assert_eq!(lengths(&blobs), [100, 200]);
        half.write_all(&[0; 400]).unwrap();
        fs::remove_file(folder.join("200")).unwrap();
        blobs.sync().unwrap();
        assert_eq!(lengths(&blobs), [500]);

        std::os::unix::fs::symlink("/dev/null", folder.join("300")).unwrap();
        assert!(blobs.sync().is_err(), "a new one is synced");
        assert_eq!(lengths(&blobs), [500], "what could not be synced is not taken for durable");
        let length = fs::symlink_metadata(folder.join("300")).unwrap().len();
        blobs.durable.insert("300".into(), length);
        blobs.sync().unwrap();
        blobs.durable.insert("300".into(), length - 1);
        assert!(blobs.sync().is_err(), "one that has grown is synced");
    }
}
