//! An attempt ends: the message is done with its effects, tried again later, or put aside.

use std::iter;

use super::super::edit::Edit;
use super::super::effect;
use super::super::fault::Fault;
use super::super::hops;
use super::super::keys;
use super::super::limits::{DELAY_MS_MAX, GATHERED_MAX, OFFER_MS_MAX};
use super::super::luck::mixed;
use super::super::op::{Effect, Other, Verdict};
use super::super::outcome::{Fate, Outcome};
use super::super::record::{Cause, Delivery, Message, Settings, Ticket, kept_error};
use super::super::refusal::{Reason, Refusal};
use super::claim::stale;
use super::desk::Desk;
use super::ledger::Told;
use super::moves::{End, waiting};

/// So long before its age is over a message is tried for the last time: it is woken, claimed, and on its way by then.
const LAST_CLAIM_MS: u64 = 1000;
/// Messages that may be done with together.
const GATHERED: usize = GATHERED_MAX as usize;

/// Ends the attempt whose ticket it is. Its effects are done in the same operation, or nothing is.
pub(in super::super) fn settle(
    edit: &mut Edit<'_>,
    ticket: &Ticket,
    verdict: &Verdict,
    told: Told,
) -> Result<Outcome, Fault> {
    match verdict {
        Verdict::Done { effects, others } => done(edit, ticket, (effects, others), told),
        Verdict::Retry { after_ms, error } => failed(edit, ticket, told, error, |desk, delivery| {
            desk.retry(ticket.message, delivery, *after_ms)
        }),
        Verdict::Dead { error } => failed(edit, ticket, told, error, |desk, delivery| {
            desk.bury(ticket.message, delivery, Cause::Rejected)?;
            Ok(Fate::Dead(Cause::Rejected))
        }),
    }
}

fn failed(
    edit: &mut Edit<'_>,
    ticket: &Ticket,
    told: Told,
    error: &str,
    put_aside: impl FnOnce(&mut Desk<'_, '_>, &mut Delivery) -> Result<Fate, Fault>,
) -> Result<Outcome, Fault> {
    let mut desk = Desk::of(edit, ticket)?;
    let (mut delivery, _) = desk.held(ticket)?;
    desk.report(&delivery, told)?;
    delivery.last_error = kept_error(error);
    let fate = put_aside(&mut desk, &mut delivery)?;
    desk.close();
    Ok(Outcome::Settled { fate, effects: Vec::new(), lost: Vec::new() })
}

/// What one call was for is done with, and what it did is done, once, if any of it is still held. The answer stays with the first of them.
fn done(
    edit: &mut Edit<'_>,
    ticket: &Ticket,
    (effects, others): (&[Effect], &[Other]),
    told: Told,
) -> Result<Outcome, Fault> {
    if others.len() >= GATHERED {
        let what = "messages of one call";
        return Err(Refusal::over_size(Reason::TooMany, what, others.len() + 1, GATHERED).into());
    }
    let mut desk = Desk::of(edit, ticket)?;
    let (mut hops, mut lost, mut answer) = (0, Vec::new(), told.answer);
    let own = iter::once((ticket.message, ticket.fence, told.report));
    let others_of = others.iter().map(|other| (other.message, other.fence, other.report.clone()));
    for (message, fence, report) in own.chain(others_of) {
        let Some((delivery, _)) = desk.claimed(message, fence)? else {
            lost.push(message);
            continue;
        };
        desk.report(&delivery, Told { report, answer: answer.take() })?;
        if !effects.is_empty() {
            hops = desk.hops(message)?.saturating_add(1).max(hops);
        }
        desk.end(message, &delivery, End::Settled)?;
    }
    if lost.len() > others.len() {
        return Err(stale(ticket).into());
    }
    desk.close();
    edit.hops = hops;
    let effects = effect::perform(edit, effects)?;
    Ok(Outcome::Settled { fate: Fate::Done, effects, lost })
}

/// The platform could not run it: it is given back, and the attempt was none. What has become too old meanwhile is put aside.
pub(in super::super) fn offer(
    edit: &mut Edit<'_>,
    ticket: &Ticket,
    after_ms: u64,
    error: &str,
) -> Result<Outcome, Fault> {
    let mut desk = Desk::of(edit, ticket)?;
    let (mut delivery, _) = desk.held(ticket)?;
    delivery.attempts = delivery.attempts.saturating_sub(1);
    if !error.is_empty() {
        delivery.last_error = kept_error(error);
    }
    desk.counts.offered += 1;
    let now_ms = desk.now_ms();
    if delivery.deadline_ms <= now_ms {
        desk.bury(ticket.message, &mut delivery, Cause::Age)?;
    } else {
        let at_ms = now_ms.saturating_add(after_ms.min(OFFER_MS_MAX));
        desk.change(ticket.message, &mut delivery, waiting(at_ms, now_ms));
    }
    desk.close();
    Ok(Outcome::Done)
}

impl Desk<'_, '_> {
    /// Calls for events that stand behind a message.
    fn hops(&self, message: u64) -> Result<u64, Fault> {
        let body: Option<Message> = self.edit.get(&keys::message(self.place, message))?;
        Ok(body.and_then(|body| hops::told(&body.attributes)).unwrap_or_default())
    }

    /// Tries it again later, while it has attempts left and is not too old. What would be too old by then is tried before: at the last
    /// moment at which a node still has time to claim it.
    pub(super) fn retry(
        &mut self,
        message: u64,
        delivery: &mut Delivery,
        after_ms: Option<u64>,
    ) -> Result<Fate, Fault> {
        if delivery.attempts >= self.queue.settings.attempts_max {
            self.bury(message, delivery, Cause::Attempts)?;
            return Ok(Fate::Dead(Cause::Attempts));
        }
        let luck = mixed(self.edit.moment.random ^ message);
        let drawn = || backoff_ms(&self.queue.settings, delivery.attempts, luck);
        let now_ms = self.now_ms();
        if now_ms >= delivery.deadline_ms {
            self.bury(message, delivery, Cause::Age)?;
            return Ok(Fate::Dead(Cause::Age));
        }
        let last_ms = delivery.deadline_ms.saturating_sub(LAST_CLAIM_MS).max(now_ms);
        let at_ms = now_ms.saturating_add(after_ms.unwrap_or_else(drawn).min(DELAY_MS_MAX)).min(last_ms);
        self.change(message, delivery, waiting(at_ms, now_ms));
        self.counts.retried += 1;
        Ok(Fate::Retried { at_ms })
    }
}

/// After so many attempts: anything from nothing to twice as long as after the one before, up to a bound (full jitter,
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
fn backoff_ms(settings: &Settings, attempts: u32, luck: u64) -> u64 {
    let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
    let most = settings.backoff_ms.saturating_mul(doubled).min(settings.backoff_max_ms);
    most.checked_add(1).map_or(luck, |choices| luck % choices)
}
