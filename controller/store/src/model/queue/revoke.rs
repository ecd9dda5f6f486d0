//! What somebody does with one invocation: it is cancelled while it has not ended, or tried again as a dead letter.

use coracle_proto::id::InvocationId;

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::invocation::{self, Phase};
use super::super::keys;
use super::super::outcome::Outcome;
use super::super::record::{Delivery, Invocation};
use super::super::refusal::{Reason, Refusal};
use super::desk::Desk;
use super::moves::End;

/// Takes its message away; its group goes on without it.
pub(in super::super) fn cancel(edit: &mut Edit<'_>, id: InvocationId) -> Result<Outcome, Fault> {
    let record = record(edit, id)?;
    if let Some(ended) = &record.ended {
        let sentence = format!("invocation {id} has ended: it {}", Phase::of(ended.how).told());
        return Err(Refusal::of(Reason::Ended, sentence).into());
    }
    let mut desk = Desk::open_any(edit, &record.queue)?;
    let delivery = delivery(&desk, record.message)?;
    desk.end(record.message, &delivery, End::Cancelled)?;
    desk.close();
    Ok(Outcome::Done)
}

/// Gives a dead letter all its attempts.
pub(in super::super) fn revive(edit: &mut Edit<'_>, id: InvocationId) -> Result<Outcome, Fault> {
    let record = record(edit, id)?;
    let mut desk = Desk::open(edit, &record.queue)?;
    let phase = match &record.ended {
        Some(ended) => Phase::of(ended.how),
        None => Phase::of_state(&delivery(&desk, record.message)?.state),
    };
    if phase != Phase::Dead {
        let sentence = format!("invocation {id} is no dead letter: it {}", phase.told());
        return Err(Refusal::of(Reason::NotDead, sentence).into());
    }
    let mut delivery = delivery(&desk, record.message)?;
    desk.revive(record.message, &mut delivery)?;
    desk.close();
    Ok(Outcome::Done)
}

/// The record, while it is shown.
fn record(edit: &Edit<'_>, id: InvocationId) -> Result<Invocation, Fault> {
    let found = edit.get::<Invocation>(&keys::invocation(id))?;
    let shown = found.filter(|record| invocation::is_shown(record, edit.moment.now_ms));
    Ok(shown.ok_or_else(|| Refusal::of(Reason::NoInvocation, id))?)
}

fn delivery(desk: &Desk<'_, '_>, message: u64) -> Result<Delivery, Fault> {
    Ok(desk.delivery(message)?.ok_or_else(|| unreadable("a record without a message"))?)
}
