//! A data group as Raft's machine over records: entries in, drafted records out, all as bytes.

use bytes::Bytes;
use coracle_raft::{DiskMachine, Draft, Halt, Position, Stop};

use crate::model;

/// The machine of a data group. Its state are the records of its [`Draft`]; it has none of its own.
#[derive(Debug, Clone, Copy)]
pub struct DataMachine;

impl DiskMachine for DataMachine {
    fn apply(draft: &mut Draft<'_>, position: Position, command: &[u8]) -> Result<Bytes, Stop> {
        let batch = model::codec::decode(command).map_err(|error| Halt { reason: error.to_string() })?;
        let reply = model::apply(draft, position, command.len(), batch)?;
        Ok(model::codec::encode_reply(&reply))
    }
}
