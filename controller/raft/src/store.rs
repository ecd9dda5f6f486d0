//! The store of one group: a sled database with the log, the vote and the state, a mark beside it, and
//! the newest snapshot as a file.
//!
//! ```text
//! GROUP/identity   whose store it is
//! GROUP/mark       a lower bound of what was acknowledged
//! GROUP/store/     sled: trees `log`, `meta`, `state`
//! GROUP/snapshot   the newest snapshot
//! ```
//! All trees share one write-ahead log, so what survives a power cut is a prefix of what was written.

mod blobs;
mod database;
mod disk;
mod flusher;
mod identity;
mod log;
mod machine;
mod mark;
mod open;
mod snapshot;

pub(crate) use flusher::FlusherThread;
pub(crate) use log::APPEND_BYTES_MAX;
#[cfg(test)]
pub(crate) use log::LogStore;
pub(crate) use machine::{Machine, Published};
pub(crate) use open::{Opened, open};
pub(crate) use snapshot::{SnapshotFile, Snapshots};

use std::io;

use crate::codec::frame::FrameError;
use crate::codec::record::Stored;

/// Keys of the tree `meta`, each a record of one kind.
pub(crate) const IDENTITY: &[u8] = b"identity";
pub(crate) const VOTE: &[u8] = b"vote";
pub(crate) const PURGED: &[u8] = b"purged";
pub(crate) const COMMITTED: &[u8] = b"committed";

/// Keys of the tree `state`: the applied position, and the records, each behind a prefix.
pub(crate) const APPLIED: &[u8] = b"applied";
pub(crate) const RECORD: u8 = b'r';

/// The database's trees. One tree each, because a batch of sled is atomic inside one tree.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    pub(crate) db: sled::Db,
    pub(crate) log: sled::Tree,
    pub(crate) meta: sled::Tree,
    pub(crate) state: sled::Tree,
}

impl Trees {
    pub(crate) fn new(db: sled::Db) -> Result<Self, sled::Error> {
        Ok(Self { log: db.open_tree("log")?, meta: db.open_tree("meta")?, state: db.open_tree("state")?, db })
    }

    /// A record of `meta`.
    pub(crate) fn read_meta<R: Stored>(&self, key: &[u8]) -> io::Result<Option<R>> {
        read(&self.meta, key)
    }

    /// Writes a record of `meta`; durable after the next flush.
    pub(crate) fn write_meta(&self, key: &[u8], record: &impl Stored) -> io::Result<()> {
        self.meta.insert(key, record.seal(key)).map_err(sled_error)?;
        Ok(())
    }
}

/// A record of a tree; an error names the key.
pub(crate) fn read<R: Stored>(tree: &sled::Tree, key: &[u8]) -> io::Result<Option<R>> {
    let Some(record) = tree.get(key).map_err(sled_error)? else { return Ok(None) };
    R::unseal(key, &record).map(Some).map_err(|error| damaged(key, &error))
}

pub(crate) fn sled_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

/// A record that is not what was written, with its key.
pub(crate) fn damaged(key: &[u8], error: &FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("record {}: {error}", key.escape_ascii()))
}

#[cfg(test)]
mod suite;
