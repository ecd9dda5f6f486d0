//! What a call or a client does to values, blobs and queues, from its wire form.

use coracle_proto::codec::InField as _;
use coracle_proto::pb::{self, EventEffect, KvWrite, PublishMessage, event_effect, kv_write};
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;

use super::{blobs, event, spec, wire};
use crate::model::{BlobChange, Change, Check, Effect, Place, Write};

/// Bytes of all effects of one call: they have room in an entry beside what it answered.
const EFFECT_BYTES_MAX: usize = 384 * 1024;

/// What a call has done, all in the namespace of its queue.
pub(super) fn of_call(namespace: &str, effects: Vec<EventEffect>) -> Result<Vec<Effect>, Refusal> {
    let bytes: usize = effects.iter().map(EventEffect::encoded_len).sum();
    if bytes > EFFECT_BYTES_MAX {
        let sentence =
            format!("the effects of a call have {bytes} bytes, and at most {EFFECT_BYTES_MAX} are allowed");
        return Err(Refusal::new(Code::RequestTooLarge, sentence));
    }
    let one = |effect: EventEffect| match effect.kind.in_field("effects.kind")? {
        event_effect::Kind::Write(it) => {
            let bucket = wire::place(namespace, &it.bucket, "effects.write.bucket")?;
            write(&bucket, it.write.in_field("effects.write.write")?)
        }
        event_effect::Kind::Publish(it) => {
            let to = spec::name_of(namespace, &it.to, "effects.publish.to")?;
            publish(to, it.message.in_field("effects.publish.message")?)
        }
        event_effect::Kind::Blob(pb::EventBlob { bucket, key, content }) => {
            let bucket = wire::place(namespace, &bucket, "effects.blob.bucket")?;
            let becomes = blobs::becomes(content)?;
            let (if_match, if_none_match) = (String::new(), false);
            Ok(Effect::Blob(Box::new(BlobChange { bucket, key, if_match, if_none_match, becomes })))
        }
        event_effect::Kind::Check(pb::EventCheck { bucket, key, version }) => {
            let bucket = wire::place(namespace, &bucket, "effects.check.bucket")?;
            Ok(Effect::Check(Check { bucket, key, version }))
        }
    };
    effects.into_iter().map(one).collect()
}

/// A change of a value.
pub(super) fn write(bucket: &Place, wire: KvWrite) -> Result<Effect, Refusal> {
    let ttl_of = |ttl_ms: u64| (ttl_ms > 0).then_some(ttl_ms);
    let change = match wire.change.in_field("writes.change")? {
        kv_write::Change::Delete(_) => Change::Delete,
        kv_write::Change::Increment(it) => Change::Increment { by: it.by },
        kv_write::Change::Set(it) => match it.if_version {
            None => Change::Set { data: it.value, ttl_ms: ttl_of(it.ttl_ms) },
            Some(version) => Change::CompareAndSet {
                expected: (version > 0).then_some(version),
                data: it.value,
                ttl_ms: ttl_of(it.ttl_ms),
            },
        },
    };
    Ok(Effect::Write(Write { bucket: bucket.clone(), key: wire.key, change }))
}

/// A message for a queue or a topic.
pub(super) fn publish(to: Place, message: PublishMessage) -> Result<Effect, Refusal> {
    Ok(Effect::Publish(Box::new(event::publish(to, message)?)))
}
