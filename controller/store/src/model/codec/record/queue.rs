//! Queues and topics to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::pb::store as pb;
use prost::Message as _;

use super::super::super::record::{Buckets, Counts, Manner, Queue, Queues, Settings, Topic};
use super::super::DecodeError;
use super::super::names::{
    above_zero, function_from_wire, function_to_wire, hearer_from_wire, name_from_wire,
};
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
        forgotten,
        cancelled,
        records,
        records_forgotten,
        ready_from,
        dedups_from,
        records_from_ms,
        answer_bytes,
        records_timer_ms,
        ids_timer_ms,
        delivery_from
    ]
);

pub(in super::super) fn settings_to_wire(settings: &Settings) -> pb::Settings {
    let Settings {
        messages_max,
        bytes_max,
        attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        ref manner,
    } = *settings;
    let manner = (*manner != Manner::USUAL).then(|| manner_to_wire(manner));
    pb::Settings {
        messages_max,
        bytes_max,
        attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        manner,
    }
}

pub(in super::super) fn settings_from_wire(wire: pb::Settings) -> Result<Settings, FieldError> {
    let pb::Settings {
        messages_max,
        bytes_max,
        attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        manner,
    } = wire;
    let manner = manner.map_or(Ok(Manner::USUAL), manner_from_wire)?;
    Ok(Settings {
        messages_max,
        bytes_max,
        attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        manner,
    })
}

fn manner_to_wire(manner: &Manner) -> pb::Manner {
    let Manner { path, structured, reply, batch_max, batch_wait_ms } = manner;
    pb::Manner {
        path: path.clone(),
        structured: *structured,
        reply: reply.as_ref().map_or_else(String::new, ToString::to_string),
        batch_max: *batch_max,
        batch_wait_ms: *batch_wait_ms,
    }
}

fn manner_from_wire(wire: pb::Manner) -> Result<Manner, FieldError> {
    let pb::Manner { path, structured, reply, batch_max, batch_wait_ms } = wire;
    let reply = if reply.is_empty() { None } else { Some(name_from_wire(&reply, "manner.reply")?) };
    Ok(Manner { path, structured, reply, batch_max, batch_wait_ms })
}

impl Stored for Queue {
    const WHAT: &'static str = "a queue";

    fn encode(&self) -> Bytes {
        let settings = Some(settings_to_wire(&self.settings));
        let target = function_to_wire(self.target.as_ref());
        let dropping_ms = self.dropping_ms.unwrap_or_default();
        let (paused, ends_when_empty) = (self.paused, self.ends_when_empty);
        pb::Queue { settings, paused, target, dropping_ms, ends_when_empty }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Queue::decode(bytes)?;
        let settings = settings_from_wire(wire.settings.in_field("queue.settings")?)?;
        let target = function_from_wire(&wire.target)?;
        let pb::Queue { paused, dropping_ms, ends_when_empty, .. } = wire;
        Ok(Self { settings, paused, target, dropping_ms: above_zero(dropping_ms), ends_when_empty })
    }
}

plain!(Queues, "the number of queues and topics", [count]);
plain!(Buckets, "the number of buckets", [count]);

impl Stored for Topic {
    const WHAT: &'static str = "a topic";

    fn encode(&self) -> Bytes {
        let subscribers = self.subscribers.iter().map(ToString::to_string).collect();
        pb::Topic { subscribers, published: self.published }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Topic::decode(bytes)?;
        let subscribers = wire.subscribers.iter().map(|name| hearer_from_wire(name));
        Ok(Self { subscribers: subscribers.collect::<Result<_, _>>()?, published: wire.published })
    }
}
