//! Watchers of buckets to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::DecodeError as FieldError;
use coracle_proto::pb::store as pb;
use prost::Message as _;

use super::super::super::record::{Watcher, Watchers};
use super::super::DecodeError;
use super::super::names::hearer_from_wire;
use super::Stored;

pub(in super::super) fn watcher_to_wire(it: &Watcher) -> pb::Watcher {
    pb::Watcher {
        function: it.function.to_string(),
        sets: it.sets,
        deletes: it.deletes,
        prefix: it.prefix.clone(),
        suffix: it.suffix.clone(),
    }
}

pub(in super::super) fn watcher_from_wire(wire: pb::Watcher) -> Result<Watcher, FieldError> {
    let pb::Watcher { function, sets, deletes, prefix, suffix } = wire;
    Ok(Watcher { function: hearer_from_wire(&function)?, sets, deletes, prefix, suffix })
}

impl Stored for Watchers {
    const WHAT: &'static str = "who watches a bucket";

    fn encode(&self) -> Bytes {
        let watchers = self.watchers.iter().map(watcher_to_wire).collect();
        pb::Watchers { watchers }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = pb::Watchers::decode(bytes)?;
        let watchers = wire.watchers.into_iter().map(watcher_from_wire);
        Ok(Self { watchers: watchers.collect::<Result<_, _>>()? })
    }
}
