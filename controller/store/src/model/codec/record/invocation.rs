//! Records of invocations to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::id::{NodeId, VersionNumber};
use coracle_proto::pb::store as pb;
use prost::Message as _;

use super::super::super::record::{Answer, Ended, Invocation, Report};
use super::super::DecodeError;
use super::super::names::{
    cause_from_wire, cause_to_wire, function_from_wire, function_to_wire, headers_from_wire, headers_to_wire,
    how_from_wire, how_to_wire, place_from_wire, place_to_wire,
};
use super::Stored;

impl Stored for Invocation {
    const WHAT: &'static str = "an invocation's record";

    fn encode(&self) -> Bytes {
        let wire = pb::Invocation {
            queue: Some(place_to_wire(&self.queue)),
            message: self.message,
            function: function_to_wire(self.function.as_ref()),
            kind: self.kind.clone(),
            accepted_ms: self.accepted_ms,
            trace_id: self.trace_id.clone(),
            reports: self.reports.iter().map(report_to_wire).collect(),
            answered: self.answered,
            ended: self.ended.as_ref().map(ended_to_wire),
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Invocation::decode(bytes)?;
        Ok(Self {
            queue: place_from_wire(wire.queue, "invocation.queue")?,
            message: wire.message,
            function: function_from_wire(&wire.function)?,
            kind: wire.kind,
            accepted_ms: wire.accepted_ms,
            trace_id: wire.trace_id,
            reports: wire.reports.into_iter().map(report_from_wire).collect(),
            answered: wire.answered,
            ended: wire.ended.map(ended_from_wire).transpose()?,
        })
    }
}

fn ended_to_wire(it: &Ended) -> pb::Ended {
    pb::Ended {
        how: how_to_wire(it.how).into(),
        at_ms: it.at_ms,
        until_ms: it.until_ms,
        attempts: it.attempts,
        last_error: it.last_error.clone(),
        cause: it.cause.map_or(pb::Cause::Unspecified, cause_to_wire).into(),
    }
}

fn ended_from_wire(wire: pb::Ended) -> Result<Ended, FieldError> {
    let how = how_from_wire(wire.how())?;
    let cause = match wire.cause() {
        pb::Cause::Unspecified => None,
        cause => Some(cause_from_wire(cause)?),
    };
    let pb::Ended { at_ms, until_ms, attempts, last_error, .. } = wire;
    Ok(Ended { how, at_ms, until_ms, attempts, last_error, cause })
}

pub(in super::super) fn report_to_wire(it: &Report) -> pb::Report {
    pb::Report {
        attempt: it.attempt,
        node: it.node.get(),
        version: it.version.get(),
        started_ms: it.started_ms,
        ended_ms: it.ended_ms,
        cold: it.cold,
        outcome: it.outcome.clone(),
        error: it.error.clone(),
        cpu_us: it.cpu_us,
        memory_byte_ms: it.memory_byte_ms,
        bytes_in: it.bytes_in,
        bytes_out: it.bytes_out,
    }
}

pub(in super::super) fn report_from_wire(wire: pb::Report) -> Report {
    Report {
        attempt: wire.attempt,
        node: NodeId::new(wire.node),
        version: VersionNumber::new(wire.version),
        started_ms: wire.started_ms,
        ended_ms: wire.ended_ms,
        cold: wire.cold,
        outcome: wire.outcome,
        error: wire.error,
        cpu_us: wire.cpu_us,
        memory_byte_ms: wire.memory_byte_ms,
        bytes_in: wire.bytes_in,
        bytes_out: wire.bytes_out,
    }
}

pub(in super::super) fn answer_to_wire(it: &Answer) -> pb::Answer {
    pb::Answer {
        status: it.status.into(),
        headers: headers_to_wire(&it.headers),
        body: it.body.clone(),
        body_bytes: it.body_bytes,
    }
}

pub(in super::super) fn answer_from_wire(wire: pb::Answer) -> Result<Answer, FieldError> {
    let pb::Answer { status, headers, body, body_bytes } = wire;
    let status = u16::try_from(status).in_field("answer.status")?;
    Ok(Answer { status, headers: headers_from_wire(headers), body, body_bytes })
}

impl Stored for Answer {
    const WHAT: &'static str = "an answer";

    fn encode(&self) -> Bytes {
        answer_to_wire(self).encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(answer_from_wire(pb::Answer::decode(bytes)?)?)
    }
}
