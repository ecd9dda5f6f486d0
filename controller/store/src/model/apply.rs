//! The way of every entry: admitted or refused as a whole; then each operation is repeated, refused or done, and remembered.

use coracle_raft::Draft;
use coracle_raft::Position;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::codec::Stored as _;
use super::edit::{Edit, Moment, Purse, keep};
use super::fault::Fault;
use super::limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX};
use super::op::{Asked, Batch, Op};
use super::outcome::{Outcome, Reply};
use super::queue::Told;
use super::refusal::{Reason, Refusal};
use super::{Group, blob, bucket, effect, group, keys, queue, remembered, schedule, secret, sweep, webhook};

/// Applies one entry of so many bytes, which stands at `position`. Total and pure: a refusal is an answer.
///
/// # Errors
/// When a record cannot be read: nothing of the entry may then be kept.
pub fn apply(draft: &mut Draft<'_>, position: Position, bytes: usize, batch: Batch) -> Result<Reply, Stop> {
    let mut group = group::found(draft, &batch)?;
    if let Err(refusal) = group::admit(&group, position, &batch).and_then(|()| check_size(bytes, &batch)) {
        return Ok(Reply::Refused(refusal));
    }
    group.time_ms = group::time_at(&group, batch.stamp_ms);
    let moment = Moment { term: batch.term, now_ms: group.time_ms, random: batch.random };
    let mut purse = Purse::full(group.sequence);
    let mut outcomes = Vec::with_capacity(batch.ops.len());
    for asked in batch.ops {
        outcomes.push(answer(draft, &mut group, &mut purse, moment, asked)?);
    }
    draft.put(keys::group(), group.encode());
    Ok(Reply::Outcomes(outcomes))
}

fn check_size(bytes: usize, batch: &Batch) -> Result<(), Refusal> {
    if bytes > BATCH_BYTES_MAX {
        return Err(Refusal::over_size(Reason::TooLarge, "the entry", bytes, BATCH_BYTES_MAX));
    }
    if batch.ops.len() > BATCH_OPS_MAX {
        return Err(Refusal::over_size(
            Reason::TooMany,
            "operations in one entry",
            batch.ops.len(),
            BATCH_OPS_MAX,
        ));
    }
    Ok(())
}

/// What would become of an operation now. Nothing is kept.
///
/// # Errors
/// When a record cannot be read.
pub fn rehearse(reader: &dyn Reader, now_ms: u64, op: Op) -> Result<Outcome, Stop> {
    let draft = Draft::over(reader);
    let sequence = group::group(reader)?.map_or(0, |group| group.sequence);
    let moment = Moment { term: 0, now_ms, random: 0 };
    let mut edit = Edit::over(&draft, moment, Purse::full(sequence));
    match run(&mut edit, op) {
        Ok(outcome) => Ok(outcome),
        Err(Fault::Refused(refusal) | Fault::Full(_, refusal)) => Ok(Outcome::Refused(refusal)),
        Err(Fault::Stop(stop)) => Err(stop),
    }
}

/// Does what is asked, unless it was done before.
fn answer(
    draft: &mut Draft<'_>,
    group: &mut Group,
    left: &mut Purse,
    moment: Moment,
    asked: Asked,
) -> Result<Outcome, Stop> {
    if let Some(request) = asked.request {
        if let Some(first) = remembered::find(draft, request.id)? {
            return Ok(first);
        }
        if let Err(refusal) = remembered::check(group, request) {
            return Ok(Outcome::Refused(refusal));
        }
    }
    let mut edit = Edit::over(draft, moment, Purse { sequence: group.sequence, ..*left });
    let run = run(&mut edit, asked.op);
    let (changes, purse) = edit.finish();
    // Steps and copies were made, whatever came of them.
    *left = purse;
    let outcome = match run {
        Ok(outcome) => {
            group.sequence = purse.sequence;
            keep(draft, changes);
            outcome
        }
        Err(Fault::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Fault::Full(queue, refusal)) => {
            queue::count_refused(draft, &queue)?;
            Outcome::Refused(refusal)
        }
        Err(Fault::Stop(stop)) => return Err(stop),
    };
    if let Some(request) = asked.request.filter(|_| !is_passing(&outcome)) {
        remembered::keep(draft, group, request.id, &outcome)?;
    }
    Ok(outcome)
}

/// Whether the next entry may have another answer to the same: it is not remembered.
fn is_passing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(refusal) if refusal.reason == Reason::Busy)
}

fn run(edit: &mut Edit<'_>, op: Op) -> Result<Outcome, Fault> {
    match op {
        Op::PutBucket { bucket, keys_max, bytes_max, holds } => {
            bucket::put(edit, &bucket, (keys_max, bytes_max), holds)
        }
        Op::DropBucket { bucket, force, begun } => bucket::drop(edit, &bucket, (force, begun)),
        Op::Watch { bucket, watcher, settings } => bucket::watch(edit, &bucket, watcher, settings),
        Op::Unwatch { bucket, function } => bucket::unwatch(edit, &bucket, &function),
        Op::Perform { effects, hops } => {
            edit.hops = hops;
            Ok(Outcome::Performed(effect::perform(edit, &effects)?))
        }
        Op::Sweep { due, steps, from_ms } => sweep::sweep(edit, due, steps, from_ms),
        Op::PutQueue { queue, settings, target } => queue::put(edit, &queue, settings, target),
        Op::DropQueue { queue, deletion, steps } => queue::drop(edit, &queue, deletion, steps),
        Op::PutTopic { topic } => queue::put_topic(edit, &topic),
        Op::DropTopic { topic, force } => queue::drop_topic(edit, &topic, force),
        Op::Subscribe { topic, function, settings } => queue::subscribe(edit, &topic, &function, settings),
        Op::Unsubscribe { topic, function } => queue::unsubscribe(edit, &topic, &function),
        Op::PauseQueue { queue, paused } => queue::pause(edit, &queue, paused),
        Op::Submit { function, publish } => queue::submit(edit, &function, publish),
        Op::Claim { queue, node, most, until_ms } => queue::claim(edit, &queue, node, most, until_ms),
        Op::Extend { ticket, until_ms } => queue::extend(edit, &ticket, until_ms),
        Op::Offer { ticket, after_ms, error } => queue::offer(edit, &ticket, after_ms, &error),
        Op::Settle { ticket, verdict, report, answer } => {
            queue::settle(edit, &ticket, &verdict, Told { report, answer })
        }
        Op::Cancel { invocation } => queue::cancel(edit, invocation),
        Op::Revive { invocation } => queue::revive(edit, invocation),
        Op::Redrive { queue, span, steps } => queue::redrive(edit, &queue, span, steps),
        Op::Purge { queue, kept, span, steps } => queue::purge(edit, &queue, (kept, span), steps),
        Op::PutSchedule { schedule, definition, from_ms } => {
            schedule::put(edit, &schedule, *definition, from_ms)
        }
        Op::DropSchedule { schedule } => schedule::drop(edit, &schedule),
        Op::PauseSchedule { schedule, paused, from_ms } => schedule::pause(edit, &schedule, paused, from_ms),
        Op::Tick(tick) => schedule::tick(edit, &tick),
        Op::PutSecret { secret, value, keep_ms } => secret::put(edit, &secret, value, keep_ms),
        Op::DropSecret { secret, force } => secret::drop(edit, &secret, force),
        Op::PutWebhook { webhook, terms, settings } => webhook::put(edit, &webhook, terms, settings),
        Op::DropWebhook { webhook } => webhook::drop(edit, &webhook),
        Op::Trigger { schedule, invocation } => schedule::trigger(edit, &schedule, invocation),
        Op::BeginUpload(begin) => blob::begin(edit, begin),
        Op::RenewUpload(upload) => blob::renew(edit, &upload),
        Op::PutPart { upload, part } => blob::put_part(edit, &upload, part),
        Op::AbortUpload(upload) => blob::abort(edit, &upload),
    }
}
