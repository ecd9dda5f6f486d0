//! Schedules: each tick publishes its message once, whatever becomes of leaders and clocks.

use super::edit::Edit;
use super::fault::Fault;
use super::name::Place;
use super::op::Publish;
use super::outcome::Outcome;
use super::record::Cursor;
use super::refusal::{Reason, Refusal};
use super::{keys, queue};

/// Moves the schedule's cursor to the tick and publishes its message. A queue that is full refuses both: the tick is not
/// lost.
pub(super) fn tick(
    edit: &mut Edit<'_>,
    schedule: &Place,
    at_ms: u64,
    publish: Publish,
) -> Result<Outcome, Fault> {
    let key = keys::cursor(schedule);
    if let Some(cursor) = edit.get::<Cursor>(&key)?.filter(|cursor| at_ms <= cursor.at_ms) {
        return Err(Refusal::over(Reason::Late, schedule, at_ms, cursor.at_ms).into());
    }
    let id = format!("{}@{at_ms}", schedule.name);
    let published = queue::publish(edit, &Publish { id, ..publish })?;
    edit.put(key, &Cursor { at_ms });
    Ok(Outcome::Performed(vec![published]))
}
