//! What is asked of topics, of who hears them and who watches buckets, to its wire form.

use coracle_proto::pb::store as pb;
use coracle_proto::pb::store::op::Kind;

use super::super::super::{Check, Deletion, Name, Place, Sealed, Settings, Terms, Watcher};
use super::super::names::{deletion_to_wire, place_to_wire};
use super::super::record::{settings_to_wire, terms_to_wire, watcher_to_wire};

pub(super) fn drop_bucket(bucket: &Place, force: bool, begun: bool) -> pb::DropBucket {
    pb::DropBucket { bucket: Some(place_to_wire(bucket)), force, begun }
}

pub(super) fn drop_queue(queue: &Place, deletion: Deletion, steps: u32) -> pb::DropQueue {
    let deletion = deletion_to_wire(deletion).into();
    pb::DropQueue { queue: Some(place_to_wire(queue)), deletion, steps }
}

pub(super) fn subscribe(topic: &Place, function: &Name, settings: &Settings) -> pb::Subscribe {
    let (topic, settings) = (Some(place_to_wire(topic)), Some(settings_to_wire(settings)));
    pb::Subscribe { topic, function: function.to_string(), settings }
}

pub(super) fn unsubscribe(topic: &Place, function: &Name) -> pb::Unsubscribe {
    pb::Unsubscribe { topic: Some(place_to_wire(topic)), function: function.to_string() }
}

pub(super) fn watch(bucket: &Place, watcher: &Watcher, settings: &Settings) -> pb::Watch {
    let (bucket, settings) = (Some(place_to_wire(bucket)), Some(settings_to_wire(settings)));
    pb::Watch { bucket, watcher: Some(watcher_to_wire(watcher)), settings }
}

pub(super) fn unwatch(bucket: &Place, function: &Name) -> pb::Unwatch {
    pb::Unwatch { bucket: Some(place_to_wire(bucket)), function: function.to_string() }
}

pub(super) fn put_secret(secret: &Place, value: &Sealed, keep_ms: u64) -> Kind {
    let (secret, value) = (Some(place_to_wire(secret)), value.opened().clone());
    Kind::PutSecret(pb::PutSecret { secret, value, keep_ms })
}

pub(super) fn drop_secret(secret: &Place, force: bool) -> Kind {
    Kind::DropSecret(pb::DropSecret { secret: Some(place_to_wire(secret)), force })
}

pub(super) fn put_webhook(webhook: &Place, terms: &Terms, settings: &Settings) -> Kind {
    let (webhook, settings) = (Some(place_to_wire(webhook)), Some(settings_to_wire(settings)));
    Kind::PutWebhook(pb::PutWebhook { webhook, terms: Some(terms_to_wire(terms)), settings })
}

pub(super) fn drop_webhook(webhook: &Place) -> Kind {
    Kind::DropWebhook(pb::DropWebhook { webhook: Some(place_to_wire(webhook)) })
}

pub(super) fn check(it: &Check) -> pb::Check {
    pb::Check { bucket: Some(place_to_wire(&it.bucket)), key: it.key.clone(), version: it.version }
}
