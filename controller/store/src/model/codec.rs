//! Entries, answers and records to and from the bytes that stand in the log, in the store and on the wire. An operation of a
//! newer format is told apart from a damaged one.

mod names;
mod read;
mod record;
mod reply;
mod write;

use bytes::Bytes;
use coracle_proto::pb::store as pb;
use prost::Message;
use thiserror::Error;

use super::{Batch, Reply};

pub(super) use record::Stored;

/// Why bytes are no entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// An operation is of a newer format. Who meets it in the log must stop: skipping it would make another state.
    #[error("the entry is of a newer format than this program understands: upgrade it")]
    UnknownOp,
    /// Not the message that it should be.
    #[error("the entry cannot be read: {0}")]
    Wire(String),
    /// A field of it is wrong.
    #[error("the entry cannot be read: {0}")]
    Field(#[from] coracle_proto::codec::DecodeError),
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Wire(error.to_string())
    }
}

/// Writes an entry as it stands in the log.
#[must_use]
pub fn encode(batch: &Batch) -> Bytes {
    write::batch(batch).encode_to_vec().into()
}

/// Reads an entry.
///
/// # Errors
/// When an operation is not known, or the bytes say nothing that can be.
pub fn decode(bytes: &[u8]) -> Result<Batch, DecodeError> {
    read::batch(pb::Batch::decode(bytes)?)
}

/// Bytes that an operation has in an entry, at most.
#[must_use]
pub fn bytes(asked: &super::Asked) -> usize {
    // A tag and a length come before it.
    write::asked(asked).encoded_len() + 8
}

/// Writes what an entry is answered.
#[must_use]
pub fn encode_reply(reply: &Reply) -> Bytes {
    reply::to_wire(reply).encode_to_vec().into()
}

/// Reads what an entry is answered.
///
/// # Errors
/// When the bytes say nothing that can be.
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, DecodeError> {
    Ok(reply::from_wire(pb::Reply::decode(bytes)?)?)
}
