//! Where schedules lie.

use bytes::Bytes;
use coracle_proto::id::Namespace;

use super::super::name::{Name, Place};
use super::kind::Kind;
use super::parts::{Parts, after, range};

pub(in super::super) fn schedule(schedule: &Place) -> Bytes {
    Parts::of(Kind::Schedule).place(schedule).key()
}

/// Those behind a schedule, or all of the group.
pub(in super::super) fn schedules_after(place: Option<&Place>) -> (Bytes, Bytes) {
    let all = range(Parts::of(Kind::Schedule).key());
    place.map_or_else(|| all.clone(), |place| (after(&schedule(place)), all.1.clone()))
}

/// The schedules of a namespace behind one of them, or all.
pub(in super::super) fn schedules_of(namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    let parts = Parts::of(Kind::Schedule).text(namespace.as_str());
    let all = range(parts.clone().key());
    name.map_or_else(|| all.clone(), |name| (after(&parts.text(name.as_str()).key()), all.1.clone()))
}

/// How many there are.
pub(in super::super) fn schedules() -> Bytes {
    Parts::of(Kind::Schedules).key()
}
