//! The engine of states larger than memory: a fjall database for all groups of a process, a keyspace for each.
//!
//! fjall has a journal of its own, of what is in its memory and in no table yet. It is not relied upon: fjall does not
//! open a database whose journal has a hole in a value, and a power cut makes holes in what nobody has synced. What is in no table
//! is in the log, so that the journal is emptied before a start, and a sync writes tables. These are whole: fjall syncs
//! a table before it names it, and cuts between two batches.

mod engine;
mod journal;
mod keyspace;
mod lists;
mod open;
#[cfg(test)]
mod tests;
mod view;

use std::io;
use std::path::Path;

use coracle_proto::id::GroupId;

use self::engine::FjallEngine;
use self::open::Database;
use super::database::Trouble;
use super::{Engine, EngineStore, Unsynced};
use crate::codec::record::Stored as _;
use crate::disk;
use crate::options::HostIdentity;

/// The keyspace of the host itself, and its record of whose the database is.
const HOST: &str = "host";
const IDENTITY: &[u8] = b"identity";

/// The database.
pub(crate) struct FjallStore {
    database: Database,
}

impl FjallStore {
    /// Opens the database of a folder, or makes one. Blocks.
    pub(crate) fn open(dir: &Path) -> Result<Self, Trouble> {
        Ok(Self { database: Database::open(dir)? })
    }

    /// What is in memory becomes tables, those of all groups at the same time. Whoever writes meanwhile is not waited for.
    fn write_tables(&self) -> io::Result<()> {
        let keyspaces = self.database.keyspaces()?;
        let wanted: Vec<_> =
            keyspaces.iter().map(|keyspace| keyspace.rotate(&self.database)).collect::<Result<_, _>>()?;
        for (keyspace, wanted) in keyspaces.iter().zip(wanted) {
            keyspace.flushed(wanted, || self.database.check())?;
        }
        Ok(())
    }
}

impl EngineStore for FjallStore {
    fn identity(&self) -> io::Result<Option<HostIdentity>> {
        let Some(host) = self.database.find(HOST)? else { return Ok(None) };
        let record = host.with(|host| open::guarded(|| host.get(IDENTITY)))?;
        let identity = record.map(|record| HostIdentity::unseal(IDENTITY, &record)).transpose();
        identity.map_err(|error| open::damaged(format!("the identity: {error}")))
    }

    fn claim(&self, identity: &HostIdentity) -> io::Result<()> {
        let record = identity.seal(IDENTITY);
        self.database.make(HOST)?.with(|host| host.insert(IDENTITY, record).map_err(open::error))?;
        self.write_tables()
    }

    fn is_empty(&self) -> bool {
        // What cannot be read is there.
        engine::is_empty(&self.database).unwrap_or(false)
    }

    fn open(&self, group: GroupId) -> io::Result<Box<dyn Engine>> {
        Ok(Box::new(FjallEngine::open(self.database.clone(), group)?))
    }

    /// A table that was not written whole has no name, and its records are in the log.
    fn sync(&self) -> Result<(), Unsynced> {
        self.write_tables().map_err(Unsynced::Refused)
    }
}

impl Drop for FjallStore {
    /// Whoever still holds a view does not keep the files open.
    fn drop(&mut self) {
        self.database.close();
    }
}

/// The names of a folder's entries are durable; what they name is synced by fjall itself.
fn sync_names(dir: &Path) -> io::Result<()> {
    disk::sync_dir(&dir.join(open::KEYSPACES))
}
