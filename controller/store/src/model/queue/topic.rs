//! Topics: what is published to one goes to a queue of each subscriber, to all of them or to none.

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::limits::HEARERS_MAX;
use super::super::name::{Heard, Name, Place};
use super::super::op::Publish;
use super::super::outcome::{Effected, Outcome};
use super::super::record::{Queue, Settings, Topic};
use super::super::refusal::{Reason, Refusal};
use super::super::{census, keys, luck};
use super::desk::Desk;
use super::publish::{Coming, take_in};
use super::{drop, tend};

/// What fires where the publisher does not say it.
const KIND: &str = "topic";

/// Makes it where there is none. A name is that of a queue or of a topic.
pub(in super::super) fn put_topic(edit: &mut Edit<'_>, place: &Place) -> Result<Outcome, Fault> {
    let key = keys::topic(place);
    if edit.get::<Topic>(&key)?.is_some() {
        return Ok(Outcome::Done);
    }
    if edit.get::<Queue>(&keys::queue(place))?.is_some() {
        let sentence = format!("'{place}' is a queue: give the topic another name, or delete the queue");
        return Err(Refusal::of(Reason::NameTaken, sentence).into());
    }
    census::count(edit, true)?;
    edit.put(key, &Topic::default());
    Ok(Outcome::Done)
}

/// Takes it away. The queues of those who heard it go when they are empty.
pub(in super::super) fn drop_topic(
    edit: &mut Edit<'_>,
    place: &Place,
    force: bool,
) -> Result<Outcome, Fault> {
    let topic = need(edit, place)?;
    if !force && !topic.subscribers.is_empty() {
        let names: Vec<_> = topic.subscribers.iter().map(Name::as_str).collect();
        let sentence = format!("topic '{place}' has subscribers: {}", names.join(", "));
        return Err(Refusal::of(Reason::InUse, sentence).into());
    }
    census::count(edit, false)?;
    edit.remove(&keys::topic(place));
    for function in &topic.subscribers {
        drop::release(edit, Place::of_subscriber(place, function))?;
    }
    Ok(Outcome::Done)
}

/// From now on the function hears it, by a queue that is made so or told anew.
pub(in super::super) fn subscribe(
    edit: &mut Edit<'_>,
    place: &Place,
    function: &Name,
    settings: Settings,
) -> Result<Outcome, Fault> {
    let mut topic = need(edit, place)?;
    let queue = Place::of_subscriber(place, function);
    let queue = queue.map_err(|error| Refusal::of(Reason::Invalid, error))?;
    tend::put(edit, &queue, settings, Some(function.clone()))?;
    if let Err(at) = topic.subscribers.binary_search(function) {
        topic.subscribers.insert(at, function.clone());
        let count = topic.subscribers.len();
        if count > HEARERS_MAX {
            let subject = format!("topic '{place}' would have {count} subscribers");
            return Err(Refusal::over_size(Reason::ListFull, subject, count, HEARERS_MAX).into());
        }
        edit.put(keys::topic(place), &topic);
    }
    Ok(Outcome::Done)
}

/// It hears nothing new; what waits in its queue is still delivered, and the queue goes with the last of it.
pub(in super::super) fn unsubscribe(
    edit: &mut Edit<'_>,
    place: &Place,
    function: &Name,
) -> Result<Outcome, Fault> {
    need(edit, place)?;
    forget(edit, &Heard { place: place.clone(), function: function.clone() })?;
    drop::release(edit, Place::of_subscriber(place, function))?;
    Ok(Outcome::Done)
}

/// The function is no subscriber any more, if it was one.
pub(super) fn forget(edit: &mut Edit<'_>, heard: &Heard) -> Result<(), Fault> {
    let key = keys::topic(&heard.place);
    let Some(mut topic) = edit.get::<Topic>(&key)? else { return Ok(()) };
    if let Ok(at) = topic.subscribers.binary_search(&heard.function) {
        topic.subscribers.remove(at);
        edit.put(key, &topic);
    }
    Ok(())
}

/// A copy for each subscriber, each an invocation of its own. Whoever is full refuses it for all.
pub(super) fn spread(edit: &mut Edit<'_>, topic: Topic, publish: &Publish) -> Result<Effected, Fault> {
    let whose = || format!("the subscribers of topic '{}'", publish.queue);
    edit.copy(topic.subscribers.len(), whose)?;
    let (mut copies, mut repeated) = (0_u32, 0_u32);
    for function in &topic.subscribers {
        let place = Place::of_subscriber(&publish.queue, function);
        let place = place.map_err(|error| Refusal::of(Reason::Invalid, error))?;
        let invocation = luck::invocation(edit.moment.random, edit.upcoming(), copies.into());
        let coming = Coming { invocation, ..Coming::of(publish, KIND) };
        let taken = take_in(Desk::open(edit, &place)?, &coming)?;
        copies = copies.saturating_add(1);
        repeated = repeated.saturating_add(u32::from(taken.repeated));
    }
    let all = copies > 0 && repeated == copies;
    if !all {
        let published = topic.published.saturating_add(1);
        edit.put(keys::topic(&publish.queue), &Topic { published, ..topic });
    }
    Ok(Effected::Spread { copies, repeated: all })
}

fn need(edit: &Edit<'_>, place: &Place) -> Result<Topic, Fault> {
    Ok(edit.get(&keys::topic(place))?.ok_or_else(|| Refusal::of(Reason::NoTopic, place))?)
}
