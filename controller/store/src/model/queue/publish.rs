//! Messages enter a queue: once for each id that they were given, within the queue's bounds.

use coracle_proto::id::FunctionId;

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::keys;
use super::super::name::{Name, Place};
use super::super::op::Publish;
use super::super::outcome::{Effected, Outcome};
use super::super::record::{Delivery, Message, Queue, Settings};
use super::super::refusal::{Reason, Refusal};
use super::bounds;
use super::desk::Desk;

/// Takes the message, or says which one it was the first time.
pub(in super::super) fn publish(edit: &mut Edit<'_>, publish: &Publish) -> Result<Effected, Fault> {
    bounds::check(publish)?;
    take_in(Desk::open(edit, &publish.queue)?, publish)
}

/// The same for the queue of a function, which is made where there is none.
pub(in super::super) fn submit(
    edit: &mut Edit<'_>,
    function: &FunctionId,
    publish: Publish,
) -> Result<Outcome, Fault> {
    let queue = Place::of_function(function);
    let target = queue.check().and_then(|()| Name::parse(function.name.as_str()));
    let target = target.map_err(|error| Refusal::of(Reason::Invalid, error))?;
    let publish = Publish { queue, ..publish };
    bounds::check(&publish)?;
    let made = || Queue { settings: Settings::DEFAULT, paused: false, target: Some(target) };
    let desk = Desk::open_or_make(edit, &publish.queue, made)?;
    Ok(Outcome::Performed(vec![take_in(desk, &publish)?]))
}

fn take_in(mut desk: Desk<'_, '_>, publish: &Publish) -> Result<Effected, Fault> {
    if let Some(known) = desk.repeated(publish)? {
        desk.counts.repeated += 1;
        desk.close();
        let (message, invocation) = (known.message, known.invocation);
        return Ok(Effected::Published { message, repeated: true, invocation });
    }
    let weight = bounds::weight(publish);
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
        invocation: publish.invocation,
        state,
    };
    desk.enter(message, &delivery);
    desk.edit.put(keys::message(&publish.queue, message), &body(publish, desk.now_ms()));
    desk.remember(publish, message)?;
    desk.begin(publish, message)?;
    desk.counts.published += 1;
    desk.counts.bytes = desk.counts.bytes.saturating_add(weight);
    desk.close();
    Ok(Effected::Published { message, repeated: false, invocation: publish.invocation })
}

fn body(publish: &Publish, published_ms: u64) -> Message {
    Message {
        source: publish.source.clone(),
        id: publish.message_id(),
        attributes: publish.attributes.clone(),
        published_ms,
        data: publish.data.clone(),
        kind: publish.kind.clone(),
        http: publish.http.clone(),
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
