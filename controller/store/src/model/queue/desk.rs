//! A queue while one operation works on it: its settings, and its counts, which are written once at the end.

use bytes::Bytes;
use coracle_raft::Draft;
use coracle_raft::Stop;

use super::super::codec::Stored as _;
use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::name::Place;
use super::super::record::{Counts, Delivery, Queue};
use super::super::refusal::{Reason, Refusal};
use super::super::{keys, view};

pub(super) struct Desk<'e, 'a> {
    pub(super) edit: &'e mut Edit<'a>,
    pub(super) place: &'e Place,
    pub(super) queue: Queue,
    pub(super) counts: Counts,
}

impl<'e, 'a> Desk<'e, 'a> {
    /// The queue, or a refusal.
    pub(super) fn open(edit: &'e mut Edit<'a>, place: &'e Place) -> Result<Self, Fault> {
        let queue = edit.get(&keys::queue(place))?;
        let queue = queue.ok_or_else(|| Refusal::of(Reason::NoQueue, place))?;
        let counts = edit.get(&keys::counts(place))?.unwrap_or_default();
        Ok(Self { edit, place, queue, counts })
    }

    /// Writes the counts. Who is refused before drops them with all the rest.
    pub(super) fn close(self) {
        self.edit.put(keys::counts(self.place), &self.counts);
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

/// Counts a message that a queue's bound has refused: the refusal itself leaves nothing.
pub(in super::super) fn count_refused(draft: &mut Draft<'_>, queue: &Place) -> Result<(), Stop> {
    let key = keys::counts(queue);
    let mut counts: Counts = view::get(draft, &key)?.unwrap_or_default();
    counts.refused += 1;
    draft.put(key, counts.encode());
    Ok(())
}
