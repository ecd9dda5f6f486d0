//! What somebody does who looks after a queue: settings, pause, redrive, purge.

use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::keys;
use super::super::name::{Name, Place};
use super::super::op::{Kept, Span};
use super::super::outcome::Outcome;
use super::super::record::{Queue, Settings, Topic};
use super::super::refusal::{Reason, Refusal};
use super::desk::Desk;
use super::moves::End;
use super::{bounds, drop};

/// Makes the queue, or gives it other settings. They hold for what happens from now on.
pub(in super::super) fn put(
    edit: &mut Edit<'_>,
    place: &Place,
    settings: Settings,
    target: Option<Name>,
) -> Result<Outcome, Fault> {
    bounds::check_settings(&settings)?;
    check_reply(edit, place, &settings)?;
    if edit.get::<Topic>(&keys::topic(place))?.is_some() {
        let sentence = format!("'{place}' is a topic: give the queue another name, or delete the topic");
        return Err(Refusal::of(Reason::NameTaken, sentence).into());
    }
    drop::retain(edit, place)?;
    let mut desk = Desk::open_or_make(edit, place, || Queue::told(settings.clone(), None))?;
    let queue = Queue { settings, target, ends_when_empty: false, ..desk.queue.clone() };
    desk.tell(queue);
    desk.close();
    Ok(Outcome::Done)
}

/// Answers can be published where they are to go. A name that nothing has would be told by dead letters only.
fn check_reply(edit: &Edit<'_>, place: &Place, settings: &Settings) -> Result<(), Fault> {
    let Some(name) = &settings.manner.reply else { return Ok(()) };
    let to = Place { namespace: place.namespace.clone(), name: name.clone() };
    let is_there = to == *place
        || edit.get::<Queue>(&keys::queue(&to))?.is_some()
        || edit.get::<Topic>(&keys::topic(&to))?.is_some();
    if is_there { Ok(()) } else { Err(Refusal::of(Reason::Nowhere, to).into()) }
}

/// Nothing is claimed while it is paused; what was claimed goes on.
pub(in super::super) fn pause(edit: &mut Edit<'_>, place: &Place, paused: bool) -> Result<Outcome, Fault> {
    let mut desk = Desk::open(edit, place)?;
    let queue = Queue { paused, ..desk.queue.clone() };
    desk.tell(queue);
    desk.close();
    Ok(Outcome::Done)
}

/// Gives dead letters all their attempts and their whole age anew.
pub(in super::super) fn redrive(
    edit: &mut Edit<'_>,
    place: &Place,
    span: Span,
    steps: u32,
) -> Result<Outcome, Fault> {
    each(Desk::open(edit, place)?, (Kept::Dead, span), steps, |desk, message| {
        let Some(mut delivery) = desk.delivery(message)?.filter(|it| it.state.is_dead()) else {
            return Ok(false);
        };
        desk.revive(message, &mut delivery)?;
        Ok(true)
    })
}

/// Takes messages away that wait, or dead letters; what is claimed stays.
pub(in super::super) fn purge(
    edit: &mut Edit<'_>,
    place: &Place,
    (kept, span): (Kept, Span),
    steps: u32,
) -> Result<Outcome, Fault> {
    // Also where it is being deleted: both take away.
    each(Desk::open_any(edit, place)?, (kept, span), steps, |desk, message| {
        let meant = |dead: bool, waiting: bool| match kept {
            Kept::Dead => dead,
            Kept::Waiting => waiting,
        };
        let found = desk.delivery(message)?;
        let Some(delivery) = found.filter(|it| meant(it.state.is_dead(), it.state.is_waiting())) else {
            return Ok(false);
        };
        desk.end(message, &delivery, End::Purged)?;
        Ok(true)
    })
}

/// Does it to each message of a span, as many as one operation may, and says where to go on.
fn each(
    mut desk: Desk<'_, '_>,
    (kept, span): (Kept, Span),
    steps: u32,
    mut then: impl FnMut(&mut Desk<'_, '_>, u64) -> Result<bool, Fault>,
) -> Result<Outcome, Fault> {
    let place = desk.place;
    let range = match kept {
        Kept::Dead => keys::dead_span(place, span),
        Kept::Waiting => keys::delivery_span(place, span),
    };
    let (rows, more) = desk.edit.steps(&range, usize::try_from(steps).unwrap_or(usize::MAX))?;
    let (mut moved, mut next) = (0, span.from);
    for row in rows {
        let message = keys::message_number(&row).ok_or_else(|| unreadable("a message's row"))?;
        moved += u32::from(then(&mut desk, message)?);
        next = message.saturating_add(1);
    }
    desk.close();
    Ok(Outcome::Moved { moved, more, next })
}
