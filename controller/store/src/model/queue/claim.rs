//! A message goes to a node for an attempt, under a fence, until a time.

use bytes::Bytes;
use coracle_proto::id::NodeId;
use coracle_raft::Stop;

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys;
use super::super::limits::CLAIM_MS_MAX;
use super::super::name::Place;
use super::super::outcome::{Claimed, Outcome};
use super::super::record::{Cause, Claim, Delivery, Fence, State, Ticket};
use super::super::refusal::{Reason, Refusal};
use super::desk::Desk;

/// Claims the oldest ready messages for a node. One that has become too old meanwhile is put aside instead.
pub(in super::super) fn claim(
    edit: &mut Edit<'_>,
    place: &Place,
    node: NodeId,
    most: u32,
    until_ms: u64,
) -> Result<Outcome, Fault> {
    check_until(edit, until_ms)?;
    let mut desk = Desk::open(edit, place)?;
    if desk.queue.paused {
        return Err(Refusal::of(Reason::Paused, place).into());
    }
    if desk.queue.target.is_none() {
        let sentence = format!("queue '{place}' has no function that takes its messages");
        return Err(Refusal::of(Reason::Invalid, sentence).into());
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let range = keys::ready_range(place, desk.counts.ready_from);
    let (rows, _) = desk.edit.steps(&range, most)?;
    desk.begin_behind(rows.last())?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let message = keys::message_number(&row).ok_or_else(|| unreadable("a ready message"))?;
        let delivery = desk.delivery(message)?.ok_or_else(|| unreadable("a ready message's delivery"))?;
        claimed.extend(desk.claim(message, delivery, node, until_ms)?);
    }
    desk.close();
    Ok(Outcome::Claimed(claimed))
}

/// The claim goes on, but never ends sooner than before.
pub(in super::super) fn extend(
    edit: &mut Edit<'_>,
    ticket: &Ticket,
    until_ms: u64,
) -> Result<Outcome, Fault> {
    check_until(edit, until_ms)?;
    let mut desk = Desk::of(edit, ticket)?;
    let (mut delivery, claim) = desk.held(ticket)?;
    let until_ms = until_ms.max(claim.until_ms);
    desk.change(ticket.message, &mut delivery, State::Claimed(Claim { until_ms, ..claim }));
    desk.close();
    Ok(Outcome::Done)
}

fn check_until(edit: &Edit<'_>, until_ms: u64) -> Result<(), Refusal> {
    let now_ms = edit.moment.now_ms;
    if (1..=CLAIM_MS_MAX).contains(&until_ms.saturating_sub(now_ms)) {
        return Ok(());
    }
    let sentence =
        format!("a claim until {until_ms}: it is {now_ms}, and a claim has 1 to {CLAIM_MS_MAX} ms");
    Err(Refusal::of(Reason::Invalid, sentence))
}

/// What is told to whoever does not hold the message.
pub(super) fn stale(ticket: &Ticket) -> Refusal {
    Refusal::of(Reason::Stale, format!("{} of queue '{}'", ticket.message, ticket.queue))
}

impl Desk<'_, '_> {
    fn claim(
        &mut self,
        message: u64,
        mut delivery: Delivery,
        node: NodeId,
        until_ms: u64,
    ) -> Result<Option<Claimed>, Fault> {
        if delivery.deadline_ms <= self.now_ms() {
            self.bury(message, &mut delivery, Cause::Age)?;
            return Ok(None);
        }
        let fence = Fence { term: self.edit.moment.term, sequence: self.edit.next() };
        delivery.attempts = delivery.attempts.saturating_add(1);
        let attempt = delivery.attempts;
        let since_ms = self.now_ms();
        self.change(message, &mut delivery, State::Claimed(Claim { node, since_ms, until_ms, fence }));
        Ok(Some(Claimed { message, attempt, fence, until_ms }))
    }

    /// All of these rows go: the next search begins behind the last of them, if nothing before it becomes ready again.
    fn begin_behind(&mut self, last: Option<&Bytes>) -> Result<(), Fault> {
        let Some(last) = last else { return Ok(()) };
        let message = keys::message_number(last).ok_or_else(|| unreadable("a ready message"))?;
        self.counts.ready_from = message.saturating_add(1);
        Ok(())
    }

    /// The claim of a ticket, while it is the one that holds the message.
    pub(super) fn held(&self, ticket: &Ticket) -> Result<(Delivery, Claim), Fault> {
        Ok(self.claimed(ticket.message, ticket.fence)?.ok_or_else(|| stale(ticket))?)
    }

    /// The claim of this message with this fence; none: it is not held any more.
    pub(super) fn claimed(&self, message: u64, fence: Fence) -> Result<Option<(Delivery, Claim)>, Stop> {
        let Some(delivery) = self.delivery(message)? else { return Ok(None) };
        Ok(match delivery.state {
            State::Claimed(claim) if claim.fence == fence => Some((delivery, claim)),
            State::Claimed(_)
            | State::Ready
            | State::Delayed { .. }
            | State::Behind { .. }
            | State::Dead(_) => None,
        })
    }
}
