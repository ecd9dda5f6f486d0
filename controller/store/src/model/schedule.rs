//! Schedules: each tick calls its function once, whatever becomes of leaders and clocks.
//!
//! When a time has come the leader says (`schedules`); here is decided that it counts once: a schedule's cursor goes
//! forward only, and the call is accepted with it or not at all. What is published is a `CloudEvent` (1.0) without a
//! request.

mod read;

use std::collections::BTreeMap;

use coracle_proto::id::{FunctionId, InvocationId};

use super::edit::Edit;
use super::fault::{Fault, unreadable};
use super::limits::{MESSAGE_BYTES_MAX, SCHEDULES_MAX, TEXT_BYTES_MAX};
use super::name::{Name, Place};
use super::op::{Publish, Tick};
use super::outcome::{Effected, Outcome};
use super::record::{Definition, Fired, Invocation, Overlap, Schedule, Schedules};
use super::refusal::{Reason, Refusal};
use super::{keys, moment, queue};

pub use read::{all_schedules, schedule, schedules, schedules_count};

/// A cursor may be so far beyond the time that somebody changes the schedule: leaders' clocks differ.
const AHEAD_MAX_MS: u64 = 60 * 60 * 1000;
/// What fires, as the records of invocations tell it.
const KIND: &str = "schedule";
/// The type of the event.
const TYPE: &str = "dev.coracle.cron.tick";

/// Makes it, or tells it anew. It goes on from where it was while its times stay the same and that is not far
/// beyond `from_ms`, and from `from_ms` otherwise.
pub(super) fn put(
    edit: &mut Edit<'_>,
    place: &Place,
    definition: Definition,
    from_ms: u64,
) -> Result<Outcome, Fault> {
    check(place, &definition)?;
    let key = keys::schedule(place);
    let revision = edit.next();
    let schedule = match edit.get::<Schedule>(&key)? {
        Some(old) => {
            let same = (&old.definition.cron, &old.definition.zone) == (&definition.cron, &definition.zone);
            let wanted_ms = if same { old.cursor_ms } else { old.cursor_ms.max(from_ms) };
            let cursor_ms = brought_back(wanted_ms, from_ms);
            Schedule { definition, revision, cursor_ms, ..old }
        }
        None => {
            count(edit, true)?;
            Schedule {
                definition,
                paused: false,
                revision,
                cursor_ms: from_ms,
                fired: None,
                invocation: None,
                ticks: 0,
                skipped: 0,
                missed: 0,
            }
        }
    };
    edit.put(key, &schedule);
    Ok(Outcome::Done)
}

/// A cursor that is far beyond the time comes of a clock that was wrong, and would end the schedule for as long. What
/// fired by that clock does not fire anew within a day: queues know its id.
const fn brought_back(cursor_ms: u64, from_ms: u64) -> u64 {
    if cursor_ms.saturating_sub(from_ms) > AHEAD_MAX_MS { from_ms } else { cursor_ms }
}

/// Takes it away. What it has called goes on.
pub(super) fn drop(edit: &mut Edit<'_>, place: &Place) -> Result<Outcome, Fault> {
    need(edit, place)?;
    count(edit, false)?;
    edit.remove(&keys::schedule(place));
    Ok(Outcome::Done)
}

/// Nothing fires while it is paused. The times of the pause are over when it goes on at `from_ms`.
pub(super) fn pause(
    edit: &mut Edit<'_>,
    place: &Place,
    paused: bool,
    from_ms: u64,
) -> Result<Outcome, Fault> {
    let old = need(edit, place)?;
    if old.paused == paused {
        return Ok(Outcome::Done);
    }
    let cursor_ms = if paused { old.cursor_ms } else { brought_back(old.cursor_ms.max(from_ms), from_ms) };
    let schedule = Schedule { paused, cursor_ms, revision: edit.next(), ..old };
    edit.put(keys::schedule(place), &schedule);
    Ok(Outcome::Done)
}

/// Moves the cursor to the tick and calls the function. A queue that is full refuses both: the tick is not lost.
pub(super) fn tick(edit: &mut Edit<'_>, tick: &Tick) -> Result<Outcome, Fault> {
    let Tick { schedule: place, revision, at_ms, missed, invocation } = tick;
    let mut schedule = need(edit, place)?;
    if schedule.revision != *revision || schedule.paused {
        let subject = format!("schedule '{place}'");
        return Err(Refusal::over(Reason::Mismatch, subject, schedule.revision, *revision).into());
    }
    if *at_ms <= schedule.cursor_ms {
        return Err(Refusal::over(Reason::Late, place, *at_ms, schedule.cursor_ms).into());
    }
    schedule.cursor_ms = *at_ms;
    schedule.missed = schedule.missed.saturating_add(*missed);
    let mut outcome = Outcome::Done;
    if let Some(invocation) = invocation {
        if schedule.definition.overlap == Overlap::Forbid && is_running(edit, &schedule)? {
            schedule.skipped = schedule.skipped.saturating_add(1);
        } else {
            let id = format!("{}@{at_ms}", place.name);
            let call = Call { id, at_ms: *at_ms, missed: *missed, invocation: *invocation };
            let published = call.publish(edit, place, &schedule.definition)?;
            schedule.fired = Some(Fired { at_ms: *at_ms, fired_ms: edit.moment.now_ms });
            schedule.ticks = schedule.ticks.saturating_add(1);
            schedule.invocation = Some(invocation_of(&published, *invocation));
            outcome = Outcome::Performed(vec![published]);
        }
    }
    edit.put(keys::schedule(place), &schedule);
    Ok(outcome)
}

/// Calls the function now, by hand: also while the schedule is paused. No time is over with it.
pub(super) fn trigger(
    edit: &mut Edit<'_>,
    place: &Place,
    invocation: InvocationId,
) -> Result<Outcome, Fault> {
    let schedule = need(edit, place)?;
    let id = format!("{}+{invocation}", place.name);
    let call = Call { id, at_ms: edit.moment.now_ms, missed: 0, invocation };
    let published = call.publish(edit, place, &schedule.definition)?;
    // Two that run at once would let overlap what may not: the first one is waited for.
    let last = if is_running(edit, &schedule)? { schedule.invocation } else { Some(invocation) };
    edit.put(keys::schedule(place), &Schedule { invocation: last, ..schedule });
    Ok(Outcome::Performed(vec![published]))
}

/// The schedule, or a refusal.
fn need(edit: &Edit<'_>, place: &Place) -> Result<Schedule, Fault> {
    Ok(edit.get(&keys::schedule(place))?.ok_or_else(|| Refusal::of(Reason::NoSchedule, place))?)
}

/// One more, or one less.
fn count(edit: &mut Edit<'_>, more: bool) -> Result<(), Fault> {
    let Schedules { count } = edit.get(&keys::schedules())?.unwrap_or_default();
    let count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    if count > SCHEDULES_MAX {
        return Err(Refusal::over(Reason::SchedulesFull, "schedules", count, SCHEDULES_MAX).into());
    }
    edit.put(keys::schedules(), &Schedules { count });
    Ok(())
}

/// Whether its last call has not ended. One of which nobody knows any more has.
fn is_running(edit: &Edit<'_>, schedule: &Schedule) -> Result<bool, Fault> {
    let Some(invocation) = schedule.invocation else { return Ok(false) };
    let record: Option<Invocation> = edit.get(&keys::invocation(invocation))?;
    Ok(record.is_some_and(|record| record.ended.is_none()))
}

/// What could not be published later is refused when it is told.
fn check(place: &Place, definition: &Definition) -> Result<(), Fault> {
    let Definition { cron, zone, function, data, .. } = definition;
    let longest = format!("{}+{}", place.name, InvocationId::new(u128::MAX));
    let texts =
        [("expression", cron), ("zone", zone), ("name", &longest), ("namespace and name", &source(place))];
    for (what, text) in texts {
        if text.len() > TEXT_BYTES_MAX {
            let what = format!("a schedule's {what}");
            return Err(Refusal::over_size(Reason::TooLarge, what, text.len(), TEXT_BYTES_MAX).into());
        }
    }
    if data.len() > MESSAGE_BYTES_MAX {
        let what = "a schedule's data";
        return Err(Refusal::over_size(Reason::TooLarge, what, data.len(), MESSAGE_BYTES_MAX).into());
    }
    let function = function_of(place, function)?;
    let queue = Place::of_function(&function).check();
    Ok(queue.map_err(|error| Refusal::of(Reason::Invalid, error))?)
}

fn function_of(place: &Place, function: &Name) -> Result<FunctionId, Fault> {
    let function = FunctionId::stored(place.namespace.as_str(), function.as_str());
    Ok(function.map_err(|error| Refusal::of(Reason::Invalid, error))?)
}

fn source(place: &Place) -> String {
    format!("//{}/schedule/{}", place.namespace, place.name)
}

fn invocation_of(published: &Effected, own: InvocationId) -> InvocationId {
    match published {
        Effected::Published { invocation, .. } => *invocation,
        Effected::Written { .. }
        | Effected::Deleted { .. }
        | Effected::Spread { .. }
        | Effected::Checked
        | Effected::Committed { .. } => own,
    }
}

/// A call that a schedule makes.
struct Call {
    id: String,
    at_ms: u64,
    missed: u64,
    invocation: InvocationId,
}

impl Call {
    fn publish(self, edit: &mut Edit<'_>, place: &Place, it: &Definition) -> Result<Effected, Fault> {
        let function = function_of(place, &it.function)?;
        let mut attributes = BTreeMap::from([
            ("type".to_owned(), TYPE.to_owned()),
            ("subject".to_owned(), place.name.to_string()),
            ("time".to_owned(), moment::rfc3339(self.at_ms)),
        ]);
        if self.missed > 0 {
            attributes.insert("missed".to_owned(), self.missed.to_string());
        }
        let publish = Publish {
            queue: Place::of_function(&function),
            source: source(place),
            id: self.id,
            group: String::new(),
            attributes,
            delay_ms: 0,
            data: it.data.clone(),
            invocation: self.invocation,
            kind: KIND.to_owned(),
            http: None,
            fingerprint: bytes::Bytes::new(),
            also: String::new(),
        };
        match queue::submit(edit, &function, publish)? {
            Outcome::Performed(mut effects) if effects.len() == 1 => {
                effects.pop().ok_or_else(|| unreadable("a call").into())
            }
            _ => Err(unreadable("a call").into()),
        }
    }
}
