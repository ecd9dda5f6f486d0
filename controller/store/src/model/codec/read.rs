//! Entries from their wire form, checked field by field.

mod blob;
mod hear;

use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::id::{ClusterId, FunctionId, GroupId, NodeId, RequestId};
use coracle_proto::pb::store::{self as pb, effect, op, settle, write};

use super::super::{
    Asked, Batch, Change, Effect, FORMAT, Kept, Op, Other, Place, Publish, Request, Sealed, Span, Tick,
    Ticket, Verdict, Write,
};
use super::DecodeError;
use super::names::{
    above_zero, due_from_wire, fence_from_wire, function_from_wire, invocation_from_wire, place_from_wire,
};
use super::record::{
    answer_from_wire, definition_from_wire, head_from_wire, report_from_wire, settings_from_wire,
    some_invocation_from_wire,
};

pub(super) fn batch(wire: pb::Batch) -> Result<Batch, DecodeError> {
    if wire.format > FORMAT {
        return Err(DecodeError::UnknownOp);
    }
    Ok(Batch {
        cluster: ClusterId::try_from(&wire.cluster_id[..]).in_field("cluster_id")?,
        group: GroupId::new(wire.group),
        term: wire.term,
        stamp_ms: wire.stamp_ms,
        random: wire.random,
        ops: wire.ops.into_iter().map(asked).collect::<Result<_, _>>()?,
    })
}

fn asked(wire: pb::Asked) -> Result<Asked, DecodeError> {
    let request = if wire.request_id.is_empty() {
        None
    } else {
        let id = RequestId::try_from(&wire.request_id[..]).in_field("request_id")?;
        Some(Request { id, since: wire.since })
    };
    // A kind that this build does not know leaves the field empty.
    let kind = wire.op.and_then(|op| op.kind).ok_or(DecodeError::UnknownOp)?;
    Ok(Asked { request, op: op(kind)? })
}

fn op(kind: op::Kind) -> Result<Op, DecodeError> {
    Ok(match kind {
        op::Kind::PutBucket(wire) => blob::put_bucket(wire)?,
        op::Kind::BeginUpload(wire) => blob::begin(wire)?,
        op::Kind::RenewUpload(wire) => blob::renew(wire)?,
        op::Kind::PutPart(wire) => blob::put_part(wire)?,
        op::Kind::AbortUpload(wire) => blob::abort(wire)?,
        op::Kind::DropBucket(wire) => {
            let bucket = place_from_wire(wire.bucket, "drop_bucket.bucket")?;
            Op::DropBucket { bucket, force: wire.force, begun: wire.begun }
        }
        op::Kind::Watch(wire) => hear::watch(wire)?,
        op::Kind::Unwatch(wire) => hear::unwatch(wire)?,
        op::Kind::DropQueue(wire) => hear::drop_queue(wire)?,
        op::Kind::PutTopic(wire) => Op::PutTopic { topic: hear::topic(wire.topic)? },
        op::Kind::DropTopic(wire) => Op::DropTopic { topic: hear::topic(wire.topic)?, force: wire.force },
        op::Kind::Subscribe(wire) => hear::subscribe(wire)?,
        op::Kind::Unsubscribe(wire) => hear::unsubscribe(wire)?,
        op::Kind::Perform(wire) => Op::Perform { effects: effects(wire.effects)?, hops: wire.hops },
        op::Kind::PutQueue(wire) => put_queue(wire)?,
        op::Kind::PauseQueue(wire) => Op::PauseQueue { queue: queue(wire.queue)?, paused: wire.paused },
        op::Kind::Submit(wire) => Op::Submit {
            function: function(wire.function)?,
            publish: publish(wire.publish.in_field("submit.publish")?)?,
        },
        op::Kind::Claim(wire) => Op::Claim {
            queue: queue(wire.queue)?,
            node: NodeId::new(wire.node),
            most: wire.most,
            until_ms: wire.until_ms,
        },
        op::Kind::Extend(wire) => Op::Extend { ticket: ticket(wire.ticket)?, until_ms: wire.until_ms },
        op::Kind::Offer(wire) => {
            Op::Offer { ticket: ticket(wire.ticket)?, after_ms: wire.after_ms, error: wire.error }
        }
        op::Kind::Settle(wire) => settle(wire)?,
        op::Kind::Cancel(wire) => Op::Cancel { invocation: invocation_from_wire(&wire.invocation)? },
        op::Kind::Revive(wire) => Op::Revive { invocation: invocation_from_wire(&wire.invocation)? },
        op::Kind::Redrive(wire) => {
            Op::Redrive { queue: queue(wire.queue)?, span: span(wire.span)?, steps: wire.steps }
        }
        op::Kind::Purge(wire) => purge(wire)?,
        op::Kind::PutSchedule(wire) => Op::PutSchedule {
            schedule: schedule(wire.schedule)?,
            definition: Box::new(definition_from_wire(wire.definition.in_field("put_schedule.definition")?)?),
            from_ms: wire.from_ms,
        },
        op::Kind::DropSchedule(wire) => Op::DropSchedule { schedule: schedule(wire.schedule)? },
        op::Kind::PauseSchedule(pb::PauseSchedule { schedule, paused, from_ms }) => {
            Op::PauseSchedule { schedule: self::schedule(schedule)?, paused, from_ms }
        }
        op::Kind::Tick(wire) => Op::Tick(tick(wire)?),
        op::Kind::Trigger(wire) => Op::Trigger {
            schedule: schedule(wire.schedule)?,
            invocation: invocation_from_wire(&wire.invocation)?,
        },
        op::Kind::PutSecret(wire) => Op::PutSecret {
            secret: secret(wire.secret)?,
            value: Sealed::new(wire.value),
            keep_ms: wire.keep_ms,
        },
        op::Kind::DropSecret(wire) => Op::DropSecret { secret: secret(wire.secret)?, force: wire.force },
        op::Kind::PutWebhook(wire) => hear::put_webhook(wire)?,
        op::Kind::DropWebhook(wire) => Op::DropWebhook { webhook: hear::webhook(wire.webhook)? },
        op::Kind::Sweep(wire) => {
            Op::Sweep { due: due_from_wire(wire.due())?, steps: wire.steps, from_ms: wire.from_ms }
        }
    })
}

fn put_queue(wire: pb::PutQueue) -> Result<Op, DecodeError> {
    Ok(Op::PutQueue {
        queue: queue(wire.queue)?,
        settings: settings_from_wire(wire.settings.in_field("put_queue.settings")?)?,
        target: function_from_wire(&wire.target)?,
    })
}

fn settle(wire: pb::Settle) -> Result<Op, DecodeError> {
    Ok(Op::Settle {
        ticket: ticket(wire.ticket)?,
        verdict: verdict(wire.verdict)?,
        report: wire.report.map(report_from_wire),
        answer: wire.answer.map(answer_from_wire).transpose()?,
    })
}

fn purge(wire: pb::Purge) -> Result<Op, DecodeError> {
    Ok(Op::Purge {
        queue: queue(wire.queue)?,
        kept: if wire.dead { Kept::Dead } else { Kept::Waiting },
        span: span(wire.span)?,
        steps: wire.steps,
    })
}

fn effects(wire: Vec<pb::Effect>) -> Result<Vec<Effect>, DecodeError> {
    wire.into_iter().map(effect).collect()
}

fn effect(wire: pb::Effect) -> Result<Effect, DecodeError> {
    Ok(match wire.kind.ok_or(DecodeError::UnknownOp)? {
        effect::Kind::Write(wire) => Effect::Write(write(wire)?),
        effect::Kind::Publish(wire) => Effect::Publish(Box::new(publish(wire)?)),
        effect::Kind::Check(wire) => Effect::Check(hear::check(wire)?),
        effect::Kind::Blob(wire) => Effect::Blob(Box::new(blob::change(wire)?)),
    })
}

fn write(wire: pb::Write) -> Result<Write, DecodeError> {
    let change = match wire.change.ok_or(DecodeError::UnknownOp)? {
        write::Change::Set(set) => Change::Set { data: set.data, ttl_ms: above_zero(set.ttl_ms) },
        write::Change::Delete(pb::Delete {}) => Change::Delete,
        write::Change::CompareAndSet(wire) => {
            let set = wire.set.in_field("compare_and_set.set")?;
            let (expected, ttl_ms) = (above_zero(wire.expected), above_zero(set.ttl_ms));
            Change::CompareAndSet { expected, data: set.data, ttl_ms }
        }
        write::Change::Increment(wire) => Change::Increment { by: wire.by },
    };
    Ok(Write { bucket: bucket(wire.bucket)?, key: wire.key, change })
}

fn bucket(wire: Option<pb::Place>) -> Result<Place, FieldError> {
    place_from_wire(wire, "write.bucket")
}

fn queue(wire: Option<pb::Place>) -> Result<Place, FieldError> {
    place_from_wire(wire, "queue")
}

fn tick(wire: pb::Tick) -> Result<Tick, FieldError> {
    let pb::Tick { schedule, revision, at_ms, missed, invocation } = wire;
    let invocation = some_invocation_from_wire(&invocation)?;
    Ok(Tick { schedule: self::schedule(schedule)?, revision, at_ms, missed, invocation })
}

fn schedule(wire: Option<pb::Place>) -> Result<Place, FieldError> {
    place_from_wire(wire, "schedule")
}

fn secret(wire: Option<pb::Place>) -> Result<Place, FieldError> {
    place_from_wire(wire, "secret")
}

fn function(wire: Option<pb::Place>) -> Result<FunctionId, FieldError> {
    let wire = wire.in_field("submit.function")?;
    FunctionId::stored(&wire.namespace, &wire.name).in_field("submit.function")
}

fn publish(wire: pb::Publish) -> Result<Publish, FieldError> {
    Ok(Publish {
        queue: queue(wire.queue)?,
        source: wire.source,
        id: wire.id,
        group: wire.group,
        attributes: wire.attributes,
        delay_ms: wire.delay_ms,
        data: wire.data,
        invocation: invocation_from_wire(&wire.invocation)?,
        kind: wire.kind,
        http: wire.http.map(head_from_wire),
        fingerprint: wire.fingerprint,
        also: wire.also,
    })
}

fn ticket(wire: Option<pb::Ticket>) -> Result<Ticket, FieldError> {
    let wire = wire.in_field("ticket")?;
    Ok(Ticket { queue: queue(wire.queue)?, message: wire.message, fence: fence_from_wire(wire.fence)? })
}

fn verdict(wire: Option<settle::Verdict>) -> Result<Verdict, DecodeError> {
    Ok(match wire.ok_or(DecodeError::UnknownOp)? {
        settle::Verdict::Done(wire) => {
            let others = wire.others.into_iter().map(other).collect::<Result<_, _>>()?;
            Verdict::Done { effects: effects(wire.effects)?, others }
        }
        settle::Verdict::Retry(wire) => Verdict::Retry { after_ms: wire.after_ms, error: wire.error },
        settle::Verdict::Dead(wire) => Verdict::Dead { error: wire.error },
    })
}

fn other(wire: pb::Other) -> Result<Other, DecodeError> {
    let report = wire.report.map(report_from_wire);
    Ok(Other { message: wire.message, fence: fence_from_wire(wire.fence)?, report })
}

fn span(wire: Option<pb::Span>) -> Result<Span, FieldError> {
    let pb::Span { from, to } = wire.in_field("span")?;
    Ok(Span { from, to })
}
