//! A queue is deleted: marked first, so that nothing enters it and nothing is claimed, then emptied in bounded steps, and taken away with
//! the last of what was its own. What somebody has begun goes on by itself.

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys::{self, Due};
use super::super::limits::OP_STEPS_MAX;
use super::super::name::{NameError, Owner, Place};
use super::super::op::{Deletion, Span};
use super::super::outcome::Outcome;
use super::super::record::Queue;
use super::super::refusal::{Reason, Refusal};
use super::super::{bucket, census, webhook};
use super::desk::Desk;
use super::memory::Memory;
use super::moves::End;
use super::topic;

/// Whoever has begun it goes on with it for so long alone.
const GRACE_MS: u64 = 10_000;

/// How far one operation has come.
struct Emptied {
    /// Messages that it took away.
    messages: usize,
    /// Whether there may be more of anything.
    more: bool,
}

/// Deletes it, as far as one operation may. Refused while somebody uses it, unless it is forced or was begun.
pub(in super::super) fn drop(
    edit: &mut Edit<'_>,
    place: &Place,
    deletion: Deletion,
    steps: u32,
) -> Result<Outcome, Fault> {
    let mut desk = Desk::open_any(edit, place)?;
    if desk.queue.dropping_ms.is_none() {
        match deletion {
            Deletion::Unused => desk.check_unused()?,
            Deletion::Forced => {}
            Deletion::Begun => return Err(Refusal::of(Reason::NoQueue, place).into()),
        }
        desk.nobody_hears()?;
        desk.go_on_at(GRACE_MS);
    }
    let Emptied { messages, more } = desk.empty(usize::try_from(steps).unwrap_or(usize::MAX))?;
    if more {
        desk.close()
    } else {
        desk.remove()?
    }
    Ok(Outcome::Moved { moved: messages.try_into().unwrap_or(u32::MAX), more, next: 0 })
}

/// Goes on with what somebody has begun and not ended.
pub(in super::super) fn go_on(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    let (place, _) = keys::subject_parts(subject).ok_or_else(|| unreadable("a timer of a deletion"))?;
    let mut desk = Desk::open_any(edit, &place)?;
    if desk.empty(OP_STEPS_MAX)?.more {
        desk.go_on_at(1);
        desk.close();
        return Ok(());
    }
    desk.remove()
}

/// Nobody fills it any more: without messages it goes at once, as far as one operation may, else with the last of them. One whose name no
/// key can have was never made.
pub(in super::super) fn release(edit: &mut Edit<'_>, place: Result<Place, NameError>) -> Result<(), Fault> {
    let Ok(place) = place else { return Ok(()) };
    let Some(queue) = edit.get::<Queue>(&keys::queue(&place))?.filter(|it| it.dropping_ms.is_none()) else {
        return Ok(());
    };
    let mut desk = Desk::at(edit, &place, queue)?;
    if desk.counts.messages() > 0 {
        let queue = Queue { ends_when_empty: true, ..desk.queue.clone() };
        desk.tell(queue);
        desk.close();
        return Ok(());
    }
    if desk.empty(OP_STEPS_MAX)?.more {
        // Whoever subscribes again meanwhile keeps it.
        let queue = Queue { ends_when_empty: true, ..desk.queue.clone() };
        desk.tell(queue);
        desk.go_on_at(1);
        desk.close();
        return Ok(());
    }
    desk.remove()
}

/// Somebody fills it again before it has gone: it stays.
pub(super) fn retain(edit: &mut Edit<'_>, place: &Place) -> Result<(), Fault> {
    let queue = edit.get::<Queue>(&keys::queue(place))?;
    let Some(queue) = queue.filter(|it| it.ends_when_empty && it.dropping_ms.is_some()) else {
        return Ok(());
    };
    let mut desk = Desk::at(edit, place, queue)?;
    // Otherwise somebody deletes it by force.
    if desk.counts.messages() == 0 {
        desk.forget_drop();
        let queue = Queue { dropping_ms: None, ends_when_empty: false, ..desk.queue.clone() };
        desk.tell(queue);
        desk.close();
    }
    Ok(())
}

impl Desk<'_, '_> {
    /// It has no messages: it goes soon, if nobody fills it any more. Until then it can be asked what became of the last of them.
    pub(super) fn end_if_wanted(&mut self) {
        if self.queue.ends_when_empty && self.queue.dropping_ms.is_none() {
            self.go_on_at(GRACE_MS);
        }
    }

    fn check_unused(&self) -> Result<(), Refusal> {
        let taker =
            self.queue.target.as_ref().map(|target| format!("function '{target}' takes its messages"));
        let messages = self.counts.messages();
        let held = (messages > 0).then(|| format!("it has {messages} messages"));
        let users: Vec<_> = taker.into_iter().chain(held).collect();
        if users.is_empty() {
            return Ok(());
        }
        let sentence = format!("queue '{}' is in use: {}", self.place, users.join(", and "));
        Err(Refusal::of(Reason::InUse, sentence))
    }

    /// A topic or a bucket has this queue no more among those that it tells; a webhook without its queue is none.
    fn nobody_hears(&mut self) -> Result<(), Fault> {
        match self.place.owner() {
            Owner::Topic(heard) => topic::forget(self.edit, &heard),
            Owner::Bucket(heard) => bucket::forget(self.edit, &heard),
            Owner::Webhook(place) => webhook::forget(self.edit, &place),
            Owner::People | Owner::Function => Ok(()),
        }
    }

    /// It is marked, with a timer that goes on with it.
    fn go_on_at(&mut self, in_ms: u64) {
        self.forget_drop();
        let at_ms = self.now_ms().saturating_add(in_ms);
        self.edit.mark(keys::timer(Due::Drops, at_ms, &keys::queue(self.place)));
        let queue = Queue { dropping_ms: Some(at_ms), ..self.queue.clone() };
        self.tell(queue);
    }

    fn forget_drop(&mut self) {
        if let Some(at_ms) = self.queue.dropping_ms {
            self.edit.remove(&keys::timer(Due::Drops, at_ms, &keys::queue(self.place)));
        }
    }

    /// Messages first, whose invocations end as dropped, then records and ids.
    fn empty(&mut self, steps: usize) -> Result<Emptied, Fault> {
        let mut left = steps.min(OP_STEPS_MAX);
        let span = Span { from: self.counts.delivery_from, to: u64::MAX };
        let (rows, more_messages) = self.edit.steps(&keys::delivery_span(self.place, span), left)?;
        left = left.saturating_sub(rows.len());
        let messages = rows.len();
        for row in rows {
            let message = keys::message_number(&row).ok_or_else(|| unreadable("a message's row"))?;
            let delivery = self.delivery(message)?.ok_or_else(|| unreadable("a message's delivery"))?;
            self.end(message, &delivery, End::Purged)?;
            self.counts.delivery_from = message.saturating_add(1);
        }
        let ended = keys::ended_range(self.place, self.counts.records_from_ms);
        let (rows, more_records) = self.edit.steps(&ended, left)?;
        left = left.saturating_sub(rows.len());
        for row in rows {
            let (at_ms, id) = keys::ended_parts(&row).ok_or_else(|| unreadable("a row of what ended"))?;
            self.forget_record(&row, id)?;
            self.counts.records_from_ms = at_ms;
        }
        let ids = keys::dedup_range(self.place, self.counts.dedups_from);
        let (rows, more_ids) = self.edit.steps(&ids, left)?;
        for row in rows {
            let (message, _) = keys::dedup_of_order(&row).ok_or_else(|| unreadable("a remembered id"))?;
            self.counts.dedups_from = message;
            self.forget_id(&row)?;
        }
        Ok(Emptied { messages, more: more_messages || more_records || more_ids })
    }

    /// It is empty, and goes.
    fn remove(mut self) -> Result<(), Fault> {
        self.forget_timer(Memory::Records);
        self.forget_timer(Memory::Ids);
        self.forget_drop();
        self.edit.remove(&keys::active(self.place));
        self.edit.remove(&keys::counts(self.place));
        self.edit.remove(&keys::queue(self.place));
        census::count_queue(self.edit, self.place, false)
    }
}
