//! One operation at work: it reads records as they stand and drafts others, which are kept when it is done and dropped when it
//! is refused.

use bytes::Bytes;
use coracle_raft::Draft;
use coracle_raft::Stop;

use super::codec::Stored;
use super::fault::Fault;
use super::limits::{BATCH_STEPS_MAX, COPIES_MAX, OP_STEPS_MAX};
use super::refusal::{Reason, Refusal};
use super::view;

/// What an entry brings for all of its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Of the leader that made it.
    pub(super) term: u64,
    /// The group's time, Unix milliseconds.
    pub(super) now_ms: u64,
    /// The leader's random word.
    pub(super) random: u64,
}

/// What operations of an entry draw on, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Purse {
    /// The last number that was given out.
    pub(super) sequence: u64,
    /// Steps that the entry may still make.
    pub(super) steps: usize,
    /// Copies of messages that it may still make, for who hears a topic or a bucket.
    pub(super) copies: usize,
}

impl Purse {
    /// What an entry has that begins after this number.
    pub(super) const fn full(sequence: u64) -> Self {
        Self { sequence, steps: BATCH_STEPS_MAX, copies: COPIES_MAX }
    }
}

/// Records as the operation will leave them.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    draft: Draft<'a>,
    /// When it happens.
    pub(super) moment: Moment,
    purse: Purse,
    /// Copies of messages that it has made.
    copies: usize,
    /// Calls for events that stand behind this.
    pub(super) hops: u64,
}

/// Takes over what was drafted over this.
pub(super) fn keep(draft: &mut Draft<'_>, changes: Vec<coracle_raft::Change>) {
    for change in changes {
        match change.value {
            Some(value) => draft.put(change.key, value),
            None => draft.remove(&change.key),
        }
    }
}

impl<'a> Edit<'a> {
    pub(super) fn over(before: &'a Draft<'_>, moment: Moment, purse: Purse) -> Self {
        Self { draft: Draft::over(before), moment, purse, copies: 0, hops: 0 }
    }

    pub(super) fn get<R: Stored>(&self, key: &[u8]) -> Result<Option<R>, Stop> {
        view::get(&self.draft, key)
    }

    /// The keys of a range, in order, as many as `most`.
    pub(super) fn keys(&self, range: &(Bytes, Bytes), most: usize) -> Result<Vec<Bytes>, Stop> {
        view::keys(&self.draft, range, most)
    }

    /// The keys of a range, each of which is a step; the flag tells that there may be more of them.
    pub(super) fn steps(&mut self, range: &(Bytes, Bytes), most: usize) -> Result<(Vec<Bytes>, bool), Stop> {
        let most = most.min(OP_STEPS_MAX).min(self.purse.steps);
        let found = self.keys(range, most)?;
        self.purse.steps -= found.len();
        let more = found.len() == most;
        Ok((found, more))
    }

    pub(super) fn put<R: Stored>(&mut self, key: Bytes, record: &R) {
        self.draft.put(key, record.encode());
    }

    /// A record that is nothing but bytes.
    pub(super) fn write(&mut self, key: Bytes, bytes: Bytes) {
        self.draft.put(key, bytes);
    }

    /// A row whose key says all.
    pub(super) fn mark(&mut self, key: Bytes) {
        self.draft.put(key, Bytes::new());
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.draft.remove(key);
    }

    /// The next number of the group: greater than any before it.
    pub(super) const fn next(&mut self) -> u64 {
        self.purse.sequence = self.purse.sequence.saturating_add(1);
        self.purse.sequence
    }

    /// The number that [`Self::next`] would give.
    pub(super) const fn upcoming(&self) -> u64 {
        self.purse.sequence.saturating_add(1)
    }

    /// A copy of a message for each of `hearers`, who are those of `whose`, as far as the entry may still make them.
    pub(super) fn copy(&mut self, hearers: usize, whose: impl FnOnce() -> String) -> Result<(), Refusal> {
        self.copies = self.copies.saturating_add(hearers);
        if self.copies > COPIES_MAX {
            let (whose, fits) = (whose(), COPIES_MAX / hearers.max(1));
            let sentence =
                format!("{whose} are {hearers}, and so at most {fits} messages for them fit at once");
            return Err(Refusal::over_size(Reason::NeverFits, sentence, self.copies, COPIES_MAX));
        }
        let Some(left) = self.purse.copies.checked_sub(hearers) else {
            let what = "copies of messages are to be made";
            return Err(Refusal::over_size(Reason::Busy, what, hearers, self.purse.copies));
        };
        self.purse.copies = left;
        Ok(())
    }

    /// Does something that may be refused by itself: then nothing of it stays, and this goes on.
    pub(super) fn attempt<T>(
        &mut self,
        run: impl FnOnce(&mut Edit<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Self { moment, purse, copies, hops, .. } = *self;
        let mut inner = Edit { draft: Draft::over(&self.draft), moment, purse, copies, hops };
        let done = run(&mut inner)?;
        let copies = inner.copies;
        let (changes, purse) = inner.finish();
        keep(&mut self.draft, changes);
        (self.purse, self.copies) = (purse, copies);
        Ok(done)
    }

    /// What was drafted, and what is left.
    pub(super) fn finish(self) -> (Vec<coracle_raft::Change>, Purse) {
        (self.draft.into_changes().collect(), self.purse)
    }
}
