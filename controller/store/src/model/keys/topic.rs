//! Where topics lie.

use bytes::Bytes;
use coracle_proto::id::Namespace;

use super::super::name::{Name, Place};
use super::kind::Kind;
use super::parts::{Parts, after, range};

pub(in super::super) fn topic(topic: &Place) -> Bytes {
    Parts::of(Kind::Topic).place(topic).key()
}

/// The topics of a namespace behind one of them, or all.
pub(in super::super) fn topics_after(namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    let parts = Parts::of(Kind::Topic).text(namespace.as_str());
    let all = range(parts.clone().key());
    name.map_or_else(|| all.clone(), |name| (after(&parts.text(name.as_str()).key()), all.1.clone()))
}

/// The topics of all namespaces.
pub(in super::super) fn all_topics() -> (Bytes, Bytes) {
    range(Parts::of(Kind::Topic).key())
}

/// How many queues and topics there are.
pub(in super::super) fn queues() -> Bytes {
    Parts::of(Kind::Nodes).key()
}
