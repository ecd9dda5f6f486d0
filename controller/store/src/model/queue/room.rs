//! Whether a queue has room for a message, and whether it ever could have for all that are published to it at once.

use std::collections::BTreeSet;

use super::super::fault::Fault;
use super::super::name::{Owner, Place};
use super::super::op::{Effect, Publish};
use super::super::refusal::{Reason, Refusal};
use super::bounds;
use super::desk::Desk;

impl Desk<'_, '_> {
    /// Dead letters count too: none is dropped to make room.
    pub(super) fn check_room(&self, weight: u64) -> Result<(), Fault> {
        let settings = &self.queue.settings;
        let full = |reason, found, bound| {
            Fault::Full(self.place.clone(), Refusal::over(reason, self.place, found, bound))
        };
        let messages = self.counts.messages().saturating_add(1);
        if messages > settings.messages_max {
            return Err(full(Reason::QueueFullMessages, messages, settings.messages_max));
        }
        let bytes = self.counts.bytes.saturating_add(weight);
        if bytes > settings.bytes_max {
            return Err(full(Reason::QueueFullBytes, bytes, settings.bytes_max));
        }
        Ok(())
    }
}

/// What is said instead of that the queue is full, where these effects have more for it than it may have at all: none of them could be
/// done when it is empty. An id that comes twice counts once.
pub(in super::super) fn never_fits(full: &Place, effects: &[Effect], refusal: &Refusal) -> Option<Refusal> {
    let heard = match full.owner() {
        Owner::Topic(heard) => Some(heard.place),
        Owner::People | Owner::Function | Owner::Bucket(_) | Owner::Webhook(_) => None,
    };
    let is_for = |publish: &Publish| publish.queue == *full || Some(&publish.queue) == heard.as_ref();
    let (mut seen, mut messages, mut bytes) = (BTreeSet::new(), 0_u64, 0_u64);
    for effect in effects {
        match effect {
            Effect::Publish(it) if is_for(it) => {
                if it.id.is_empty() || seen.insert((&it.source, &it.id)) {
                    messages = messages.saturating_add(1);
                    bytes = bytes.saturating_add(bounds::weight(it));
                }
            }
            Effect::Publish(_) | Effect::Write(_) | Effect::Check(_) | Effect::Blob(_) => {}
        }
    }
    let (found, what) =
        if refusal.reason == Reason::QueueFullBytes { (bytes, "bytes") } else { (messages, "messages") };
    let bound = refusal.bound;
    let sentence = format!("{found} {what} at once for queue '{full}', which may have {bound}");
    (found > bound).then(|| Refusal::over(Reason::NeverFits, sentence, found, bound))
}
