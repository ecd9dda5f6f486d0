//! Schedules to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::id::InvocationId;
use coracle_proto::pb::store as pb;
use prost::Message as _;

use super::super::super::record::{Definition, Fired, Schedule, Schedules};
use super::super::DecodeError;
use super::super::names::{
    function_from_wire, function_to_wire, invocation_from_wire, missed_from_wire, missed_to_wire,
    overlap_from_wire, overlap_to_wire,
};
use super::{Stored, plain};

plain!(Schedules, "the number of schedules", [count]);

pub(in super::super) fn definition_to_wire(it: &Definition) -> pb::Definition {
    pb::Definition {
        cron: it.cron.clone(),
        zone: it.zone.clone(),
        function: function_to_wire(Some(&it.function)),
        data: it.data.clone(),
        missed: missed_to_wire(it.missed).into(),
        overlap: overlap_to_wire(it.overlap).into(),
    }
}

pub(in super::super) fn definition_from_wire(wire: pb::Definition) -> Result<Definition, FieldError> {
    let (missed, overlap) = (missed_from_wire(wire.missed())?, overlap_from_wire(wire.overlap())?);
    let function = function_from_wire(&wire.function)?.in_field("definition.function")?;
    let pb::Definition { cron, zone, data, .. } = wire;
    Ok(Definition { cron, zone, function, data, missed, overlap })
}

/// No bytes stand for none.
pub(in super::super) fn some_invocation_to_wire(it: Option<InvocationId>) -> Bytes {
    it.map_or_else(Bytes::new, InvocationId::to_wire)
}

pub(in super::super) fn some_invocation_from_wire(wire: &[u8]) -> Result<Option<InvocationId>, FieldError> {
    if wire.is_empty() { Ok(None) } else { invocation_from_wire(wire).map(Some) }
}

impl Stored for Schedule {
    const WHAT: &'static str = "a schedule";

    fn encode(&self) -> Bytes {
        let wire = pb::Schedule {
            definition: Some(definition_to_wire(&self.definition)),
            paused: self.paused,
            revision: self.revision,
            cursor_ms: self.cursor_ms,
            fired: self.fired.map(|it| pb::Fired { at_ms: it.at_ms, fired_ms: it.fired_ms }),
            invocation: some_invocation_to_wire(self.invocation),
            ticks: self.ticks,
            skipped: self.skipped,
            missed: self.missed,
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Schedule::decode(bytes)?;
        Ok(Self {
            definition: definition_from_wire(wire.definition.in_field("schedule.definition")?)?,
            paused: wire.paused,
            revision: wire.revision,
            cursor_ms: wire.cursor_ms,
            fired: wire.fired.map(|it| Fired { at_ms: it.at_ms, fired_ms: it.fired_ms }),
            invocation: some_invocation_from_wire(&wire.invocation)?,
            ticks: wire.ticks,
            skipped: wire.skipped,
            missed: wire.missed,
        })
    }
}
