//! Values and their changes, to and from their wire form.

use coracle_proto::codec::DecodeError;
use coracle_proto::pb::{self, kv_write};

use crate::clock::millis;
use crate::values::{Change, Holds, Listing, Page, Value, Write, Written};

pub(in crate::stores) fn value(wire: pb::KvEntry) -> Value {
    Value { data: wire.value, version: wire.version }
}

/// A store that says nothing of it knows of no other bucket than of values.
pub(in crate::stores) const fn holds(wire: pb::KvHolds) -> Holds {
    match wire {
        pb::KvHolds::Blobs => Holds::Blobs,
        pb::KvHolds::Values | pb::KvHolds::Unspecified => Holds::Values,
    }
}

pub(in crate::stores) fn list_request(it: Listing, place: pb::KvPlace) -> pb::KvListRequest {
    let Listing { prefix, after, most } = it;
    pb::KvListRequest { place: Some(place), prefix, after, limit: most, keys_only: true }
}

pub(in crate::stores) fn page(wire: pb::KvListReply) -> Page {
    let keys = wire.entries.into_iter().map(|it| (it.key, it.version)).collect();
    Page { keys, after: wire.after }
}

pub(in crate::stores) fn write_request(
    writes: Vec<Write>,
    hops: u32,
    place: pb::KvPlace,
    request: pb::KvRequest,
) -> pb::KvWriteRequest {
    let writes = writes.into_iter().map(write).collect();
    pb::KvWriteRequest { place: Some(place), request: Some(request), writes, hops }
}

pub(in crate::stores) fn write(it: Write) -> pb::KvWrite {
    let change = match it.change {
        Change::Set { data, ttl, if_version } => {
            // Zero would be for ever.
            let ttl_ms = ttl.map_or(0, |ttl| millis(ttl).max(1));
            kv_write::Change::Set(pb::KvSet { value: data, ttl_ms, if_version })
        }
        Change::Delete => kv_write::Change::Delete(pb::KvDelete {}),
        Change::Increment { by } => kv_write::Change::Increment(pb::KvIncrement { by }),
    };
    pb::KvWrite { key: it.key, change: Some(change) }
}

/// What `count` changes came to.
pub(in crate::stores) fn written(wire: &pb::KvWriteReply, count: usize) -> Result<Vec<Written>, DecodeError> {
    let told = wire.written.len();
    if told != count {
        return Err(DecodeError::new("written", format!("{count} changes, and words of {told}")));
    }
    let one = |it: &pb::KvWritten| Written { version: it.version, number: it.number, existed: it.existed };
    Ok(wire.written.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_change_is_told_as_it_is_meant() {
        let wire = |change| write(Write { key: "k".into(), change }).change.unwrap();
        let set = |ttl, if_version| wire(Change::Set { data: "v".into(), ttl, if_version });
        let told =
            |ttl_ms, if_version| kv_write::Change::Set(pb::KvSet { value: "v".into(), ttl_ms, if_version });
        assert_eq!(set(None, None), told(0, None));
        assert_eq!(set(Some(Duration::from_nanos(1)), Some(0)), told(1, Some(0)), "it expires");
        assert_eq!(set(Some(Duration::from_secs(2)), Some(7)), told(2000, Some(7)));
        assert_eq!(wire(Change::Delete), kv_write::Change::Delete(pb::KvDelete {}));
        assert_eq!(
            wire(Change::Increment { by: -3 }),
            kv_write::Change::Increment(pb::KvIncrement { by: -3 })
        );
    }

    #[test]
    fn each_change_has_a_word_of_it() {
        let reply = |count| pb::KvWriteReply { written: vec![pb::KvWritten::default(); count], sequence: 1 };
        assert_eq!(written(&reply(2), 2).map(|it| it.len()), Ok(2));
        assert_eq!(written(&reply(1), 2).map_err(|error| error.field), Err("written"));
    }
}
