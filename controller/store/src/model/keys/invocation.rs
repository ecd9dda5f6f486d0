//! Keys of invocations: their records, what they were answered, and in which order they are listed and forgotten.

use bytes::Bytes;
use coracle_proto::id::{InvocationId, Namespace};

use super::super::name::Place;
use super::kind::Kind;
use super::parts::{Parts, after};

pub(in super::super) fn invocation(id: InvocationId) -> Bytes {
    Parts::of(Kind::Invocation).bytes(&id.to_bytes()).key()
}

pub(in super::super) fn answer(id: InvocationId) -> Bytes {
    Parts::of(Kind::Answer).bytes(&id.to_bytes()).key()
}

/// In which order a list has them: the newest first.
pub(in super::super) fn listed(namespace: &Namespace, accepted_ms: u64, id: InvocationId) -> Bytes {
    Parts::of(Kind::Listed)
        .text(namespace.as_str())
        .number(u64::MAX - accepted_ms)
        .bytes(&id.to_bytes())
        .key()
}

/// Those accepted from the first time on and before the second one.
pub(in super::super) fn listed_between(
    namespace: &Namespace,
    since_ms: u64,
    until_ms: u64,
) -> (Bytes, Bytes) {
    let namespace = Parts::of(Kind::Listed).text(namespace.as_str());
    let from = namespace.clone().number((u64::MAX - until_ms).saturating_add(1)).key();
    (from, after(&namespace.number(u64::MAX - since_ms).key()))
}

/// When that of a row of [`listed`] was accepted, and which one it is.
pub(in super::super) fn listed_parts(row: &[u8]) -> Option<(u64, InvocationId)> {
    let (rest, id) = row.split_last_chunk::<16>()?;
    let age = u64::from_be_bytes(*rest.last_chunk()?);
    Some((u64::MAX - age, InvocationId::new(u128::from_be_bytes(*id))))
}

/// In the order in which the invocations of a queue ended.
pub(in super::super) fn ended(queue: &Place, at_ms: u64, id: InvocationId) -> Bytes {
    Parts::of(Kind::Ended).place(queue).number(at_ms).bytes(&id.to_bytes()).key()
}

/// Those that ended then or later.
pub(in super::super) fn ended_range(queue: &Place, from_ms: u64) -> (Bytes, Bytes) {
    let queue = Parts::of(Kind::Ended).place(queue);
    (queue.clone().number(from_ms).key(), after(&queue.key()))
}

/// When that of a row of [`ended`] ended, and which one it is.
pub(in super::super) fn ended_parts(row: &[u8]) -> Option<(u64, InvocationId)> {
    let (rest, id) = row.split_last_chunk::<16>()?;
    Some((u64::from_be_bytes(*rest.last_chunk()?), InvocationId::new(u128::from_be_bytes(*id))))
}
