//! The engine of states that fit into memory: a sled database for all groups of a process, a tree for each.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::GroupId;
use sled::Batch;

use super::blobs::Blobs;
use super::database::{self, Trouble};
use super::{Changes, Engine, EngineStore, Unsynced};
use crate::codec::frame::{FrameError, seal, unseal};
use crate::codec::record::{AppliedState, Stored};
use crate::disk;
use crate::options::HostIdentity;
use crate::reader::RecordsIter;

/// Key of the identity, in a tree of its own.
const IDENTITY: &[u8] = b"identity";

/// Key of the applied position, and the prefix of the records, in a group's tree.
const APPLIED: &[u8] = b"applied";
/// Key of the digest of all records.
const DIGEST: &[u8] = b"digest";
const RECORD: u8 = b'r';

/// sled writes in many pieces, in any order. Where some find no room and others do, it may lose what it had synced long before:
/// it is asked for nothing where there is not twice as much room as is written at once.
const ROOM_BYTES_MIN: u64 = 64 << 20;

/// A flush that takes longer than this may wait for what has failed: another one is begun. A disk may be slow, so that each
/// is given more time than the one before.
const WAKE_AFTER: Duration = Duration::from_millis(250);
const WAKE_AFTER_MAX: Duration = Duration::from_secs(16);

/// The database.
pub(crate) struct SledStore {
    db: sled::Db,
    /// Its file once more: sled's `flush` is `sync_file_range` on Linux, which a power cut undoes.
    file: File,
    blobs: Mutex<Blobs>,
    dir: Arc<Path>,
    /// A write has failed. One of a blob leaves sled in the middle of it: nothing that is written later ever counts as written.
    failed: Arc<AtomicBool>,
}

impl SledStore {
    /// Opens the database of a folder, or makes one. Blocks.
    pub(crate) fn open(dir: &Path) -> Result<Self, Trouble> {
        database::sweep(dir).map_err(Trouble::Refused)?;
        disk::has_room(dir.parent().unwrap_or(dir), ROOM_BYTES_MIN).map_err(Trouble::Refused)?;
        let db = database::open(dir)?;
        let file = File::open(dir.join("db")).map_err(Trouble::Refused)?;
        Ok(Self { db, file, blobs: Mutex::new(Blobs::new(dir)), dir: Arc::from(dir), failed: Arc::default() })
    }
}

impl SledStore {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

impl EngineStore for SledStore {
    fn identity(&self) -> io::Result<Option<HostIdentity>> {
        read(&self.db, IDENTITY)
    }

    fn claim(&self, identity: &HostIdentity) -> io::Result<()> {
        self.db.insert(IDENTITY, identity.seal(IDENTITY)).map_err(error)?;
        Ok(self.sync()?)
    }

    fn is_empty(&self) -> bool {
        let trees = self.db.tree_names().into_iter().filter(|name| name.starts_with(b"group-"));
        // What cannot be read is there.
        let is_empty = |name| guarded(|| Ok(self.db.open_tree(name)?.is_empty())).unwrap_or(false);
        trees.into_iter().all(is_empty)
    }

    fn open(&self, group: GroupId) -> io::Result<Box<dyn Engine>> {
        let tree = guarded(|| self.db.open_tree(format!("group-{group}")))?;
        let digest = guarded(|| tree.get(DIGEST))?;
        let digest = digest.and_then(|digest| digest.as_ref().try_into().ok()).map_or(0, u128::from_le_bytes);
        let (dir, failed) = (Arc::clone(&self.dir), Arc::clone(&self.failed));
        Ok(Box::new(SledEngine { tree, digest, dir, failed }))
    }

    /// First what is pointed to, then what points: once the flush has returned, every blob that a record before it
    /// needs is complete.
    fn sync(&self) -> Result<(), Unsynced> {
        if self.has_failed() {
            return Err(Unsynced::Refused(io::Error::other("a write has failed before")));
        }
        match flush(&self.db) {
            Ok(()) => {}
            // A flush writes first. Whether of what was written something is lost the system tells each handle by itself.
            Err(full) if disk::is_full(&full) && self.file.sync_data().is_ok() => {
                return Err(Unsynced::Refused(full));
            }
            Err(lost) => return Err(Unsynced::Lost(lost)),
        }
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner).sync();
        blobs.and_then(|()| self.file.sync_data()).map_err(Unsynced::Lost)
    }
}

impl Drop for SledStore {
    /// sled flushes where it is dropped, too: after this one that has nothing to wait for. After a write that failed it may wait
    /// for ever, so that it is not dropped: it ends with the process.
    fn drop(&mut self) {
        if self.has_failed() {
            std::mem::forget(self.db.clone());
        } else if let Err(error) = flush(&self.db) {
            tracing::warn!(%error, "the state was not written as it was closed: the log has what it lacks");
        }
    }
}

/// sled's flush, of which each waits for what threads of sled's write. Where they cannot they tell nobody, and who waits would
/// wait for ever; but whoever comes to flush after that sees it, and wakes the others.
fn flush(db: &sled::Db) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    let mut patience = WAKE_AFTER;
    loop {
        let (db, tell) = (db.clone(), tell.clone());
        let flush = move || {
            let flushed = catch_unwind(AssertUnwindSafe(|| db.flush()));
            drop(db);
            // Another one has told before.
            let _ = tell.send(flushed);
        };
        thread::Builder::new().name("raft-flush".to_owned()).spawn(flush)?;
        match told.recv_timeout(patience) {
            Ok(Ok(flushed)) => return flushed.map(drop).map_err(error),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => patience = WAKE_AFTER_MAX.min(patience * 2),
        }
    }
}

/// One group's tree. One tree, because a batch of sled is atomic inside one.
struct SledEngine {
    tree: sled::Tree,
    /// Of all records together: sled takes what it finds damaged in its file for the end of it, and goes on without what came
    /// after. Each record that it still has is whole then, and some are missing, or older than the others.
    digest: u128,
    dir: Arc<Path>,
    failed: Arc<AtomicBool>,
}

impl Engine for SledEngine {
    fn applied(&self) -> io::Result<Option<AppliedState>> {
        read(&self.tree, APPLIED)
    }

    fn records(&self) -> RecordsIter<'_> {
        let (mut items, mut missing) = (self.tree.scan_prefix([RECORD]), self.digest);
        let items = std::iter::from_fn(move || match guarded(|| items.next().transpose()).transpose() {
            // Once: the next call finds nothing missing.
            None if std::mem::take(&mut missing) != 0 => Some(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "records are missing, or older than others",
            ))),
            Some(Ok((key, record))) => {
                missing ^= digest(&key, &record);
                Some(Ok((key, record)))
            }
            other => other,
        });
        Box::new(items.map(|item| {
            let (key, record) = item?;
            let value = unseal(&key, &record).map_err(|error| damaged(&key, &error))?;
            Ok((Bytes::copy_from_slice(key.get(1..).unwrap_or_default()), Bytes::copy_from_slice(value)))
        }))
    }

    fn write(&mut self, changes: Changes, at: &AppliedState) -> io::Result<()> {
        let (mut batch, mut all) = (Batch::default(), self.digest);
        for (key, value) in changes {
            let key = record_key(&key);
            if let Some(before) = self.tree.get(&key).map_err(error)? {
                all ^= digest(&key, &before);
            }
            match value.map(|value| seal(&key, &value)) {
                Some(record) => {
                    all ^= digest(&key, &record);
                    batch.insert(&key[..], record);
                }
                None => batch.remove(key),
            }
        }
        self.apply(batch, all, at)
    }

    fn replace(&mut self, records: RecordsIter<'_>, at: &AppliedState) -> io::Result<()> {
        let (mut batch, mut all) = (Batch::default(), 0);
        for key in self.tree.scan_prefix([RECORD]).keys() {
            batch.remove(key.map_err(error)?);
        }
        // A later operation on a key wins over an earlier one of the same batch.
        for record in records {
            let (key, value) = record?;
            let key = record_key(&key);
            let record = seal(&key, &value);
            all ^= digest(&key, &record);
            batch.insert(&key[..], record);
        }
        self.apply(batch, all, at)
    }
}

impl SledEngine {
    fn apply(&mut self, mut batch: Batch, digest: u128, at: &AppliedState) -> io::Result<()> {
        batch.insert(APPLIED, at.seal(APPLIED));
        batch.insert(DIGEST, &digest.to_le_bytes()[..]);
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("a write has failed before"));
        }
        disk::has_room(&self.dir, ROOM_BYTES_MIN)?;
        let applied = self.tree.apply_batch(batch).map_err(error);
        applied.inspect_err(|_| self.failed.store(true, Ordering::Release))?;
        self.digest = digest;
        Ok(())
    }
}

/// Of one record; those of all, by exclusive or, are the group's, whatever the order.
fn digest(key: &[u8], record: &[u8]) -> u128 {
    let hash = blake3::Hasher::new().update(key).update(record).finalize();
    let (half, _) = hash.as_bytes().split_at(size_of::<u128>());
    half.try_into().map_or(0, u128::from_le_bytes)
}

fn record_key(key: &[u8]) -> Vec<u8> {
    [&[RECORD], key].concat()
}

fn read<R: Stored>(tree: &sled::Tree, key: &[u8]) -> io::Result<Option<R>> {
    let Some(record) = guarded(|| tree.get(key))? else { return Ok(None) };
    R::unseal(key, &record).map(Some).map_err(|error| damaged(key, &error))
}

/// Reads. sled panics where it meets damage that it did not see when it opened.
fn guarded<T>(read: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(error),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "sled panicked")),
    }
}

fn error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

/// A record that is not what was written, with its key.
fn damaged(key: &[u8], error: &FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("record {}: {error}", key.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_sled_is_damage() {
        let error = guarded::<()>(|| panic!("cannot find pid 5")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
    }
}
