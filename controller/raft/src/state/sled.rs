//! The engine of states that fit into memory: a sled database for all groups of a process, a tree for each.

mod flusher;

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coracle_proto::id::GroupId;

use self::flusher::Flusher;
use super::blobs::Blobs;
use super::database::{self, Trouble};
use super::{Changes, Engine, EngineStore, Unsynced};
use crate::codec::frame::{FrameError, seal, unseal};
use crate::codec::record::{AppliedState, Stored};
use crate::options::HostIdentity;
use crate::reader::RecordsIter;
use crate::{disk, os};

/// Key of the identity, in a tree of its own.
const IDENTITY: &[u8] = b"identity";

/// Key of the applied position, and the prefix of the records, in a group's tree.
const APPLIED: &[u8] = b"applied";
/// Key of the digest of all records.
const DIGEST: &[u8] = b"digest";
const RECORD: u8 = b'r';

/// sled writes in many pieces, in any order. Where some find no room and others do, it may lose what it had synced long before:
/// it is asked for nothing where there is not twice as much room as is written at once, and this much.
const ROOM_BYTES_MIN: u64 = 64 << 20;

/// The database.
pub(crate) struct SledStore {
    db: sled::Db,
    flusher: Flusher,
    blobs: Mutex<Blobs>,
    place: Arc<Place>,
}

/// Where it is, and what has become of writes there.
struct Place {
    dir: Box<Path>,
    /// The database's file once more: sled's `flush` is `sync_file_range` on Linux, which a power cut undoes.
    file: File,
    failed: Mutex<Option<Failed>>,
}

/// A write has failed. One of a blob leaves sled in the middle of it: nothing that is written later ever counts as written.
#[derive(Clone)]
struct Failed {
    reason: String,
    /// Something that was taken before may be lost with it.
    lost: bool,
}

impl From<Failed> for Unsynced {
    fn from(failed: Failed) -> Self {
        let error = io::Error::other(format!("a write has failed before: {}", failed.reason));
        if failed.lost { Self::Lost(error) } else { Self::Refused(error) }
    }
}

impl Place {
    fn failed(&self) -> Option<Failed> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whatever comes after is told of it, too.
    fn remember(&self, error: &io::Error, lost: bool) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if lost || failed.is_none() {
            *failed = Some(Failed { reason: error.to_string(), lost });
        }
    }

    /// sled writes on threads of its own: who is told of an error may have had no part in what is lost by it. A full disk took
    /// less than it was given, and a system that is short of files or memory nothing; whether something is lost of what it took,
    /// the system tells each handle by itself, and once.
    fn loses(&self, error: &io::Error) -> bool {
        !(disk::is_full(error) || os::is_short(error)) || self.file.sync_data().is_err()
    }
}

impl SledStore {
    /// Opens the database of a folder, or makes one. Blocks.
    pub(crate) fn open(dir: &Path) -> Result<Self, Trouble> {
        database::sweep(dir).map_err(Trouble::Refused)?;
        disk::has_room(dir.parent().unwrap_or(dir), ROOM_BYTES_MIN).map_err(Trouble::Refused)?;
        let flusher = Flusher::spawn().map_err(Trouble::Refused)?;
        let db = database::open(dir)?;
        let file = File::open(dir.join("db")).map_err(Trouble::Refused)?;
        let place = Arc::new(Place { dir: Box::from(dir), file, failed: Mutex::default() });
        Ok(Self { db, flusher, blobs: Mutex::new(Blobs::new(dir)), place })
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
        Ok(Box::new(SledEngine { tree, digest, place: Arc::clone(&self.place) }))
    }

    /// First what is pointed to, then what points: once the flush has returned, every blob that a record before it
    /// needs is complete.
    fn sync(&self) -> Result<(), Unsynced> {
        if let Some(failed) = self.place.failed() {
            return Err(failed.into());
        }
        let Some(flushed) = self.flusher.flush(&self.db) else {
            let error =
                io::Error::other(format!("a flush has not ended for {} s", flusher::WAIT_MAX.as_secs()));
            self.place.remember(&error, false);
            return Err(Unsynced::Refused(error));
        };
        if let Err(error) = flushed {
            let lost = self.place.loses(&error);
            return Err(if lost { Unsynced::Lost(error) } else { Unsynced::Refused(error) });
        }
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner).sync();
        blobs.and_then(|()| self.place.file.sync_data()).map_err(Unsynced::Lost)
    }

    fn lost(&self) -> Option<io::Error> {
        if let Some(failed) = self.place.failed().filter(|failed| failed.lost) {
            return Some(Unsynced::from(failed).into());
        }
        // A read is told of it, too.
        let error = error(self.db.context.global_error().err()?);
        self.place.loses(&error).then_some(error)
    }
}

impl Drop for SledStore {
    /// sled flushes where it is dropped, too: after this one that has nothing to wait for. After a write that failed, or a flush
    /// that does not end, it may wait for ever, so that it is not dropped: it ends with the process.
    fn drop(&mut self) {
        let flushed = self.place.failed().is_none().then(|| self.flusher.flush(&self.db)).flatten();
        match flushed {
            None => std::mem::forget(self.db.clone()),
            Some(Err(error)) => {
                tracing::warn!(%error, "the state was not written as it was closed: the log has what it lacks");
            }
            Some(Ok(())) => {}
        }
    }
}

/// One group's tree. One tree, because a batch of sled is atomic inside one.
struct SledEngine {
    tree: sled::Tree,
    /// Of all records together: sled takes what it finds damaged in its file for the end of it, and goes on without what came
    /// after. Each record that it still has is whole then, and some are missing, or older than the others.
    digest: u128,
    place: Arc<Place>,
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    batch: sled::Batch,
    bytes: u64,
}

impl Batch {
    fn insert(&mut self, key: &[u8], record: Vec<u8>) {
        self.bytes += (key.len() + record.len()) as u64;
        self.batch.insert(key, record);
    }

    fn remove(&mut self, key: &[u8]) {
        self.bytes += key.len() as u64;
        self.batch.remove(key);
    }

    /// What is to be free on the disk before it.
    fn room(&self) -> u64 {
        ROOM_BYTES_MIN.max(self.bytes.saturating_mul(2))
    }
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
                    batch.insert(&key, record);
                }
                None => batch.remove(&key),
            }
        }
        self.apply(batch, all, at)
    }

    fn replace(&mut self, records: RecordsIter<'_>, at: &AppliedState) -> io::Result<()> {
        let (mut batch, mut all) = (Batch::default(), 0);
        for key in self.tree.scan_prefix([RECORD]).keys() {
            batch.remove(&key.map_err(error)?);
        }
        // A later operation on a key wins over an earlier one of the same batch.
        for record in records {
            let (key, value) = record?;
            let key = record_key(&key);
            let record = seal(&key, &value);
            all ^= digest(&key, &record);
            batch.insert(&key, record);
        }
        self.apply(batch, all, at)
    }
}

impl SledEngine {
    fn apply(&mut self, mut batch: Batch, digest: u128, at: &AppliedState) -> io::Result<()> {
        batch.insert(APPLIED, at.seal(APPLIED));
        batch.insert(DIGEST, digest.to_le_bytes().to_vec());
        if let Some(failed) = self.place.failed() {
            return Err(Unsynced::from(failed).into());
        }
        disk::has_room(&self.place.dir, batch.room())?;
        let applied = self.tree.apply_batch(batch.batch).map_err(error);
        applied.inspect_err(|error| self.place.remember(error, self.place.loses(error)))?;
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

    #[test]
    fn the_room_for_a_write_is_twice_what_it_has() {
        let mut batch = Batch::default();
        batch.insert(b"key", vec![0; 1 << 20]);
        assert_eq!(batch.room(), ROOM_BYTES_MIN);
        for number in 0_u8..40 {
            batch.insert(&[number], vec![0; 1 << 20]);
            batch.remove(&[number; 1_000]);
        }
        assert_eq!(batch.room(), 2 * (3 + (1 << 20) + 40 * (1 + (1 << 20) + 1_000)));
    }
}
