//! What a user of this crate replicates: a pure state machine of bytes, and who is told of its changes.

use bytes::Bytes;
use thiserror::Error;

/// Where an entry stands in the log. Two entries with the same position are the same on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The term of the leader that proposed it.
    pub term: u64,
    /// Its index, counted from 0.
    pub index: u64,
}

/// A record that an applied command wrote or removed. The changes of a command are exactly what is
/// written to the store for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The record's key.
    pub key: Bytes,
    /// Its new value; none when it was removed.
    pub value: Option<Bytes>,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The answer for the proposer.
    pub reply: Bytes,
    /// Each changed record, once.
    pub changes: Vec<Change>,
}

/// A command that this build cannot read: it was made by a newer one. The voter stops, it never skips.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot apply a command: {reason}; upgrade this node")]
pub struct Halt {
    /// Which command, and what would be needed.
    pub reason: String,
}

/// Stored records that do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the stored records make no state: {reason}")]
pub struct RestoreError {
    /// What is wrong, with the key.
    pub reason: String,
}

/// A replicated state machine: bytes in, bytes out, pure. A clone must be cheap (persistent collections):
/// one is taken after every batch of commands and for every snapshot.
pub trait StateMachine: Clone + Send + Sync + 'static {
    /// Rebuilds the state from its records, which come in key order; none for a new store.
    ///
    /// # Errors
    /// When the records make no state of this build.
    fn restore(records: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError>;

    /// Applies one command. A refused command is a reply, not an error.
    ///
    /// # Errors
    /// Only for a command of a newer format; the state must then be unchanged.
    fn apply(&mut self, position: Position, command: &[u8]) -> Result<Applied, Halt>;

    /// All records, in key order.
    fn records(&self) -> Box<dyn Iterator<Item = (Bytes, Bytes)> + Send + '_>;
}

/// What a member publishes after each batch of commands: a state in memory, or a [`View`](crate::View) of one on the disk.
pub trait State: Clone + Send + Sync + 'static {}

impl<S: Clone + Send + Sync + 'static> State for S {}

/// Told of each change, in order, on the thread that applies: it must be quick and must not block.
pub trait Observer<S>: Send + Sync + 'static {
    /// Commands were applied and written; `state` is the state after the last of them.
    fn applied(&self, state: &S, batch: &[(Position, Vec<Change>)]);

    /// The whole state is a new one: at the start, with what the store held, and after a snapshot was
    /// installed that ends at `position`.
    fn replaced(&self, position: Position, state: &S);
}
