//! What a queue remembers goes when its day is over, also where nothing happens any more: one timer a queue, for the oldest record, and one
//! for the oldest id. When they are due stands in its counts, so that they go with it.

use bytes::Bytes;

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys::{self, Due};
use super::super::limits::RECORD_MS;
use super::super::record::Dedup;
use super::desk::Desk;

/// Records or ids that one timer makes forgotten at most: others are due too.
const FORGOTTEN_BY_TIMER: usize = 64;

/// Of what a queue is reminded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    Records,
    Ids,
}

/// The oldest record of a queue has had its day.
pub(in super::super) fn forget_records(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    let (place, _) = keys::subject_parts(subject).ok_or_else(|| unreadable("a timer of records"))?;
    let mut desk = Desk::open_any(edit, &place)?;
    desk.counts.records_timer_ms = 0;
    let range = keys::ended_range(&place, desk.counts.records_from_ms);
    let (rows, _) = desk.edit.steps(&range, FORGOTTEN_BY_TIMER)?;
    desk.forget_records(rows)?;
    let range = keys::ended_range(&place, desk.counts.records_from_ms);
    if let Some(row) = desk.edit.keys(&range, 1)?.pop() {
        let (at_ms, _) = keys::ended_parts(&row).ok_or_else(|| unreadable("a row of what ended"))?;
        desk.remind(Memory::Records, at_ms.saturating_add(RECORD_MS));
    }
    desk.close();
    Ok(())
}

/// The oldest id of a queue has had its day.
pub(in super::super) fn forget_ids(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    let (place, _) = keys::subject_parts(subject).ok_or_else(|| unreadable("a timer of ids"))?;
    let mut desk = Desk::open_any(edit, &place)?;
    desk.counts.ids_timer_ms = 0;
    let range = keys::dedup_range(&place, desk.counts.dedups_from);
    let (rows, _) = desk.edit.steps(&range, FORGOTTEN_BY_TIMER)?;
    desk.forget_ids(rows)?;
    let range = keys::dedup_range(&place, desk.counts.dedups_from);
    if let Some(row) = desk.edit.keys(&range, 1)?.pop() {
        let until_ms = desk.remembered_until(&row)?;
        desk.remind(Memory::Ids, until_ms);
    }
    desk.close();
    Ok(())
}

impl Desk<'_, '_> {
    /// Sets the timer of the oldest, where there is none. What should have gone already goes next.
    pub(super) fn remind(&mut self, memory: Memory, at_ms: u64) {
        let at_ms = at_ms.max(self.now_ms().saturating_add(1));
        let (due, timer_ms) = self.timer(memory);
        if *timer_ms == 0 {
            *timer_ms = at_ms;
            self.edit.mark(keys::timer(due, at_ms, &keys::queue(self.place)));
        }
    }

    /// Takes the timer away.
    pub(super) fn forget_timer(&mut self, memory: Memory) {
        let (due, timer_ms) = self.timer(memory);
        let at_ms = std::mem::take(timer_ms);
        if at_ms > 0 {
            self.edit.remove(&keys::timer(due, at_ms, &keys::queue(self.place)));
        }
    }

    const fn timer(&mut self, memory: Memory) -> (Due, &mut u64) {
        match memory {
            Memory::Records => (Due::Records, &mut self.counts.records_timer_ms),
            Memory::Ids => (Due::Ids, &mut self.counts.ids_timer_ms),
        }
    }

    fn remembered_until(&self, row: &Bytes) -> Result<u64, Fault> {
        let (_, key) = keys::dedup_of_order(row).ok_or_else(|| unreadable("a remembered id"))?;
        Ok(self.edit.get::<Dedup>(&key)?.map_or(0, |known| known.until_ms))
    }
}
