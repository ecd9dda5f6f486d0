//! Queues and messages to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::id::NodeId;
use coracle_proto::pb::store::{self as pb, delivery};
use prost::Message as _;

use super::super::super::record::{Burial, Claim, Counts, Delivery, Message, Queue, Settings, State};
use super::super::DecodeError;
use super::super::names::{cause_from_wire, cause_to_wire, fence_from_wire, fence_to_wire};
use super::{Stored, plain};

plain!(
    Counts,
    "a queue's counts",
    [
        ready,
        delayed,
        behind,
        claimed,
        dead,
        bytes,
        dedups,
        published,
        repeated,
        refused,
        retried,
        offered,
        lapsed,
        dead_attempts,
        dead_age,
        dead_rejected,
        redriven,
        settled,
        purged,
        expired,
        forgotten
    ]
);

pub(in super::super) const fn settings_to_wire(settings: &Settings) -> pb::Settings {
    let Settings { messages_max, bytes_max, attempts_max, backoff_ms, backoff_max_ms, age_ms, dead_keep_ms } =
        *settings;
    pb::Settings { messages_max, bytes_max, attempts_max, backoff_ms, backoff_max_ms, age_ms, dead_keep_ms }
}

pub(in super::super) const fn settings_from_wire(wire: pb::Settings) -> Settings {
    let pb::Settings {
        messages_max,
        bytes_max,
        attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
    } = wire;
    Settings { messages_max, bytes_max, attempts_max, backoff_ms, backoff_max_ms, age_ms, dead_keep_ms }
}

impl Stored for Queue {
    const WHAT: &'static str = "a queue";

    fn encode(&self) -> Bytes {
        let settings = Some(settings_to_wire(&self.settings));
        pb::Queue { settings, paused: self.paused }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Queue::decode(bytes)?;
        let settings = settings_from_wire(wire.settings.in_field("queue.settings")?);
        Ok(Self { settings, paused: wire.paused })
    }
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
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Message { source, id, attributes, published_ms, data } = pb::Message::decode(bytes)?;
        Ok(Self { source, id, attributes, published_ms, data })
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
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Delivery { attempts, deadline_ms, weight, group, last_error, state } =
            pb::Delivery::decode(bytes)?;
        let state = state_from_wire(state.in_field("delivery.state")?)?;
        Ok(Self { attempts, deadline_ms, weight, group, last_error, state })
    }
}

fn state_to_wire(state: &State) -> delivery::State {
    match *state {
        State::Ready => delivery::State::Ready(pb::Ready {}),
        State::Delayed { at_ms } => delivery::State::Delayed(pb::Delayed { at_ms }),
        State::Behind { at_ms } => delivery::State::Behind(pb::Behind { at_ms }),
        State::Claimed(Claim { node, until_ms, fence }) => {
            let fence = Some(fence_to_wire(fence));
            delivery::State::Held(pb::Held { node: node.get(), until_ms, fence })
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
        delivery::State::Held(pb::Held { node, until_ms, fence }) => {
            State::Claimed(Claim { node: NodeId::new(node), until_ms, fence: fence_from_wire(fence)? })
        }
        delivery::State::Buried(wire) => State::Dead(Burial {
            cause: cause_from_wire(wire.cause())?,
            at_ms: wire.at_ms,
            until_ms: wire.until_ms,
        }),
    })
}
