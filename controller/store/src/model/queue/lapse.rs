//! What time does to a message: its delay ends, its claim lapses, it grows too old, its time as a dead letter is over.

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys;
use super::super::name::Place;
use super::super::record::{Cause, Claim, Delivery, Report, State};
use super::desk::Desk;
use super::ledger::Told;
use super::moves::End;

/// The outcome of an attempt whose claim lapsed: the code with which its settle is refused.
const LOST: &str = "claim-lost";

/// A delay is over.
pub(in super::super) fn wake(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    due(edit, subject, |desk, message, delivery| {
        if matches!(delivery.state, State::Delayed { .. }) {
            desk.change(message, delivery, State::Ready);
        }
        Ok(())
    })
}

/// A claim was neither settled nor extended: the attempt counts, for it may have been what ended its node.
pub(in super::super) fn lapse(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    due(edit, subject, |desk, message, delivery| {
        if let State::Claimed(claim) = delivery.state {
            desk.counts.lapsed += 1;
            let report = lost(&claim, desk.now_ms());
            delivery.last_error.clone_from(&report.error);
            desk.report(delivery, Told { report: Some(report), answer: None })?;
            desk.retry(message, delivery, None)?;
        }
        Ok(())
    })
}

/// What is known of an attempt of which nobody told the end.
fn lost(claim: &Claim, now_ms: u64) -> Report {
    Report {
        node: claim.node,
        started_ms: claim.since_ms,
        ended_ms: now_ms,
        outcome: LOST.to_owned(),
        error: format!("node {} did not tell how its attempt ended", claim.node),
        ..Report::default()
    }
}

/// It waited for too long. Whoever has claimed it may still end it well.
pub(in super::super) fn age(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    due(edit, subject, |desk, message, delivery| {
        if delivery.state.is_waiting() {
            desk.bury(message, delivery, Cause::Age)?;
        }
        Ok(())
    })
}

/// A dead letter was kept long enough.
pub(in super::super) fn expire(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    due(edit, subject, |desk, message, delivery| {
        if delivery.state.is_dead() { desk.end(message, delivery, End::Expired) } else { Ok(()) }
    })
}

fn due(
    edit: &mut Edit<'_>,
    subject: &[u8],
    then: impl FnOnce(&mut Desk<'_, '_>, u64, &mut Delivery) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (place, message) = subject_of(subject)?;
    let mut desk = Desk::open_any(edit, &place)?;
    if let Some(mut delivery) = desk.delivery(message)? {
        then(&mut desk, message, &mut delivery)?;
    }
    desk.close();
    Ok(())
}

fn subject_of(subject: &[u8]) -> Result<(Place, u64), Fault> {
    let place = keys::subject_parts(subject).map(|(place, _)| place);
    let parts = place.zip(keys::message_number(subject));
    Ok(parts.ok_or_else(|| unreadable("a message's timer"))?)
}
