//! Calls and answers to and from their frames.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{Epoch, FunctionId, InvocationId, NodeId, VersionId, VersionNumber};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace::{TRACEPARENT, TRACESTATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, request};
use std::time::Duration;

use crate::call::{Call, CallError, Spent, Trigger};
use crate::clock::millis;
use crate::load::Load;

/// Body bytes in one frame: large enough to be cheap, small enough that many calls share a connection.
pub(super) const CHUNK_BYTES_MAX: usize = 256 << 10;
/// One frame: a chunk, and heads of at most this much beside it.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;

/// A call's head as it came, before it is known whether the version is held here.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) version: VersionId,
    pub(super) epoch: Epoch,
    pub(super) invocation: InvocationId,
    pub(super) attempt: u32,
    pub(super) trigger: Trigger,
    pub(super) head_timeout: Duration,
    pub(super) request: request::Parts,
}

/// The head of a call for `node`; the body follows.
pub(super) fn call_head(call: &mut Call, cluster: Bytes, node: NodeId) -> pb::CallHead {
    let headers = call.request.headers_mut();
    let (traceparent, tracestate) = (take(headers, TRACEPARENT), take(headers, TRACESTATE));
    let uri = call.request.uri();
    let id = &call.version.id;
    pb::CallHead {
        cluster_id: cluster,
        node: node.get(),
        namespace: id.function.namespace.to_string(),
        name: id.function.name.to_string(),
        version: id.number.get(),
        epoch: call.epoch.get(),
        invocation_id: call.invocation.to_wire(),
        attempt: call.attempt,
        method: call.request.method().to_string(),
        scheme: uri.scheme_str().unwrap_or("http").to_owned(),
        authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
        path_and_query: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        route: call.trigger.route().to_owned(),
        remote: call.trigger.remote().map(|remote| remote.to_string()).unwrap_or_default(),
        headers: to_wire(call.request.headers()),
        first_chunk: Bytes::new(),
        end: false,
        traceparent,
        tracestate,
        head_timeout_ms: millis(call.head_timeout),
        kind: call.trigger.kind().to_owned(),
        receipt: call.receipt.is_wanted(),
        gathers: call.receipt.gathers(),
    }
}

fn take(headers: &mut HeaderMap, name: &'static str) -> String {
    let value = headers.remove(name);
    value.and_then(|value| value.to_str().ok().map(str::to_owned)).unwrap_or_default()
}

impl TryFrom<pb::CallHead> for Head {
    type Error = DecodeError;

    fn try_from(wire: pb::CallHead) -> Result<Self, DecodeError> {
        let uri = Uri::builder().scheme(&wire.scheme[..]).path_and_query(&wire.path_and_query[..]);
        let uri = if wire.authority.is_empty() {
            wire.path_and_query.parse().in_field("path_and_query")?
        } else {
            uri.authority(&wire.authority[..]).build().in_field("authority")?
        };
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(wire.method.as_bytes()).in_field("method")?;
        *request.uri_mut() = uri;
        *request.headers_mut() = from_wire(&wire.headers)?;
        for (name, value) in [(TRACEPARENT, wire.traceparent), (TRACESTATE, wire.tracestate)] {
            if let (false, Ok(value)) = (value.is_empty(), HeaderValue::try_from(value)) {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        let function = FunctionId::parse(&wire.namespace, &wire.name).in_field("name")?;
        Ok(Self {
            version: VersionId { function, number: VersionNumber::new(wire.version) },
            epoch: Epoch::new(wire.epoch),
            invocation: InvocationId::try_from(&wire.invocation_id[..]).in_field("invocation_id")?,
            attempt: wire.attempt,
            trigger: match wire.kind {
                kind if kind.is_empty() => {
                    Trigger::Http { route: wire.route, remote: wire.remote.parse().ok() }
                }
                kind => Trigger::Queue { kind, route: wire.route },
            },
            head_timeout: Duration::from_millis(wire.head_timeout_ms),
            request: request.into_parts().0,
        })
    }
}

/// Headers as they cross the wire.
pub(super) fn to_wire(headers: &HeaderMap) -> Vec<pb::Header> {
    let one = |(name, value): (&HeaderName, &HeaderValue)| pb::Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    headers.iter().map(one).collect()
}

/// Headers as they came.
pub(super) fn from_wire(wire: &[pb::Header]) -> Result<HeaderMap, DecodeError> {
    let mut headers = HeaderMap::with_capacity(wire.len());
    for header in wire {
        let name = HeaderName::try_from(&header.name[..]).in_field("headers.name")?;
        let value = HeaderValue::from_maybe_shared(header.value.clone()).in_field("headers.value")?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The status of an answer's head.
pub(super) fn status(wire: u32) -> Result<StatusCode, DecodeError> {
    let number = u16::try_from(wire).in_field("status")?;
    StatusCode::from_u16(number).in_field("status")
}

/// An error instead of a head, or of the rest of a body.
pub(super) fn error_frame(error: &CallError, load: Load) -> pb::answer_frame::Kind {
    let (code, message) = (error.code().name().to_owned(), error.refusal.message.clone());
    if error.not_started() {
        pb::answer_frame::Kind::Refusal(pb::Refusal { code, message, load: Some(load.into()) })
    } else {
        pb::answer_frame::Kind::Failure(pb::Failure {
            code,
            message,
            load: Some(load.into()),
            cold: error.cold,
            spent: None,
            effects: Vec::new(),
        })
    }
}

/// An error as it came; a newer node may know more codes.
pub(super) fn error(code: &str, message: String, cold: bool, otherwise: Code) -> CallError {
    CallError { refusal: Refusal::new(code.parse().unwrap_or(otherwise), message), cold }
}

impl From<Spent> for pb::Spent {
    fn from(it: Spent) -> Self {
        let cpu_us = u64::try_from(it.cpu.as_micros()).unwrap_or(u64::MAX);
        let Spent { memory_byte_ms, bytes_in, bytes_out, .. } = it;
        Self { cpu_us, memory_byte_ms, bytes_in, bytes_out }
    }
}

impl From<pb::Spent> for Spent {
    fn from(wire: pb::Spent) -> Self {
        let pb::Spent { cpu_us, memory_byte_ms, bytes_in, bytes_out } = wire;
        Self { cpu: Duration::from_micros(cpu_us), memory_byte_ms, bytes_in, bytes_out }
    }
}
