//! Entries to their wire form.

mod blob;
mod hear;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId, NodeId};
use coracle_proto::pb::store::{self as pb, effect, op, settle, write};

use super::super::{
    Answer, Asked, Batch, Change, Definition, Effect, Kept, Op, Other, Place, Publish, Report, Span, Tick,
    Ticket, Verdict, Write,
};
use super::names::{due_to_wire, fence_to_wire, function_to_wire, place_to_wire};
use super::record::{
    answer_to_wire, definition_to_wire, head_to_wire, report_to_wire, settings_to_wire,
    some_invocation_to_wire,
};

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
        Op::PutBucket { bucket, keys_max, bytes_max, holds } => {
            op::Kind::PutBucket(blob::put_bucket(bucket, (*keys_max, *bytes_max), *holds))
        }
        Op::DropBucket { bucket, force, begun } => {
            op::Kind::DropBucket(hear::drop_bucket(bucket, *force, *begun))
        }
        Op::Watch { bucket, watcher, settings } => op::Kind::Watch(hear::watch(bucket, watcher, settings)),
        Op::Unwatch { bucket, function } => op::Kind::Unwatch(hear::unwatch(bucket, function)),
        Op::DropQueue { queue, deletion, steps } => {
            op::Kind::DropQueue(hear::drop_queue(queue, *deletion, *steps))
        }
        Op::PutTopic { topic } => op::Kind::PutTopic(pb::PutTopic { topic: Some(place_to_wire(topic)) }),
        Op::DropTopic { topic, force } => {
            op::Kind::DropTopic(pb::DropTopic { topic: Some(place_to_wire(topic)), force: *force })
        }
        Op::Subscribe { topic, function, settings } => {
            op::Kind::Subscribe(hear::subscribe(topic, function, settings))
        }
        Op::Unsubscribe { topic, function } => op::Kind::Unsubscribe(hear::unsubscribe(topic, function)),
        Op::Perform { effects, hops } => op::Kind::Perform(perform(effects, *hops)),
        Op::PutQueue { queue, settings, target } => op::Kind::PutQueue(pb::PutQueue {
            queue: Some(place_to_wire(queue)),
            settings: Some(settings_to_wire(settings)),
            target: function_to_wire(target.as_ref()),
        }),
        Op::PauseQueue { queue, paused } => {
            op::Kind::PauseQueue(pb::PauseQueue { queue: Some(place_to_wire(queue)), paused: *paused })
        }
        Op::Submit { function, publish } => op::Kind::Submit(submit(function, publish)),
        Op::Claim { queue, node, most, until_ms } => op::Kind::Claim(claim(queue, *node, (*most, *until_ms))),
        Op::Extend { ticket, until_ms } => {
            op::Kind::Extend(pb::Extend { ticket: Some(self::ticket(ticket)), until_ms: *until_ms })
        }
        Op::Offer { ticket, after_ms, error } => op::Kind::Offer(offer(ticket, *after_ms, error)),
        Op::Settle { ticket, verdict, report, answer } => {
            op::Kind::Settle(settle((ticket, verdict), report.as_ref(), answer.as_ref()))
        }
        Op::Cancel { invocation } => op::Kind::Cancel(pb::Cancel { invocation: invocation.to_wire() }),
        Op::Revive { invocation } => op::Kind::Revive(pb::Revive { invocation: invocation.to_wire() }),
        Op::Redrive { queue, span, steps } => op::Kind::Redrive(pb::Redrive {
            queue: Some(place_to_wire(queue)),
            span: Some(self::span(*span)),
            steps: *steps,
        }),
        Op::Purge { queue, kept, span, steps } => op::Kind::Purge(purge(queue, *kept, *span, *steps)),
        Op::PutSchedule { schedule, definition, from_ms } => {
            op::Kind::PutSchedule(put_schedule(schedule, definition, *from_ms))
        }
        Op::DropSchedule { schedule } => op::Kind::DropSchedule(drop_schedule(schedule)),
        Op::PauseSchedule { schedule, paused, from_ms } => {
            op::Kind::PauseSchedule(pause_schedule(schedule, *paused, *from_ms))
        }
        Op::Tick(it) => op::Kind::Tick(tick(it)),
        Op::Trigger { schedule, invocation } => op::Kind::Trigger(trigger(schedule, *invocation)),
        Op::BeginUpload(it) => op::Kind::BeginUpload(blob::begin(it)),
        Op::RenewUpload(it) => op::Kind::RenewUpload(blob::renew(it)),
        Op::PutPart { upload, part } => op::Kind::PutPart(blob::put_part(upload, part)),
        Op::AbortUpload(it) => op::Kind::AbortUpload(blob::abort(it)),
        Op::PutSecret { secret, value, keep_ms } => hear::put_secret(secret, value, *keep_ms),
        Op::DropSecret { secret, force } => hear::drop_secret(secret, *force),
        Op::PutWebhook { webhook, terms, settings } => hear::put_webhook(webhook, terms, settings),
        Op::DropWebhook { webhook } => hear::drop_webhook(webhook),
        Op::Sweep { due, steps, from_ms } => {
            op::Kind::Sweep(pb::Sweep { due: due_to_wire(*due).into(), steps: *steps, from_ms: *from_ms })
        }
    }
}

fn submit(function: &FunctionId, publish: &Publish) -> pb::Submit {
    let (namespace, name) = (function.namespace.to_string(), function.name.to_string());
    pb::Submit { function: Some(pb::Place { namespace, name }), publish: Some(self::publish(publish)) }
}

fn claim(queue: &Place, node: NodeId, (most, until_ms): (u32, u64)) -> pb::Claim {
    pb::Claim { queue: Some(place_to_wire(queue)), node: node.get(), most, until_ms }
}

fn settle(
    (ticket, verdict): (&Ticket, &Verdict),
    report: Option<&Report>,
    answer: Option<&Answer>,
) -> pb::Settle {
    pb::Settle {
        ticket: Some(self::ticket(ticket)),
        verdict: Some(self::verdict(verdict)),
        report: report.map(report_to_wire),
        answer: answer.map(answer_to_wire),
    }
}

fn purge(queue: &Place, kept: Kept, span: Span, steps: u32) -> pb::Purge {
    let (queue, span) = (Some(place_to_wire(queue)), Some(self::span(span)));
    pb::Purge { queue, dead: kept == Kept::Dead, span, steps }
}

fn offer(ticket: &Ticket, after_ms: u64, error: &str) -> pb::Offer {
    pb::Offer { ticket: Some(self::ticket(ticket)), after_ms, error: error.to_owned() }
}

fn put_schedule(schedule: &Place, definition: &Definition, from_ms: u64) -> pb::PutSchedule {
    let schedule = Some(place_to_wire(schedule));
    pb::PutSchedule { schedule, definition: Some(definition_to_wire(definition)), from_ms }
}

fn drop_schedule(schedule: &Place) -> pb::DropSchedule {
    pb::DropSchedule { schedule: Some(place_to_wire(schedule)) }
}

fn pause_schedule(schedule: &Place, paused: bool, from_ms: u64) -> pb::PauseSchedule {
    pb::PauseSchedule { schedule: Some(place_to_wire(schedule)), paused, from_ms }
}

fn trigger(schedule: &Place, invocation: InvocationId) -> pb::Trigger {
    pb::Trigger { schedule: Some(place_to_wire(schedule)), invocation: invocation.to_wire() }
}

fn tick(it: &Tick) -> pb::Tick {
    pb::Tick {
        schedule: Some(place_to_wire(&it.schedule)),
        revision: it.revision,
        at_ms: it.at_ms,
        missed: it.missed,
        invocation: some_invocation_to_wire(it.invocation),
    }
}

fn perform(effects: &[Effect], hops: u64) -> pb::Perform {
    pb::Perform { effects: self::effects(effects), hops }
}

fn effects(effects: &[Effect]) -> Vec<pb::Effect> {
    let one = |effect: &Effect| match effect {
        Effect::Write(it) => effect::Kind::Write(write(it)),
        Effect::Publish(it) => effect::Kind::Publish(publish(it)),
        Effect::Check(it) => effect::Kind::Check(hear::check(it)),
        Effect::Blob(it) => effect::Kind::Blob(blob::change(it)),
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

fn publish(it: &Publish) -> pb::Publish {
    pb::Publish {
        queue: Some(place_to_wire(&it.queue)),
        source: it.source.clone(),
        id: it.id.clone(),
        group: it.group.clone(),
        attributes: it.attributes.clone(),
        delay_ms: it.delay_ms,
        data: it.data.clone(),
        invocation: it.invocation.to_wire(),
        kind: it.kind.clone(),
        http: it.http.as_ref().map(head_to_wire),
        fingerprint: it.fingerprint.clone(),
        also: it.also.clone(),
    }
}

fn ticket(it: &Ticket) -> pb::Ticket {
    pb::Ticket {
        queue: Some(place_to_wire(&it.queue)),
        message: it.message,
        fence: Some(fence_to_wire(it.fence)),
    }
}

fn verdict(it: &Verdict) -> settle::Verdict {
    match it {
        Verdict::Done { effects, others } => settle::Verdict::Done(pb::Acknowledge {
            effects: self::effects(effects),
            others: others.iter().map(other).collect(),
        }),
        Verdict::Retry { after_ms, error } => {
            settle::Verdict::Retry(pb::Retry { after_ms: *after_ms, error: error.clone() })
        }
        Verdict::Dead { error } => settle::Verdict::Dead(pb::Reject { error: error.clone() }),
    }
}

fn other(it: &Other) -> pb::Other {
    let report = it.report.as_ref().map(report_to_wire);
    pb::Other { message: it.message, fence: Some(fence_to_wire(it.fence)), report }
}

const fn span(it: Span) -> pb::Span {
    pb::Span { from: it.from, to: it.to }
}
