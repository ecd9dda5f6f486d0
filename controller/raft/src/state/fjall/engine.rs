//! The state of one group, in a keyspace; in another one after each snapshot that took its place.

use std::io;
use std::sync::Arc;

use coracle_proto::id::GroupId;

use super::keyspace::OpenKeyspace;
use super::open::{Database, damaged, error, guarded};
use super::view::FjallView;
use crate::codec::record::{AppliedState, Stored as _};
use crate::faults;
use crate::reader::{RecordsIter, View};
use crate::state::{Changes, Engine};

/// Key of the applied position, before those of the records.
const APPLIED: &[u8] = b"applied";

/// Prefix of the records' keys.
pub(super) const RECORD: u8 = b'r';

/// The longest key that fjall takes.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// One group's state.
///
/// A keyspace without an applied position is one into which a snapshot was being written: that is there with the last of
/// its records, or not at all.
pub(super) struct FjallEngine {
    database: Database,
    group: GroupId,
    generation: u64,
    keyspace: Arc<OpenKeyspace>,
}

impl FjallEngine {
    /// Opens a group's newest whole keyspace and removes the others, or makes the first one.
    pub(super) fn open(database: Database, group: GroupId) -> io::Result<Self> {
        let mut whole = None;
        for generation in generations(&database, group)? {
            let Some(keyspace) = database.find(&name(group, generation))? else { continue };
            if applied(&keyspace)?.is_some() {
                whole = Some(generation);
            }
        }
        let generation = whole.unwrap_or(0);
        for other in generations(&database, group)? {
            if other != generation {
                database.remove(&name(group, other))?;
            }
        }
        let keyspace = database.make(&name(group, generation))?;
        Ok(Self { database, group, generation, keyspace })
    }

    fn newest(&self) -> io::Result<Arc<FjallView>> {
        self.keyspace.view(&self.database)
    }
}

impl Engine for FjallEngine {
    fn applied(&self) -> io::Result<Option<AppliedState>> {
        applied(&self.keyspace)
    }

    fn records(&self) -> RecordsIter<'_> {
        match self.newest() {
            Ok(view) => view.everything(),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn write(&mut self, changes: Changes, at: &AppliedState) -> io::Result<()> {
        self.keyspace.room(&self.database)?;
        let mut batch = self.database.fjall()?.batch();
        self.keyspace.change(|keyspace| {
            for (key, value) in changes {
                let key = checked(record_key(&key))?;
                // Copies: a command must not stay in memory for a piece of it.
                match value {
                    Some(value) => batch.insert(keyspace, key, &value[..]),
                    None => batch.remove(keyspace, key),
                }
            }
            batch.insert(keyspace, APPLIED, at.seal(APPLIED));
            guarded(|| batch.commit())
        })
    }

    /// Writes another keyspace, as tables that are named together, and then removes the one that there was.
    fn replace(&mut self, records: RecordsIter<'_>, at: &AppliedState) -> io::Result<()> {
        let before = name(self.group, self.generation);
        let generation = self.generation + 1;
        let next = name(self.group, generation);
        // What an attempt that failed has left.
        self.database.remove(&next)?;
        let keyspace = self.database.make(&next)?;
        keyspace.change(|keyspace| {
            let mut tables = keyspace.start_ingestion().map_err(error)?;
            tables.write(APPLIED, at.seal(APPLIED)).map_err(error)?;
            let mut last = Vec::new();
            for record in records {
                let (key, value) = record?;
                let key = checked(record_key(&key))?;
                if key <= last {
                    return Err(damaged("the records of a snapshot are not in order"));
                }
                last.clone_from(&key);
                tables.write(key, &value[..]).map_err(error)?;
            }
            faults::hit(faults::SNAPSHOT_BEFORE_STATE, std::iter::empty());
            guarded(|| tables.finish())
        })?;
        (self.generation, self.keyspace) = (generation, keyspace);
        self.database.remove(&before)
    }

    fn view(&self) -> io::Result<View> {
        Ok(View::new(self.newest()?))
    }
}

/// Whether no group has anything.
pub(super) fn is_empty(database: &Database) -> io::Result<bool> {
    for name in database.names()?.iter().filter(|name| name.starts_with("group-")) {
        let Some(keyspace) = database.find(name)? else { continue };
        if !keyspace.with(|keyspace| guarded(|| keyspace.is_empty()))? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn record_key(key: &[u8]) -> Vec<u8> {
    [&[RECORD], key].concat()
}

fn checked(key: Vec<u8>) -> io::Result<Vec<u8>> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(key);
    }
    let reason = format!("a record's key of {} bytes is over the limit of {KEY_BYTES_MAX}", key.len());
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

fn name(group: GroupId, generation: u64) -> String {
    format!("group-{group}-{generation}")
}

/// Of a group's keyspaces, in order.
fn generations(database: &Database, group: GroupId) -> io::Result<Vec<u64>> {
    let prefix = format!("group-{group}-");
    let names = database.names()?;
    let mut generations: Vec<_> =
        names.iter().filter_map(|name| name.strip_prefix(&prefix)?.parse().ok()).collect();
    generations.sort_unstable();
    Ok(generations)
}

fn applied(keyspace: &OpenKeyspace) -> io::Result<Option<AppliedState>> {
    let record = keyspace.with(|keyspace| guarded(|| keyspace.get(APPLIED)))?;
    let applied = record.map(|record| AppliedState::unseal(APPLIED, &record)).transpose();
    applied.map_err(|error| damaged(format!("the applied position: {error}")))
}
