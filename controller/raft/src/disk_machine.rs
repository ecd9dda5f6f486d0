//! What a user of this crate replicates where the state may be larger than memory: a pure machine over records.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use crate::draft::Draft;
use crate::state_machine::{Halt, Position};

/// A replicated machine whose state are records on the disk: it reads those that it needs and drafts what becomes of
/// them. Pure: what it answers and drafts depends on the records, the position and the command alone.
pub trait DiskMachine: Send + Sync + 'static {
    /// Applies one command. A refused command is a reply, not an error. What is drafted by a command that ends in an error
    /// is dropped.
    ///
    /// # Errors
    /// Only for a command of a newer format, and for records that cannot be read: the member ends.
    fn apply(draft: &mut Draft<'_>, position: Position, command: &[u8]) -> Result<Bytes, Stop>;
}

/// Why a command ends its member.
#[derive(Debug, Error)]
pub enum Stop {
    /// This build cannot read it.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// A record cannot be read.
    #[error("reading the state: {0}")]
    Read(#[from] io::Error),
}
