//! Entries to their wire form.

use bytes::Bytes;
use coracle_proto::pb::store::{self as pb, effect, op, write};

use super::super::{Asked, Batch, Change, Effect, Op, Write};
use super::names::{due_to_wire, place_to_wire};

pub(super) fn batch(it: &Batch) -> pb::Batch {
    pb::Batch {
        cluster_id: it.cluster.to_wire(),
        group: it.group.get(),
        format: it.format(),
        term: it.term,
        stamp_ms: it.stamp_ms,
        random: it.random,
        ops: it.ops.iter().map(asked).collect(),
    }
}

pub(super) fn asked(it: &Asked) -> pb::Asked {
    pb::Asked {
        request_id: it.request.map_or_else(Bytes::new, |request| request.id.to_wire()),
        since: it.request.map_or(0, |request| request.since),
        op: Some(pb::Op { kind: Some(op(&it.op)) }),
    }
}

fn op(it: &Op) -> op::Kind {
    match it {
        Op::PutBucket { bucket, keys_max, bytes_max } => op::Kind::PutBucket(pb::PutBucket {
            bucket: Some(place_to_wire(bucket)),
            keys_max: *keys_max,
            bytes_max: *bytes_max,
        }),
        Op::DropBucket { bucket } => {
            op::Kind::DropBucket(pb::DropBucket { bucket: Some(place_to_wire(bucket)) })
        }
        Op::Perform { effects } => op::Kind::Perform(pb::Perform { effects: self::effects(effects) }),
        Op::Sweep { due, steps } => {
            op::Kind::Sweep(pb::Sweep { due: due_to_wire(*due).into(), steps: *steps })
        }
    }
}

fn effects(effects: &[Effect]) -> Vec<pb::Effect> {
    let one = |effect: &Effect| match effect {
        Effect::Write(it) => effect::Kind::Write(write(it)),
    };
    effects.iter().map(|effect| pb::Effect { kind: Some(one(effect)) }).collect()
}

fn write(it: &Write) -> pb::Write {
    let change = match &it.change {
        Change::Set { data, ttl_ms } => write::Change::Set(set(data, *ttl_ms)),
        Change::Delete => write::Change::Delete(pb::Delete {}),
        Change::CompareAndSet { expected, data, ttl_ms } => {
            let set = Some(set(data, *ttl_ms));
            write::Change::CompareAndSet(pb::CompareAndSet { expected: expected.unwrap_or_default(), set })
        }
        Change::Increment { by } => write::Change::Increment(pb::Increment { by: *by }),
    };
    pb::Write { bucket: Some(place_to_wire(&it.bucket)), key: it.key.clone(), change: Some(change) }
}

fn set(data: &Bytes, ttl_ms: Option<u64>) -> pb::Set {
    pb::Set { data: data.clone(), ttl_ms: ttl_ms.unwrap_or_default() }
}
