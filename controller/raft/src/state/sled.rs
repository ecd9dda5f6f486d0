//! The engine of states that fit into memory: a sled database for all groups of a process, a tree for each.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use coracle_proto::id::GroupId;
use sled::Batch;

use super::blobs::Blobs;
use super::database::{self, Trouble};
use super::{Changes, Engine, EngineStore, RecordsIter};
use crate::codec::frame::{FrameError, seal, unseal};
use crate::codec::record::{AppliedState, Stored};
use crate::options::HostIdentity;

/// Key of the identity, in a tree of its own.
const IDENTITY: &[u8] = b"identity";

/// Key of the applied position, and the prefix of the records, in a group's tree.
const APPLIED: &[u8] = b"applied";
const RECORD: u8 = b'r';

/// The database.
pub(crate) struct SledStore {
    db: sled::Db,
    /// Its file once more: sled's `flush` is `sync_file_range` on Linux, which a power cut undoes.
    file: File,
    blobs: Mutex<Blobs>,
}

impl SledStore {
    /// Opens the database of a folder, or makes one. Blocks.
    pub(crate) fn open(dir: &Path) -> Result<Self, Trouble> {
        database::sweep(dir).map_err(Trouble::Refused)?;
        let db = database::open(dir)?;
        let file = File::open(dir.join("db")).map_err(Trouble::Refused)?;
        Ok(Self { db, file, blobs: Mutex::new(Blobs::new(dir)) })
    }

    /// Whose it is: none for a new one.
    pub(crate) fn identity(&self) -> io::Result<Option<HostIdentity>> {
        read(&self.db, IDENTITY)
    }

    /// Says whose it is, durably.
    pub(crate) fn claim(&self, identity: &HostIdentity) -> io::Result<()> {
        self.db.insert(IDENTITY, identity.seal(IDENTITY)).map_err(error)?;
        self.sync()
    }

    /// Whether no group has anything in it.
    pub(crate) fn is_empty(&self) -> bool {
        let trees = self.db.tree_names().into_iter().filter(|name| name.starts_with(b"group-"));
        trees.filter_map(|name| self.db.open_tree(name).ok()).all(|tree| tree.is_empty())
    }
}

impl EngineStore for SledStore {
    fn open(&self, group: GroupId) -> io::Result<Box<dyn Engine>> {
        let tree = self.db.open_tree(format!("group-{group}")).map_err(error)?;
        Ok(Box::new(SledEngine(tree)))
    }

    /// First what is pointed to, then what points: once the flush has returned, every blob that a record before it
    /// needs is complete.
    fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(error)?;
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).sync()?;
        self.file.sync_data()
    }
}

/// One group's tree. One tree, because a batch of sled is atomic inside one.
struct SledEngine(sled::Tree);

impl Engine for SledEngine {
    fn applied(&self) -> io::Result<Option<AppliedState>> {
        read(&self.0, APPLIED)
    }

    fn records(&self) -> RecordsIter<'_> {
        Box::new(self.0.scan_prefix([RECORD]).map(|item| {
            let (key, record) = item.map_err(error)?;
            let value = unseal(&key, &record).map_err(|error| damaged(&key, &error))?;
            Ok((Bytes::copy_from_slice(key.get(1..).unwrap_or_default()), Bytes::copy_from_slice(value)))
        }))
    }

    fn write(&mut self, changes: Changes, at: &AppliedState) -> io::Result<()> {
        let mut batch = Batch::default();
        for (key, value) in changes {
            let key = record_key(&key);
            match value {
                Some(value) => batch.insert(&key[..], seal(&key, &value)),
                None => batch.remove(key),
            }
        }
        batch.insert(APPLIED, at.seal(APPLIED));
        self.0.apply_batch(batch).map_err(error)
    }

    fn replace(&mut self, records: RecordsIter<'_>, at: &AppliedState) -> io::Result<()> {
        let mut batch = Batch::default();
        for key in self.0.scan_prefix([RECORD]).keys() {
            batch.remove(key.map_err(error)?);
        }
        // A later operation on a key wins over an earlier one of the same batch.
        for record in records {
            let (key, value) = record?;
            let key = record_key(&key);
            batch.insert(&key[..], seal(&key, &value));
        }
        batch.insert(APPLIED, at.seal(APPLIED));
        self.0.apply_batch(batch).map_err(error)
    }
}

fn record_key(key: &[u8]) -> Vec<u8> {
    [&[RECORD], key].concat()
}

fn read<R: Stored>(tree: &sled::Tree, key: &[u8]) -> io::Result<Option<R>> {
    let Some(record) = tree.get(key).map_err(error)? else { return Ok(None) };
    R::unseal(key, &record).map(Some).map_err(|error| damaged(key, &error))
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
