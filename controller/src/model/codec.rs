//! Envelopes to and from the bytes in the log, and records to theirs. A command of a newer format is told apart from a damaged one.

mod read;
mod write;

use bytes::Bytes;
use coracle_proto::codec::Door;
use coracle_proto::pb;
use coracle_proto::record::Record;
use prost::Message;
use thiserror::Error;

use super::Envelope;

/// Why bytes are no envelope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The command is of a newer format. Who meets it in the log must stop: skipping it would make another state.
    #[error("the command is of a newer format than this program understands: upgrade it")]
    UnknownCommand,
    /// Not the message that it should be.
    #[error("the command cannot be read: {0}")]
    Wire(String),
    /// A field of it is wrong.
    #[error("the command cannot be read: {0}")]
    Field(#[from] coracle_proto::codec::DecodeError),
}

/// Writes an envelope as it stands in the log.
#[must_use]
pub fn encode(envelope: &Envelope) -> Bytes {
    write::envelope(envelope).encode_to_vec().into()
}

/// The same envelope with the leader's stamp. Of a field that stands twice the last one counts (protobuf's merge), so
/// that the leader writes no command anew that came encoded.
#[must_use]
pub fn stamped(envelope: &Bytes, time_ms: u64) -> Bytes {
    let stamp = pb::Envelope { time_ms, ..pb::Envelope::default() };
    let mut stamped = Vec::with_capacity(envelope.len() + stamp.encoded_len());
    stamped.extend_from_slice(envelope);
    stamped.extend_from_slice(&stamp.encode_to_vec());
    stamped.into()
}

/// A record as it is stored, sent and hashed. Equal records have equal bytes: fields are written in order and
/// maps are sorted.
pub(super) fn record(record: &Record) -> Vec<u8> {
    #[cfg(test)]
    encodings::count();
    pb::Record::from(record).encode_to_vec()
}

/// Reads an envelope: off the log, or from another controller, by the door of whoever asks there.
///
/// # Errors
/// When the command is not known, or the bytes say nothing that can be.
pub fn decode(bytes: &[u8], door: Door) -> Result<Envelope, DecodeError> {
    let wire = pb::Envelope::decode(bytes).map_err(|error| DecodeError::Wire(error.to_string()))?;
    read::envelope(wire, door)
}

/// A change, read back.
#[cfg(test)]
pub(crate) fn decoded(change: &super::Change) -> coracle_proto::record::Change {
    let key = String::from_utf8(change.key.to_vec()).unwrap();
    pb::Change { key, record: change.record.clone() }.try_into().unwrap()
}

/// Counts what a test's thread encodes.
#[cfg(test)]
pub(crate) mod encodings {
    use std::cell::Cell;

    thread_local!(static ENCODED: Cell<usize> = const { Cell::new(0) });

    pub(super) fn count() {
        ENCODED.set(ENCODED.get() + 1);
    }

    /// Records that were encoded since the last call.
    pub(crate) fn take() -> usize {
        ENCODED.take()
    }
}
