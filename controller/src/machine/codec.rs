//! Records as keys and values of bytes: the key's text, the record's message.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError, InField as _, outcome_to_wire};
use coracle_proto::id::Revision;
use coracle_proto::pb;
use coracle_proto::record::{Outcome, Record};
use prost::Message as _;

use crate::model;

/// A change as it is stored: the very bytes that were hashed.
pub(crate) fn change(change: model::Change) -> coracle_raft::Change {
    coracle_raft::Change { key: change.key, value: change.record }
}

/// A stored change as watchers are told it: the very bytes that were stored.
///
/// # Errors
/// When the key is not what [`change`] wrote.
pub(crate) fn change_to_wire(change: &coracle_raft::Change) -> Result<pb::Change, DecodeError> {
    let key = std::str::from_utf8(&change.key).in_field("key")?.to_owned();
    Ok(pb::Change { key, record: change.value.clone() })
}

/// A stored record.
///
/// # Errors
/// When key or value are not what [`change`] wrote, or do not belong together.
pub(crate) fn record(key: &Bytes, value: &Bytes) -> Result<Record, DecodeError> {
    let stored = coracle_raft::Change { key: key.clone(), value: Some(value.clone()) };
    coracle_proto::record::Change::try_from(change_to_wire(&stored)?)?.record.in_field("record")
}

/// What the proposer is answered.
pub(crate) fn reply(outcome: &Outcome, revision: Revision) -> Bytes {
    let outcome = outcome_to_wire(outcome).encode_to_vec().into();
    pb::ProposeReply { outcome, revision: revision.get() }.encode_to_vec().into()
}
