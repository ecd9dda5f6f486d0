//! A group's state: in memory where it is applied, on the disk as a checkpoint behind the log; or on the disk alone.
//!
//! A command is applied in memory, published, told to the observer and answered. What it changed goes to an [`Engine`]
//! some time later, together with what others changed, and with the position up to which that is everything. The log
//! keeps what lies behind the last checkpoint that was synced. So no acknowledgement waits for the engine.
//!
//! A state that may be larger than memory is read in the engine, and what a batch of commands changed is written to it
//! before it is published, as a view. It is not synced either: the log keeps that, too.

mod blobs;
mod checkpoint;
mod database;
mod driver;
mod fjall;
mod in_memory;
mod machine;
mod on_disk;
mod sled;
mod snapshot;

use std::io;

use bytes::Bytes;

pub(crate) use self::checkpoint::{Checkpoint, CheckpointThread, Group};
pub(crate) use self::database::Trouble;
pub(crate) use self::driver::Driver;
pub(crate) use self::fjall::FjallStore;
pub(crate) use self::in_memory::InMemory;
pub(crate) use self::machine::{Machine, Published};
pub(crate) use self::on_disk::OnDisk;
pub(crate) use self::sled::SledStore;
pub(crate) use self::snapshot::{ReceivedFile, SnapshotData, Staging, chunks};

use crate::codec::record::AppliedState;
use crate::options::HostIdentity;
use crate::reader::{RecordsIter, View};

/// Records of a state and what becomes of them: removed where there is no value.
pub(crate) type Changes = Vec<(Bytes, Option<Bytes>)>;

/// The engines of one process: one for each group, synced together.
pub(crate) trait EngineStore: Send + Sync + 'static {
    /// Whose they are: none for a new one.
    fn identity(&self) -> io::Result<Option<HostIdentity>>;

    /// Says whose they are, durably.
    fn claim(&self, identity: &HostIdentity) -> io::Result<()>;

    /// Whether no group has anything in it.
    fn is_empty(&self) -> bool;

    /// The engine of a group, empty for one that is new.
    fn open(&self, group: coracle_proto::id::GroupId) -> io::Result<Box<dyn Engine>>;

    /// Makes durable what all engines have written.
    fn sync(&self) -> Result<(), Unsynced>;

    /// After a write that failed: why something that was taken before may be lost, which the next sync would not tell.
    fn lost(&self) -> Option<io::Error> {
        None
    }
}

/// Why not all is durable that engines have written.
#[derive(Debug)]
pub(crate) enum Unsynced {
    /// Not all was taken: the disk is full, say. What was taken is what it was, and the rest is in the log.
    Refused(io::Error),
    /// Something that was taken may be lost, and the next sync would take it for durable.
    Lost(io::Error),
}

impl From<Unsynced> for io::Error {
    fn from(unsynced: Unsynced) -> Self {
        match unsynced {
            Unsynced::Refused(error) | Unsynced::Lost(error) => error,
        }
    }
}

/// Keeps the records of one group's state. It need not be durable before [`EngineStore::sync`], but what a crash leaves
/// must be whole: the state after some write, never a part of one.
pub(crate) trait Engine: Send + 'static {
    /// How far the state is that it holds.
    fn applied(&self) -> io::Result<Option<AppliedState>>;

    /// Everything that it holds.
    fn records(&self) -> RecordsIter<'_>;

    /// Changes records, and how far the state is, at once.
    fn write(&mut self, changes: Changes, at: &AppliedState) -> io::Result<()>;

    /// Puts another state in the place of this one, at once.
    fn replace(&mut self, records: RecordsIter<'_>, at: &AppliedState) -> io::Result<()>;

    /// What it holds, as it is now for as long as somebody has it. Not every engine has views.
    fn view(&self) -> io::Result<View> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this host has its states in memory: there is no view of them",
        ))
    }
}
