//! The one place where a message changes its state: its rows, its timers, the counts and its record move together.

use super::super::fault::Fault;
use super::super::keys::{self, Due};
use super::super::record::{Burial, Cause, Delivery, How, State};
use super::desk::Desk;

/// How a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Settled,
    Cancelled,
    Purged,
    Expired,
}

/// Ready, or delayed where its time has not come.
pub(super) const fn waiting(at_ms: u64, now_ms: u64) -> State {
    if at_ms <= now_ms { State::Ready } else { State::Delayed { at_ms } }
}

impl Desk<'_, '_> {
    /// Writes a message's delivery with the rows of its state. Whoever waits has a timer for its age; it is left alone
    /// while the message is claimed, and set again when it waits again.
    pub(super) fn enter(&mut self, message: u64, delivery: &Delivery) {
        let key = self.key(message);
        *self.gauge(&delivery.state) += 1;
        match &delivery.state {
            State::Ready => {
                self.counts.ready_from = self.counts.ready_from.min(message);
                self.edit.mark(keys::ready(self.place, message));
            }
            State::Delayed { at_ms } => self.edit.mark(keys::timer(Due::Delays, *at_ms, &key)),
            State::Behind { .. } => {}
            State::Claimed(claim) => self.edit.mark(keys::timer(Due::Claims, claim.until_ms, &key)),
            State::Dead(Burial { until_ms, .. }) => {
                self.edit.mark(keys::dead(self.place, message));
                self.edit.mark(keys::timer(Due::Dead, *until_ms, &key));
            }
        }
        if delivery.state.is_waiting() {
            self.edit.mark(keys::timer(Due::Ages, delivery.deadline_ms, &key));
        }
        self.edit.put(key, delivery);
    }

    /// Takes the rows of a message's state away, but for its age.
    fn leave(&mut self, message: u64, delivery: &Delivery) {
        let key = self.key(message);
        let gauge = self.gauge(&delivery.state);
        *gauge = gauge.saturating_sub(1);
        match &delivery.state {
            State::Ready => self.edit.remove(&keys::ready(self.place, message)),
            State::Delayed { at_ms } => self.edit.remove(&keys::timer(Due::Delays, *at_ms, &key)),
            State::Behind { .. } => {}
            State::Claimed(claim) => self.edit.remove(&keys::timer(Due::Claims, claim.until_ms, &key)),
            State::Dead(Burial { until_ms, .. }) => {
                self.edit.remove(&keys::dead(self.place, message));
                self.edit.remove(&keys::timer(Due::Dead, *until_ms, &key));
            }
        }
    }

    pub(super) fn change(&mut self, message: u64, delivery: &mut Delivery, state: State) {
        self.leave(message, delivery);
        delivery.state = state;
        self.enter(message, delivery);
    }

    fn gauge(&mut self, state: &State) -> &mut u64 {
        match state {
            State::Ready => &mut self.counts.ready,
            State::Delayed { .. } => &mut self.counts.delayed,
            State::Behind { .. } => &mut self.counts.behind,
            State::Claimed(_) => &mut self.counts.claimed,
            State::Dead(_) => &mut self.counts.dead,
        }
    }

    /// Puts a message aside, with the cause, where it is kept for a while. Its group goes on without it.
    pub(super) fn bury(&mut self, message: u64, delivery: &mut Delivery, cause: Cause) -> Result<(), Fault> {
        match cause {
            Cause::Attempts => self.counts.dead_attempts += 1,
            Cause::Age => self.counts.dead_age += 1,
            Cause::Rejected => self.counts.dead_rejected += 1,
        }
        self.leave(message, delivery);
        self.leave_line(message, delivery)?;
        let at_ms = self.now_ms();
        let until_ms = at_ms.saturating_add(self.queue.settings.dead_keep_ms);
        delivery.state = State::Dead(Burial { cause, at_ms, until_ms });
        self.enter(message, delivery);
        self.finish(delivery, How::Dead)
    }

    /// Gives a dead letter all its attempts and its whole age anew.
    pub(super) fn revive(&mut self, message: u64, delivery: &mut Delivery) -> Result<(), Fault> {
        let now_ms = self.now_ms();
        delivery.attempts = 0;
        delivery.deadline_ms = now_ms.saturating_add(self.queue.settings.age_ms);
        let state = self.queue_up(message, &delivery.group, now_ms)?;
        self.change(message, delivery, state);
        self.counts.redriven += 1;
        self.reopen(delivery)
    }

    /// Takes a message away.
    pub(super) fn end(&mut self, message: u64, delivery: &Delivery, end: End) -> Result<(), Fault> {
        let (count, how) = match end {
            End::Settled => (&mut self.counts.settled, How::Succeeded),
            End::Cancelled => (&mut self.counts.cancelled, How::Cancelled),
            End::Purged => (&mut self.counts.purged, How::Dropped),
            End::Expired => (&mut self.counts.expired, How::Dropped),
        };
        *count += 1;
        self.leave(message, delivery);
        if !delivery.state.is_dead() {
            self.leave_line(message, delivery)?;
        }
        self.edit.remove(&keys::message(self.place, message));
        self.edit.remove(&keys::delivery(self.place, message));
        self.counts.bytes = self.counts.bytes.saturating_sub(delivery.weight);
        self.finish(delivery, how)
    }

    /// It is not among those any more that are to be delivered.
    fn leave_line(&mut self, message: u64, delivery: &Delivery) -> Result<(), Fault> {
        let key = self.key(message);
        self.edit.remove(&keys::timer(Due::Ages, delivery.deadline_ms, &key));
        if delivery.group.is_empty() {
            return Ok(());
        }
        self.edit.remove(&keys::in_group(self.place, &delivery.group, message));
        // Who was behind another one was not the one that the others wait for.
        if !matches!(delivery.state, State::Behind { .. }) { self.promote(&delivery.group) } else { Ok(()) }
    }
}
