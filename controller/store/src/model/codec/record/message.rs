//! Messages to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::id::NodeId;
use coracle_proto::pb::store::{self as pb, delivery};
use prost::Message as _;

use super::super::super::record::{Burial, Claim, Dedup, Delivery, HttpHead, Message, State};
use super::super::DecodeError;
use super::super::names::{
    cause_from_wire, cause_to_wire, fence_from_wire, fence_to_wire, headers_from_wire, headers_to_wire,
    invocation_from_wire,
};
use super::Stored;

pub(in super::super) fn head_to_wire(head: &HttpHead) -> pb::HttpHead {
    pb::HttpHead {
        method: head.method.clone(),
        uri: head.uri.clone(),
        headers: headers_to_wire(&head.headers),
        route: head.route.clone(),
    }
}

pub(in super::super) fn head_from_wire(wire: pb::HttpHead) -> HttpHead {
    let pb::HttpHead { method, uri, headers, route } = wire;
    HttpHead { method, uri, headers: headers_from_wire(headers), route }
}

impl Stored for Message {
    const WHAT: &'static str = "a message";

    fn encode(&self) -> Bytes {
        let wire = pb::Message {
            source: self.source.clone(),
            id: self.id.clone(),
            attributes: self.attributes.clone(),
            published_ms: self.published_ms,
            data: self.data.clone(),
            kind: self.kind.clone(),
            http: self.http.as_ref().map(head_to_wire),
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Message { source, id, attributes, published_ms, data, kind, http } =
            pb::Message::decode(bytes)?;
        Ok(Self { source, id, attributes, published_ms, data, kind, http: http.map(head_from_wire) })
    }
}

impl Stored for Delivery {
    const WHAT: &'static str = "a message's delivery";

    fn encode(&self) -> Bytes {
        let wire = pb::Delivery {
            attempts: self.attempts,
            deadline_ms: self.deadline_ms,
            weight: self.weight,
            group: self.group.clone(),
            last_error: self.last_error.clone(),
            state: Some(state_to_wire(&self.state)),
            invocation: self.invocation.to_wire(),
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Delivery { attempts, deadline_ms, weight, group, last_error, invocation, state } =
            pb::Delivery::decode(bytes)?;
        let state = state_from_wire(state.in_field("delivery.state")?)?;
        let invocation = invocation_from_wire(&invocation)?;
        Ok(Self { attempts, deadline_ms, weight, group, last_error, invocation, state })
    }
}

fn state_to_wire(state: &State) -> delivery::State {
    match *state {
        State::Ready => delivery::State::Ready(pb::Ready {}),
        State::Delayed { at_ms } => delivery::State::Delayed(pb::Delayed { at_ms }),
        State::Behind { at_ms } => delivery::State::Behind(pb::Behind { at_ms }),
        State::Claimed(Claim { node, since_ms, until_ms, fence }) => {
            let fence = Some(fence_to_wire(fence));
            delivery::State::Held(pb::Held { node: node.get(), since_ms, until_ms, fence })
        }
        State::Dead(Burial { cause, at_ms, until_ms }) => {
            delivery::State::Buried(pb::Buried { cause: cause_to_wire(cause).into(), at_ms, until_ms })
        }
    }
}

fn state_from_wire(wire: delivery::State) -> Result<State, FieldError> {
    Ok(match wire {
        delivery::State::Ready(pb::Ready {}) => State::Ready,
        delivery::State::Delayed(pb::Delayed { at_ms }) => State::Delayed { at_ms },
        delivery::State::Behind(pb::Behind { at_ms }) => State::Behind { at_ms },
        delivery::State::Held(pb::Held { node, since_ms, until_ms, fence }) => {
            let fence = fence_from_wire(fence)?;
            State::Claimed(Claim { node: NodeId::new(node), since_ms, until_ms, fence })
        }
        delivery::State::Buried(wire) => State::Dead(Burial {
            cause: cause_from_wire(wire.cause())?,
            at_ms: wire.at_ms,
            until_ms: wire.until_ms,
        }),
    })
}

impl Stored for Dedup {
    const WHAT: &'static str = "a remembered id";

    fn encode(&self) -> Bytes {
        let wire = pb::Dedup {
            message: self.message,
            until_ms: self.until_ms,
            invocation: self.invocation.to_wire(),
            fingerprint: self.fingerprint.clone(),
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Dedup { message, until_ms, invocation, fingerprint } = pb::Dedup::decode(bytes)?;
        Ok(Self { message, until_ms, invocation: invocation_from_wire(&invocation)?, fingerprint })
    }
}
