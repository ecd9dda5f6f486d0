//! A queue while one operation works on it: its settings, and its counts, which are written once at the end, with the row
//! that tells that it has something to be claimed.

use bytes::Bytes;
use coracle_raft::Draft;
use coracle_raft::Stop;

use super::super::codec::Stored as _;
use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::name::Place;
use super::super::record::{Counts, Delivery, Queue, Ticket};
use super::super::refusal::{Reason, Refusal};
use super::super::{census, keys, view};
use super::claim::stale;

pub(super) struct Desk<'e, 'a> {
    pub(super) edit: &'e mut Edit<'a>,
    pub(super) place: &'e Place,
    pub(super) queue: Queue,
    pub(super) counts: Counts,
    /// Whether it had its row when it was opened.
    active: bool,
}

impl<'e, 'a> Desk<'e, 'a> {
    /// The queue, or a refusal, also where it is being deleted.
    pub(super) fn open(edit: &'e mut Edit<'a>, place: &'e Place) -> Result<Self, Fault> {
        let queue: Option<Queue> = edit.get(&keys::queue(place))?;
        let queue = queue.ok_or_else(|| Refusal::of(Reason::NoQueue, place))?;
        queue.check_kept(place)?;
        Self::at(edit, place, queue)
    }

    /// The queue, whatever becomes of it: for what time does, and for who takes away.
    pub(super) fn open_any(edit: &'e mut Edit<'a>, place: &'e Place) -> Result<Self, Fault> {
        let queue = edit.get(&keys::queue(place))?;
        let queue = queue.ok_or_else(|| Refusal::of(Reason::NoQueue, place))?;
        Self::at(edit, place, queue)
    }

    /// The queue of an attempt. One that is gone, or going, holds no claims.
    pub(super) fn of(edit: &'e mut Edit<'a>, ticket: &'e Ticket) -> Result<Self, Fault> {
        let queue: Option<Queue> = edit.get(&keys::queue(&ticket.queue))?;
        let queue = queue.filter(|queue| queue.dropping_ms.is_none()).ok_or_else(|| stale(ticket))?;
        Self::at(edit, &ticket.queue, queue)
    }

    /// The queue, which is made so where there is none.
    pub(super) fn open_or_make(
        edit: &'e mut Edit<'a>,
        place: &'e Place,
        made: impl FnOnce() -> Queue,
    ) -> Result<Self, Fault> {
        let key = keys::queue(place);
        let queue = match edit.get::<Queue>(&key)? {
            Some(queue) => {
                queue.check_kept(place)?;
                queue
            }
            None => {
                census::count_queue(edit, place, true)?;
                let queue = made();
                edit.put(key, &queue);
                queue
            }
        };
        Self::at(edit, place, queue)
    }

    /// The queue, which was read.
    pub(super) fn at(edit: &'e mut Edit<'a>, place: &'e Place, queue: Queue) -> Result<Self, Fault> {
        let counts = edit.get(&keys::counts(place))?.unwrap_or_default();
        let active = is_active(&queue, &counts);
        Ok(Self { edit, place, queue, counts, active })
    }

    /// The queue is this from now on.
    pub(super) fn tell(&mut self, queue: Queue) {
        self.edit.put(keys::queue(self.place), &queue);
        self.queue = queue;
    }

    /// Writes the counts. Who is refused before drops them with all the rest.
    pub(super) fn close(mut self) {
        if self.counts.messages() == 0 {
            self.counts.delivery_from = self.edit.upcoming();
            self.end_if_wanted();
        }
        self.edit.put(keys::counts(self.place), &self.counts);
        match (self.active, is_active(&self.queue, &self.counts)) {
            (false, true) => self.edit.mark(keys::active(self.place)),
            (true, false) => self.edit.remove(&keys::active(self.place)),
            (false, false) | (true, true) => {}
        }
    }

    pub(super) const fn now_ms(&self) -> u64 {
        self.edit.moment.now_ms
    }

    pub(super) fn delivery(&self, message: u64) -> Result<Option<Delivery>, Stop> {
        self.edit.get(&keys::delivery(self.place, message))
    }

    /// The delivery's key, whose rest is the subject of its timers.
    pub(super) fn key(&self, message: u64) -> Bytes {
        keys::delivery(self.place, message)
    }
}

impl Queue {
    /// Refuses what is asked of a queue that is being deleted.
    pub(super) fn check_kept(&self, place: &Place) -> Result<(), Refusal> {
        if self.dropping_ms.is_some() {
            return Err(Refusal::of(Reason::Dropping, format!("queue '{place}'")));
        }
        Ok(())
    }
}

/// Whether it has something that may be claimed.
const fn is_active(queue: &Queue, counts: &Counts) -> bool {
    counts.ready > 0 && queue.is_open()
}

/// Counts a message that a queue's bound has refused: the refusal itself leaves nothing.
pub(in super::super) fn count_refused(draft: &mut Draft<'_>, queue: &Place) -> Result<(), Stop> {
    let key = keys::counts(queue);
    let mut counts: Counts = view::get(draft, &key)?.unwrap_or_default();
    counts.refused += 1;
    draft.put(key, counts.encode());
    Ok(())
}
