//! A group's state: in memory where it is applied, on the disk as a checkpoint behind the log.
//!
//! A command is applied in memory, published, told to the observer and answered. What it changed goes to an [`Engine`]
//! some time later, together with what others changed, and with the position up to which that is everything. The log
//! keeps what lies behind the last checkpoint that was synced. So no acknowledgement waits for the engine.

mod blobs;
mod checkpoint;
mod database;
mod machine;
mod sled;
mod snapshot;

use std::io;

use bytes::Bytes;

pub(crate) use self::checkpoint::{Checkpoint, CheckpointThread};
pub(crate) use self::database::Trouble;
pub(crate) use self::machine::{Machine, Published};
pub(crate) use self::sled::SledStore;
pub(crate) use self::snapshot::{ReceivedFile, SnapshotData, Staging, chunks};

use crate::codec::record::AppliedState;

/// Records of a state and what becomes of them: removed where there is no value.
pub(crate) type Changes = Vec<(Bytes, Option<Bytes>)>;

/// Records in key order.
pub(crate) type RecordsIter<'a> = Box<dyn Iterator<Item = io::Result<(Bytes, Bytes)>> + Send + 'a>;

/// The engines of one process: one for each group, synced together.
pub(crate) trait EngineStore: Send + Sync + 'static {
    /// The engine of a group, empty for one that is new.
    fn open(&self, group: coracle_proto::id::GroupId) -> io::Result<Box<dyn Engine>>;

    /// Makes durable what all engines have written.
    fn sync(&self) -> io::Result<()>;
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
}
