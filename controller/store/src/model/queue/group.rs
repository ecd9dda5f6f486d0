//! Messages of one group key are delivered one after the other: exactly one of them is not behind another one.

use super::super::fault::{Fault, unreadable};
use super::super::keys;
use super::super::record::State;
use super::desk::Desk;
use super::moves::waiting;

impl Desk<'_, '_> {
    /// The state in which a message begins to wait for its time, as a member of its group if it has one.
    pub(super) fn queue_up(&mut self, message: u64, group: &str, at_ms: u64) -> Result<State, Fault> {
        if group.is_empty() {
            return Ok(waiting(at_ms, self.now_ms()));
        }
        let alone =
            self.edit.keys(&keys::group_from(self.place, group, self.counts.delivery_from), 1)?.is_empty();
        self.edit.mark(keys::in_group(self.place, group, message));
        Ok(if alone { waiting(at_ms, self.now_ms()) } else { State::Behind { at_ms } })
    }

    /// The one that the others waited for is gone: the oldest of them is next.
    pub(super) fn promote(&mut self, group: &str) -> Result<(), Fault> {
        let Some(first) =
            self.edit.keys(&keys::group_from(self.place, group, self.counts.delivery_from), 1)?.pop()
        else {
            return Ok(());
        };
        let message = keys::message_number(&first).ok_or_else(|| unreadable("a row of a group"))?;
        let Some(mut delivery) = self.delivery(message)? else { return Ok(()) };
        if let State::Behind { at_ms } = delivery.state {
            let now_ms = self.now_ms();
            self.change(message, &mut delivery, waiting(at_ms, now_ms));
        }
        Ok(())
    }
}
