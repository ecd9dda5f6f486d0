//! Records, reports and answers, to and from their wire form.

use std::time::Duration;

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{FunctionId, InvocationId, NodeId, VersionNumber};
use coracle_proto::pb;
use http::StatusCode;

use super::cut;
use super::event::{headers, headers_to_wire};
use crate::call::Spent;
use crate::stores::message::{Kept, Report};
use crate::stores::record::{Ended, Record, State};

/// A record, and what was answered where that was asked for.
pub(in crate::stores) fn seen(wire: pb::GetInvocationReply) -> Result<(Record, Option<Kept>), DecodeError> {
    let record = record(wire.record.ok_or_else(|| DecodeError::missing("record"))?)?;
    Ok((record, wire.answer.map(kept).transpose()?))
}

fn record(wire: pb::InvocationRecord) -> Result<Record, DecodeError> {
    let state = match wire.state() {
        pb::InvocationState::Unspecified => {
            return Err(DecodeError::new("state", "not known to this program"));
        }
        pb::InvocationState::Waiting => State::Waiting,
        pb::InvocationState::Running => State::Running,
        pb::InvocationState::Succeeded => State::Ended(Ended::Succeeded),
        pb::InvocationState::Dead => State::Ended(Ended::Dead),
        pb::InvocationState::Cancelled => State::Ended(Ended::Cancelled),
        pb::InvocationState::Dropped => State::Ended(Ended::Dropped),
    };
    Ok(Record {
        invocation: InvocationId::try_from(&wire.invocation[..]).in_field("invocation")?,
        function: FunctionId::parse(&wire.namespace, &wire.function).in_field("function")?,
        queue: wire.queue,
        kind: wire.kind,
        state,
        accepted_ms: wire.accepted_ms,
        ended_ms: some(wire.ended_ms),
        next_ms: some(wire.next_ms),
        node: some(wire.node).map(NodeId::new),
        attempts: wire.attempts,
        reports: wire.reports.into_iter().map(told).collect(),
        cause: wire.cause,
        last_error: wire.last_error,
        trace_id: wire.trace_id,
    })
}

/// Zero stands for nothing.
fn some(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

fn told(wire: pb::AttemptReport) -> Report {
    Report {
        attempt: wire.attempt,
        node: some(wire.node).map(NodeId::new),
        version: VersionNumber::new(wire.version),
        started_ms: wire.started_ms,
        ended_ms: wire.ended_ms,
        cold: wire.cold,
        outcome: wire.outcome,
        error: wire.error,
        spent: Spent {
            cpu: Duration::from_micros(wire.cpu_us),
            memory_byte_ms: wire.memory_byte_ms,
            bytes_in: wire.bytes_in,
            bytes_out: wire.bytes_out,
        },
    }
}

pub(super) fn report(it: &Report) -> pb::AttemptReport {
    let Spent { cpu, memory_byte_ms, bytes_in, bytes_out } = it.spent;
    pb::AttemptReport {
        node: it.node.map_or(0, NodeId::get),
        version: it.version.get(),
        started_ms: it.started_ms,
        ended_ms: it.ended_ms,
        cold: it.cold,
        outcome: it.outcome.clone(),
        error: cut(&it.error),
        cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
        memory_byte_ms,
        bytes_in,
        bytes_out,
        attempt: it.attempt,
    }
}

pub(super) fn answer(it: &Kept) -> pb::EventAnswer {
    pb::EventAnswer {
        status: it.status.as_u16().into(),
        headers: headers_to_wire(&it.headers),
        body: it.body.clone(),
        body_bytes: it.body_bytes,
    }
}

fn kept(wire: pb::EventAnswer) -> Result<Kept, DecodeError> {
    let status = u16::try_from(wire.status).in_field("status")?;
    Ok(Kept {
        status: StatusCode::from_u16(status).in_field("status")?,
        headers: headers(wire.headers)?,
        body: wire.body,
        body_bytes: wire.body_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_answers_come_back() {
        let sent = Report {
            attempt: 0,
            node: Some(NodeId::new(3)),
            version: VersionNumber::new(2),
            started_ms: 10,
            ended_ms: 12,
            cold: true,
            outcome: "500".to_owned(),
            error: "no".to_owned(),
            spent: Spent { cpu: Duration::from_micros(7), memory_byte_ms: 1, bytes_in: 2, bytes_out: 3 },
        };
        assert_eq!(told(report(&sent)), sent);
        let nowhere = Report { node: None, ..sent };
        assert_eq!(told(report(&nowhere)), nowhere);
        let answered = Kept {
            status: StatusCode::CREATED,
            headers: [(http::header::ETAG, "\"1\"".parse().unwrap())].into_iter().collect(),
            body: "half".into(),
            body_bytes: 8,
        };
        assert_eq!(kept(answer(&answered)), Ok(answered.clone()));
        assert!(!answered.is_whole());
        assert!(kept(pb::EventAnswer { status: 70_000, ..answer(&answered) }).is_err());
    }

    #[test]
    fn a_state_that_is_not_known_is_an_error() {
        let wire = pb::InvocationRecord {
            invocation: InvocationId::new(1).to_wire(),
            function: "f".to_owned(),
            state: pb::InvocationState::Dead.into(),
            ..Default::default()
        };
        let (read, _) =
            seen(pb::GetInvocationReply { record: Some(wire.clone()), ..Default::default() }).unwrap();
        assert_eq!((read.state.name(), read.ended_ms, read.node), ("dead", None, None));
        let newer = pb::InvocationRecord { state: 99, ..wire };
        let reply = pb::GetInvocationReply { record: Some(newer), ..Default::default() };
        assert_eq!(seen(reply).unwrap_err().field, "state");
    }
}
