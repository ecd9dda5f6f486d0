//! What is asked of topics, of who hears them and who watches buckets, from its wire form.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::pb::store as pb;

use super::super::super::{Check, Op, Place};
use super::super::names::{deletion_from_wire, hearer_from_wire, place_from_wire};
use super::super::record::{settings_from_wire, terms_from_wire, watcher_from_wire};

pub(super) fn drop_queue(wire: pb::DropQueue) -> Result<Op, DecodeError> {
    let deletion = deletion_from_wire(wire.deletion())?;
    Ok(Op::DropQueue { queue: place_from_wire(wire.queue, "queue")?, deletion, steps: wire.steps })
}

pub(super) fn topic(wire: Option<pb::Place>) -> Result<Place, DecodeError> {
    place_from_wire(wire, "topic")
}

pub(super) fn subscribe(wire: pb::Subscribe) -> Result<Op, DecodeError> {
    Ok(Op::Subscribe {
        topic: topic(wire.topic)?,
        function: hearer_from_wire(&wire.function)?,
        settings: settings_from_wire(wire.settings.in_field("subscribe.settings")?)?,
    })
}

pub(super) fn unsubscribe(wire: pb::Unsubscribe) -> Result<Op, DecodeError> {
    Ok(Op::Unsubscribe { topic: topic(wire.topic)?, function: hearer_from_wire(&wire.function)? })
}

pub(super) fn watch(wire: pb::Watch) -> Result<Op, DecodeError> {
    Ok(Op::Watch {
        bucket: bucket(wire.bucket)?,
        watcher: watcher_from_wire(wire.watcher.in_field("watch.watcher")?)?,
        settings: settings_from_wire(wire.settings.in_field("watch.settings")?)?,
    })
}

pub(super) fn unwatch(wire: pb::Unwatch) -> Result<Op, DecodeError> {
    Ok(Op::Unwatch { bucket: bucket(wire.bucket)?, function: hearer_from_wire(&wire.function)? })
}

pub(super) fn webhook(wire: Option<pb::Place>) -> Result<Place, DecodeError> {
    place_from_wire(wire, "webhook")
}

pub(super) fn put_webhook(wire: pb::PutWebhook) -> Result<Op, DecodeError> {
    Ok(Op::PutWebhook {
        webhook: webhook(wire.webhook)?,
        terms: terms_from_wire(wire.terms.in_field("put_webhook.terms")?)?,
        settings: settings_from_wire(wire.settings.in_field("put_webhook.settings")?)?,
    })
}

pub(super) fn check(wire: pb::Check) -> Result<Check, DecodeError> {
    let pb::Check { bucket, key, version } = wire;
    Ok(Check { bucket: self::bucket(bucket)?, key, version })
}

fn bucket(wire: Option<pb::Place>) -> Result<Place, DecodeError> {
    place_from_wire(wire, "bucket")
}
