//! Records to and from their bytes. Equal records have equal bytes: fields are written in order and maps are sorted.

mod blob;
mod invocation;
mod message;
mod queue;
mod schedule;
mod watcher;
mod webhook;

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::id::{ClusterId, GroupId};
use coracle_proto::pb::store as pb;
use prost::Message as _;

use super::super::record::{Group, Late, Remembered, Value};
use super::DecodeError;
use super::names::above_zero;
use super::reply::{outcome_from_wire, outcome_to_wire};

pub(super) use blob::{
    look_from_wire, look_to_wire, part_from_wire, part_to_wire, upload_from_wire, upload_to_wire,
};
pub(super) use invocation::{answer_from_wire, answer_to_wire, report_from_wire, report_to_wire};
pub(super) use message::{head_from_wire, head_to_wire};
pub(super) use queue::{settings_from_wire, settings_to_wire};
pub(super) use schedule::{
    definition_from_wire, definition_to_wire, some_invocation_from_wire, some_invocation_to_wire,
};
pub(super) use watcher::{watcher_from_wire, watcher_to_wire};
pub(super) use webhook::{terms_from_wire, terms_to_wire};

/// A record that stands under a key.
pub(in super::super) trait Stored: Sized {
    /// What it is, for people.
    const WHAT: &'static str;

    /// Its bytes.
    fn encode(&self) -> Bytes;

    /// The record of these bytes.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

impl Stored for Group {
    const WHAT: &'static str = "the group's record";

    fn encode(&self) -> Bytes {
        let wire = pb::Group {
            cluster_id: self.cluster.to_wire(),
            group: self.id.get(),
            sequence: self.sequence,
            time_ms: self.time_ms,
            remembered: self.remembered,
            remembered_from: self.remembered_from,
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Group::decode(bytes)?;
        Ok(Self {
            cluster: ClusterId::try_from(&wire.cluster_id[..]).in_field("cluster_id")?,
            id: GroupId::new(wire.group),
            sequence: wire.sequence,
            time_ms: wire.time_ms,
            remembered: wire.remembered,
            remembered_from: wire.remembered_from,
        })
    }
}

impl Stored for Remembered {
    const WHAT: &'static str = "a remembered outcome";

    fn encode(&self) -> Bytes {
        let outcome = Some(outcome_to_wire(&self.outcome));
        pb::Remembered { sequence: self.sequence, outcome }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Remembered::decode(bytes)?;
        let outcome = outcome_from_wire(wire.outcome.in_field("outcome")?)?;
        Ok(Self { sequence: wire.sequence, outcome })
    }
}

/// A record whose message has the same plain fields.
macro_rules! plain {
    ($record:ident, $what:literal, [$($field:ident),+]) => {
        impl Stored for $record {
            const WHAT: &'static str = $what;

            fn encode(&self) -> Bytes {
                let Self { $($field),+ } = *self;
                prost::Message::encode_to_vec(&pb::$record { $($field),+ }).into()
            }

            fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                let pb::$record { $($field),+ } = prost::Message::decode(bytes)?;
                Ok(Self { $($field),+ })
            }
        }
    };
}

pub(in super::super) use plain;

plain!(Late, "when a value is told of again", [timer_ms]);

impl Stored for Value {
    const WHAT: &'static str = "a value";

    fn encode(&self) -> Bytes {
        let expires_ms = self.expires_ms.unwrap_or_default();
        let (version, hops) = (self.version, self.hops);
        pb::Value { version, expires_ms, data: self.data.clone(), hops }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Value { version, expires_ms, data, hops } = pb::Value::decode(bytes)?;
        Ok(Self { version, expires_ms: above_zero(expires_ms), data, hops })
    }
}
