//! Queues and messages read off a view.

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::{Name, Place};
use super::super::op::Span;
use super::super::record::{Claim, Counts, Delivery, Message, Queue, State, Ticket};
use super::super::{keys, view};

/// A message, with how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// Its number in the group.
    pub message: u64,
    /// What was published.
    pub body: Message,
    /// How far it is.
    pub delivery: Delivery,
}

/// A queue's settings; none: there is no such queue.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn queue(reader: &dyn Reader, queue: &Place) -> Result<Option<Queue>, Stop> {
    view::get(reader, &keys::queue(queue))
}

/// What a queue holds, and what became of all that it held.
///
/// # Errors
/// When they cannot be read.
pub fn counts(reader: &dyn Reader, queue: &Place) -> Result<Counts, Stop> {
    Ok(view::get(reader, &keys::counts(queue))?.unwrap_or_default())
}

/// Queues that have something to be claimed, in the order of their places, those after `after`, as many as `most` and no
/// more than [`PAGE_MAX`]: not paused, with a target, and with ready messages.
///
/// # Errors
/// When they cannot be read.
pub fn active(reader: &dyn Reader, after: Option<&Place>, most: usize) -> Result<Vec<(Place, Queue)>, Stop> {
    let mut found = Vec::new();
    for row in view::keys(reader, &keys::active_after(after), most.min(PAGE_MAX))? {
        let place = keys::place_of(&row).ok_or_else(|| unreadable("an active queue's row"))?;
        let queue = view::get(reader, &keys::queue(&place))?;
        found.push((place, queue.ok_or_else(|| unreadable("an active queue"))?));
    }
    Ok(found)
}

/// The queues of a namespace in the order of their names, those after `after`, as many as `most` and no more than
/// [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn queues(
    reader: &dyn Reader,
    namespace: &Namespace,
    after: Option<&Name>,
    most: usize,
) -> Result<Vec<(Place, Queue)>, Stop> {
    queues_in(reader, &keys::queues_after(namespace, after), most)
}

/// The queues of all namespaces, the first ones, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn all_queues(reader: &dyn Reader, most: usize) -> Result<Vec<(Place, Queue)>, Stop> {
    queues_in(reader, &keys::all_queues(), most)
}

fn queues_in(
    reader: &dyn Reader,
    (from, to): &(Bytes, Bytes),
    most: usize,
) -> Result<Vec<(Place, Queue)>, Stop> {
    let mut found = Vec::new();
    for record in reader.scan(from, to).take(most.min(PAGE_MAX)) {
        let (key, bytes) = record?;
        let place = keys::place_of(&key).ok_or_else(|| unreadable("a queue's key"))?;
        found.push((place, view::decoded(&bytes)?));
    }
    Ok(found)
}

/// One message, which a claim names.
///
/// # Errors
/// When it cannot be read.
pub fn message(reader: &dyn Reader, queue: &Place, message: u64) -> Result<Option<Peeked>, Stop> {
    let Some(delivery) = view::get(reader, &keys::delivery(queue, message))? else { return Ok(None) };
    let body = view::get(reader, &keys::message(queue, message))?;
    let body = body.ok_or_else(|| unreadable("a message without a body"))?;
    Ok(Some(Peeked { message, body, delivery }))
}

/// The claim of an attempt, while it holds the message.
///
/// # Errors
/// When it cannot be read.
pub fn held(reader: &dyn Reader, ticket: &Ticket) -> Result<Option<Claim>, Stop> {
    let delivery: Option<Delivery> = view::get(reader, &keys::delivery(&ticket.queue, ticket.message))?;
    Ok(delivery.and_then(|delivery| match delivery.state {
        State::Claimed(claim) if claim.fence == ticket.fence => Some(claim),
        State::Claimed(_) | State::Ready | State::Delayed { .. } | State::Behind { .. } | State::Dead(_) => {
            None
        }
    }))
}

/// The messages that are claimed next, the first of them first, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn ready(reader: &dyn Reader, queue: &Place, most: usize) -> Result<Vec<Peeked>, Stop> {
    let range = keys::ready_range(queue, counts(reader, queue)?.ready_from);
    peek(reader, queue, &view::keys(reader, &range, most.min(PAGE_MAX))?)
}

/// Dead letters of a span, the oldest message first, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn dead(reader: &dyn Reader, queue: &Place, span: Span, most: usize) -> Result<Vec<Peeked>, Stop> {
    peek(reader, queue, &view::keys(reader, &keys::dead_span(queue, span), most.min(PAGE_MAX))?)
}

fn peek(reader: &dyn Reader, queue: &Place, rows: &[Bytes]) -> Result<Vec<Peeked>, Stop> {
    let mut peeked = Vec::with_capacity(rows.len());
    for row in rows {
        let number = keys::message_number(row).ok_or_else(|| unreadable("a message's row"))?;
        peeked.extend(message(reader, queue, number)?);
    }
    Ok(peeked)
}
