//! Messages enter a queue: once for each id that they were given, within the queue's bounds.

use coracle_proto::id::{FunctionId, InvocationId};

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::name::{Name, Place};
use super::super::op::Publish;
use super::super::outcome::{Effected, Outcome};
use super::super::record::{Delivery, Message, Queue, Settings, Topic};
use super::super::refusal::{Reason, Refusal};
use super::super::{hops, keys};
use super::desk::Desk;
use super::{bounds, topic};

/// What fires where nobody says it.
const QUEUE: &str = "queue";
const ASYNC: &str = "async";

/// A message as one queue gets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coming<'a> {
    pub(super) publish: &'a Publish,
    /// Of this queue's message.
    pub(super) invocation: InvocationId,
    /// What fires.
    pub(super) kind: &'a str,
}

impl<'a> Coming<'a> {
    /// As it was published. Where nobody says what fires it is `kind`.
    pub(super) fn of(publish: &'a Publish, kind: &'a str) -> Self {
        let kind = if publish.kind.is_empty() { kind } else { &publish.kind };
        Self { publish, invocation: publish.invocation, kind }
    }
}

/// What a queue says to a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    message: u64,
    pub(super) repeated: bool,
    invocation: InvocationId,
}

/// Takes the message into the queue, or into those of all who subscribe to the topic; or says that it was there before.
pub(in super::super) fn publish(edit: &mut Edit<'_>, publish: &Publish) -> Result<Effected, Fault> {
    bounds::check(publish)?;
    hops::check(hops_of(edit, publish))?;
    let place = &publish.queue;
    if let Some(queue) = edit.get::<Queue>(&keys::queue(place))? {
        queue.check_kept(place)?;
        let desk = Desk::at(edit, place, queue)?;
        return Ok(take_in(desk, &Coming::of(publish, QUEUE))?.told());
    }
    match edit.get::<Topic>(&keys::topic(place))? {
        Some(topic) => topic::spread(edit, topic, publish),
        None => Err(Refusal::of(Reason::Nowhere, place).into()),
    }
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
    hops::check(hops_of(edit, &publish))?;
    let made = || Queue::told(Settings::DEFAULT, Some(target));
    let desk = Desk::open_or_make(edit, &publish.queue, made)?;
    Ok(Outcome::Performed(vec![take_in(desk, &Coming::of(&publish, ASYNC))?.told()]))
}

impl Taken {
    const fn told(self) -> Effected {
        let Self { message, repeated, invocation } = self;
        Effected::Published { message, repeated, invocation }
    }
}

/// Takes the message into this queue.
pub(super) fn take_in(mut desk: Desk<'_, '_>, coming: &Coming<'_>) -> Result<Taken, Fault> {
    let Coming { publish, invocation, kind } = *coming;
    if let Some(known) = desk.repeated(publish)? {
        desk.counts.repeated += 1;
        desk.close();
        return Ok(Taken { message: known.message, repeated: true, invocation: known.invocation });
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
        invocation,
        state,
    };
    desk.enter(message, &delivery);
    let body = body(desk.edit, publish, kind);
    desk.edit.put(keys::message(desk.place, message), &body);
    desk.remember(coming, message)?;
    desk.begin(coming, message)?;
    desk.counts.published += 1;
    desk.counts.bytes = desk.counts.bytes.saturating_add(weight);
    desk.close();
    Ok(Taken { message, repeated: false, invocation })
}

/// Calls for events that stand behind a message: as it tells, but no fewer than those behind whoever publishes it.
fn hops_of(edit: &Edit<'_>, publish: &Publish) -> u64 {
    hops::told(&publish.attributes).unwrap_or_default().max(edit.hops)
}

fn body(edit: &Edit<'_>, publish: &Publish, kind: &str) -> Message {
    let (published_ms, hops) = (edit.moment.now_ms, hops_of(edit, publish));
    let mut attributes = publish.attributes.clone();
    if hops > 0 {
        attributes.insert(hops::ATTRIBUTE.to_owned(), hops.to_string());
    }
    Message {
        source: publish.source.clone(),
        id: publish.message_id(),
        attributes,
        published_ms,
        data: publish.data.clone(),
        kind: kind.to_owned(),
        http: publish.http.clone(),
    }
}
