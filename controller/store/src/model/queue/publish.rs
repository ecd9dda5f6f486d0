//! Messages enter a queue: once for each id, within the queue's bounds.

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::keys;
use super::super::limits::{
    ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, DELAY_MS_MAX, MESSAGE_BYTES_MAX, TEXT_BYTES_MAX,
};
use super::super::op::Publish;
use super::super::outcome::Effected;
use super::super::record::{Delivery, Message};
use super::super::refusal::{Reason, Refusal};
use super::desk::Desk;

/// Takes the message, or says which one it was the first time.
pub(in super::super) fn publish(edit: &mut Edit<'_>, publish: &Publish) -> Result<Effected, Fault> {
    check(publish)?;
    let mut desk = Desk::open(edit, &publish.queue)?;
    if let Some(message) = desk.repeated(publish)? {
        desk.counts.repeated += 1;
        desk.close();
        return Ok(Effected::Published { message, repeated: true });
    }
    let weight = weight(publish);
    desk.check_room(weight)?;
    let message = desk.edit.next();
    let at_ms = desk.now_ms().saturating_add(publish.delay_ms);
    let state = desk.queue_up(message, &publish.group, at_ms)?;
    let delivery = Delivery {
        attempts: 0,
        deadline_ms: at_ms.saturating_add(desk.queue.settings.age_ms),
        weight,
        group: publish.group.clone(),
        last_error: String::new(),
        state,
    };
    desk.enter(message, &delivery);
    desk.edit.put(keys::message(&publish.queue, message), &body(publish, desk.now_ms()));
    desk.remember(publish, message)?;
    desk.counts.published += 1;
    desk.counts.bytes = desk.counts.bytes.saturating_add(weight);
    desk.close();
    Ok(Effected::Published { message, repeated: false })
}

fn body(publish: &Publish, published_ms: u64) -> Message {
    Message {
        source: publish.source.clone(),
        id: publish.id.clone(),
        attributes: publish.attributes.clone(),
        published_ms,
        data: publish.data.clone(),
    }
}

impl Desk<'_, '_> {
    /// Dead letters count too: none is dropped to make room.
    fn check_room(&self, weight: u64) -> Result<(), Fault> {
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

fn check(publish: &Publish) -> Result<(), Refusal> {
    for (what, text) in [("source", &publish.source), ("id", &publish.id), ("group", &publish.group)] {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Refusal::over_size(
                Reason::TooLarge,
                format!("a message's {what}"),
                text.len(),
                TEXT_BYTES_MAX,
            ));
        }
        if text.contains('\0') {
            return Err(Refusal::of(Reason::Invalid, format!("a message's {what} has a zero byte")));
        }
    }
    if publish.id.is_empty() {
        return Err(Refusal::of(Reason::Invalid, "a message needs an id"));
    }
    if publish.data.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::over_size(Reason::TooLarge, "a message", publish.data.len(), MESSAGE_BYTES_MAX));
    }
    if publish.attributes.len() > ATTRIBUTES_MAX {
        return Err(Refusal::over_size(
            Reason::TooMany,
            "attributes",
            publish.attributes.len(),
            ATTRIBUTES_MAX,
        ));
    }
    let bytes = attribute_bytes(publish);
    if bytes > ATTRIBUTE_BYTES_MAX {
        return Err(Refusal::over_size(
            Reason::TooLarge,
            "a message's attributes",
            bytes,
            ATTRIBUTE_BYTES_MAX,
        ));
    }
    if publish.delay_ms > DELAY_MS_MAX {
        let sentence = format!("a delay of {} ms: at most {DELAY_MS_MAX} are allowed", publish.delay_ms);
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    Ok(())
}

fn attribute_bytes(publish: &Publish) -> usize {
    publish.attributes.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Bytes for which the queue answers.
fn weight(publish: &Publish) -> u64 {
    let texts = publish.source.len() + publish.id.len() + publish.group.len();
    u64::try_from(texts + attribute_bytes(publish) + publish.data.len()).unwrap_or(u64::MAX)
}
