//! Keys of queues and their messages.

use bytes::Bytes;
use coracle_proto::id::Namespace;

use super::super::name::{Name, Place};
use super::super::op::Span;
use super::kind::Kind;
use super::parts::{Parts, after, range, subject_parts};

pub(in super::super) fn queue(queue: &Place) -> Bytes {
    Parts::of(Kind::Queue).place(queue).key()
}

pub(in super::super) fn counts(queue: &Place) -> Bytes {
    Parts::of(Kind::Counts).place(queue).key()
}

pub(in super::super) fn message(queue: &Place, message: u64) -> Bytes {
    Parts::of(Kind::Message).place(queue).number(message).key()
}

pub(in super::super) fn delivery(queue: &Place, message: u64) -> Bytes {
    Parts::of(Kind::Delivery).place(queue).number(message).key()
}

pub(in super::super) fn delivery_span(queue: &Place, span: Span) -> (Bytes, Bytes) {
    (delivery(queue, span.from), delivery(queue, span.to))
}

pub(in super::super) fn ready(queue: &Place, message: u64) -> Bytes {
    Parts::of(Kind::Ready).place(queue).number(message).key()
}

/// From this message on.
pub(in super::super) fn ready_range(queue: &Place, from: u64) -> (Bytes, Bytes) {
    (ready(queue, from), after(&Parts::of(Kind::Ready).place(queue).key()))
}

/// That a queue has something to be claimed.
pub(in super::super) fn active(queue: &Place) -> Bytes {
    Parts::of(Kind::Active).place(queue).key()
}

/// Those behind a queue, or all.
pub(in super::super) fn active_after(queue: Option<&Place>) -> (Bytes, Bytes) {
    let all = range(Parts::of(Kind::Active).key());
    queue.map_or_else(|| all.clone(), |queue| (after(&active(queue)), all.1.clone()))
}

/// The queues of a namespace behind one of them, or all.
pub(in super::super) fn queues_after(namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    let parts = Parts::of(Kind::Queue).text(namespace.as_str());
    let all = range(parts.clone().key());
    name.map_or_else(|| all.clone(), |name| (after(&parts.text(name.as_str()).key()), all.1.clone()))
}

/// The queues of all namespaces.
pub(in super::super) fn all_queues() -> (Bytes, Bytes) {
    range(Parts::of(Kind::Queue).key())
}

pub(in super::super) fn dead(queue: &Place, message: u64) -> Bytes {
    Parts::of(Kind::Dead).place(queue).number(message).key()
}

pub(in super::super) fn dead_span(queue: &Place, span: Span) -> (Bytes, Bytes) {
    (dead(queue, span.from), dead(queue, span.to))
}

pub(in super::super) fn in_group(queue: &Place, group: &str, message: u64) -> Bytes {
    Parts::of(Kind::InGroup).place(queue).text(group).number(message).key()
}

/// The messages of a group from this one on.
pub(in super::super) fn group_from(queue: &Place, group: &str, from: u64) -> (Bytes, Bytes) {
    (in_group(queue, group, from), after(&Parts::of(Kind::InGroup).place(queue).text(group).key()))
}

/// The message with whose number a row ends.
pub(in super::super) fn message_number(row: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*row.last_chunk()?))
}

pub(in super::super) fn dedup(queue: &Place, source: &str, id: &str) -> Bytes {
    Parts::of(Kind::Id).place(queue).text(source).bytes(id.as_bytes()).key()
}

/// In the order in which ids were taken in.
pub(in super::super) fn dedup_order(queue: &Place, message: u64, source: &str, id: &str) -> Bytes {
    Parts::of(Kind::IdOrder).place(queue).number(message).text(source).bytes(id.as_bytes()).key()
}

/// From the id of this message on.
pub(in super::super) fn dedup_range(queue: &Place, from: u64) -> (Bytes, Bytes) {
    let queue = Parts::of(Kind::IdOrder).place(queue);
    (queue.clone().number(from).key(), after(&queue.key()))
}

/// The message and the key of the id that a row of [`dedup_order`] is about.
pub(in super::super) fn dedup_of_order(row: &[u8]) -> Option<(u64, Bytes)> {
    let (place, rest) = subject_parts(row.get(1..)?)?;
    let (message, source_and_id) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*message), Parts::of(Kind::Id).place(&place).bytes(source_and_id).key()))
}
