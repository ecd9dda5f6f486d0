//! Messages, attempts and records of invocations between their wire form and the model.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{InvocationId, NodeId, VersionNumber};
use coracle_proto::pb::{self, InvocationState};
use coracle_proto::status::{Code, Refusal};

use crate::model::{Answer, Cause, Fence, HttpHead, Message, Phase, Place, Publish, Report, Seen, Ticket};

pub(super) fn place(namespace: &str, name: &str, field: &'static str) -> Result<Place, DecodeError> {
    Place::parse(namespace, name).in_field(field)
}

pub(super) fn ticket(wire: &pb::Ticket) -> Result<Ticket, DecodeError> {
    Ok(Ticket {
        queue: place(&wire.namespace, &wire.queue, "ticket")?,
        message: wire.message,
        fence: Fence { term: wire.fence_term, sequence: wire.fence_sequence },
    })
}

pub(super) fn ticket_to_wire(ticket: &Ticket) -> pb::Ticket {
    pb::Ticket {
        namespace: ticket.queue.namespace.to_string(),
        queue: ticket.queue.name.to_string(),
        message: ticket.message,
        fence_term: ticket.fence.term,
        fence_sequence: ticket.fence.sequence,
    }
}

pub(super) fn invocation(wire: &[u8]) -> Result<InvocationId, DecodeError> {
    InvocationId::try_from(wire).in_field("invocation")
}

/// What is submitted; whatever is too large or malformed the model refuses, so that it is refused in one place.
pub(super) fn publish(asked: pb::SubmitRequest, queue: Place) -> Result<Publish, DecodeError> {
    let invocation = invocation(&asked.invocation)?;
    let pb::EventBody { kind, source, id, attributes, http, data } = asked.body.in_field("body")?;
    // A call without a key of its caller's is another one than any other: nothing is remembered of it.
    let id = match (asked.idempotency_key.is_empty(), id == invocation.to_string()) {
        (false, _) => asked.idempotency_key,
        (true, false) => id,
        (true, true) => String::new(),
    };
    Ok(Publish {
        queue,
        source,
        id,
        group: String::new(),
        attributes,
        delay_ms: asked.delay_ms,
        data,
        invocation,
        kind,
        http: http.map(http_head),
        fingerprint: asked.fingerprint,
        also: String::new(),
    })
}

pub(super) fn http_head(wire: pb::EventHttp) -> HttpHead {
    let pb::EventHttp { method, uri, headers, route } = wire;
    HttpHead { method, uri, headers: headers_of(headers), route }
}

fn headers_of(wire: Vec<pb::EventHeader>) -> Vec<(String, Bytes)> {
    wire.into_iter().map(|header| (header.name, header.value)).collect()
}

fn headers_to_wire(headers: Vec<(String, Bytes)>) -> Vec<pb::EventHeader> {
    headers.into_iter().map(|(name, value)| pb::EventHeader { name, value }).collect()
}

pub(super) fn body_to_wire(message: Message) -> pb::EventBody {
    let Message { source, id, attributes, published_ms: _, data, kind, http } = message;
    let http = http.map(|HttpHead { method, uri, headers, route }| pb::EventHttp {
        method,
        uri,
        headers: headers_to_wire(headers),
        route,
    });
    pb::EventBody { kind, source, id, attributes, http, data }
}

pub(super) fn answer(wire: pb::EventAnswer) -> Result<Answer, Refusal> {
    let status = u16::try_from(wire.status).map_err(|_| {
        Refusal::new(Code::InvalidArgument, format!("answer.status: {} is no status of HTTP", wire.status))
    })?;
    Ok(Answer { status, headers: headers_of(wire.headers), body: wire.body, body_bytes: wire.body_bytes })
}

pub(super) fn answer_to_wire(answer: Answer) -> pb::EventAnswer {
    let Answer { status, headers, body, body_bytes } = answer;
    pb::EventAnswer { status: status.into(), headers: headers_to_wire(headers), body, body_bytes }
}

pub(super) fn report(wire: pb::AttemptReport) -> Report {
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

fn report_to_wire(report: Report) -> pb::AttemptReport {
    pb::AttemptReport {
        node: report.node.get(),
        version: report.version.get(),
        started_ms: report.started_ms,
        ended_ms: report.ended_ms,
        cold: report.cold,
        outcome: report.outcome,
        error: report.error,
        cpu_us: report.cpu_us,
        memory_byte_ms: report.memory_byte_ms,
        bytes_in: report.bytes_in,
        bytes_out: report.bytes_out,
        attempt: report.attempt,
    }
}

pub(super) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Attempts => "attempts",
        Cause::Age => "age",
        Cause::Rejected => "rejected",
    }
}

/// A record as it is seen.
pub(super) fn record(seen: Seen) -> pb::InvocationRecord {
    let Seen { invocation, record, phase, attempts, last_error, cause, next_ms, node } = seen;
    pb::InvocationRecord {
        invocation: invocation.to_wire(),
        namespace: record.queue.namespace.to_string(),
        queue: record.queue.name.to_string(),
        function: record.function.map_or_else(String::new, |function| function.to_string()),
        kind: record.kind,
        state: phase_to_wire(phase).into(),
        accepted_ms: record.accepted_ms,
        ended_ms: record.ended.map_or(0, |ended| ended.at_ms),
        next_ms,
        node: node.map_or(0, NodeId::get),
        attempts,
        reports: record.reports.into_iter().map(report_to_wire).collect(),
        cause: cause.map_or("", self::cause).to_owned(),
        last_error,
        trace_id: record.trace_id,
        message: record.message,
    }
}

const fn phase_to_wire(phase: Phase) -> InvocationState {
    match phase {
        Phase::Waiting => InvocationState::Waiting,
        Phase::Running => InvocationState::Running,
        Phase::Succeeded => InvocationState::Succeeded,
        Phase::Dead => InvocationState::Dead,
        Phase::Cancelled => InvocationState::Cancelled,
        Phase::Dropped => InvocationState::Dropped,
    }
}

/// None: that is no state.
pub(super) const fn phase(state: InvocationState) -> Option<Phase> {
    Some(match state {
        InvocationState::Unspecified => return None,
        InvocationState::Waiting => Phase::Waiting,
        InvocationState::Running => Phase::Running,
        InvocationState::Succeeded => Phase::Succeeded,
        InvocationState::Dead => Phase::Dead,
        InvocationState::Cancelled => Phase::Cancelled,
        InvocationState::Dropped => Phase::Dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_gave_an_id_has_none() {
        let own = InvocationId::new(7);
        for (key, id, expected) in
            [("key", "mine", "key"), ("", "mine", "mine"), ("", "", ""), ("", &own.to_string(), "")]
        {
            let body = pb::EventBody { id: id.to_owned(), ..pb::EventBody::default() };
            let asked = pb::SubmitRequest {
                invocation: own.to_wire(),
                body: Some(body),
                idempotency_key: key.to_owned(),
                ..pb::SubmitRequest::default()
            };
            let queue = Place::parse("shop", "q").unwrap();
            assert_eq!(publish(asked, queue).unwrap().id, expected);
        }
    }
}
