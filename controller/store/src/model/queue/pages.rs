//! Queues of a namespace and what waits in one of them, a page at a time.

use coracle_proto::id::Namespace;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::{Name, Place};
use super::super::op::Span;
use super::super::record::{Delivery, Message, Queue};
use super::super::{keys, view};
use super::read::Peeked;

/// Queues that are looked at for a page of those of one function.
const LOOKED_AT_MAX: usize = 16 * PAGE_MAX;

/// A part of a list of queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePage {
    /// In the order of their names.
    pub queues: Vec<(Place, Queue)>,
    /// Where the next page begins: after this name. None: the list ends here.
    pub after: Option<Name>,
}

/// A part of what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The oldest first.
    pub messages: Vec<Peeked>,
    /// The message from which the next page begins. None: that is all.
    pub next: Option<u64>,
}

/// The queues of a namespace behind `after`, or those of them whose messages a function takes, as many as `most` and no more than
/// [`PAGE_MAX`]. A page may have fewer and yet not be the last one.
///
/// # Errors
/// When they cannot be read.
pub fn queue_page(
    reader: &dyn Reader,
    namespace: &Namespace,
    function: Option<&Name>,
    after: Option<&Name>,
    most: usize,
) -> Result<QueuePage, Stop> {
    let (from, to) = keys::queues_after(namespace, after);
    let most = most.clamp(1, PAGE_MAX);
    let (mut queues, mut last) = (Vec::new(), None);
    for (looked_at, record) in reader.scan(&from, &to).enumerate() {
        if queues.len() == most || looked_at == LOOKED_AT_MAX {
            return Ok(QueuePage { queues, after: last });
        }
        let (key, bytes) = record?;
        let place = keys::place_of(&key).ok_or_else(|| unreadable("a queue's key"))?;
        let queue: Queue = view::decoded(&bytes)?;
        last = Some(place.name.clone());
        if function.is_none() || queue.target.as_ref() == function {
            queues.push((place, queue));
        }
    }
    Ok(QueuePage { queues, after: None })
}

/// What is ready, delayed or behind, from message `from` on, as many as `most` and no more than [`PAGE_MAX`], which are also the messages
/// that are looked at.
///
/// # Errors
/// When they cannot be read.
pub fn waiting(reader: &dyn Reader, queue: &Place, from: u64, most: usize) -> Result<Waiting, Stop> {
    let (from, to) = keys::delivery_span(queue, Span { from, to: u64::MAX });
    let most = most.clamp(1, PAGE_MAX);
    let mut messages = Vec::new();
    for (looked_at, record) in reader.scan(&from, &to).enumerate() {
        let (key, bytes) = record?;
        let message = keys::message_number(&key).ok_or_else(|| unreadable("a message's row"))?;
        if messages.len() == most || looked_at == PAGE_MAX {
            return Ok(Waiting { messages, next: Some(message) });
        }
        let delivery: Delivery = view::decoded(&bytes)?;
        if delivery.state.is_waiting() {
            let body: Option<Message> = view::get(reader, &keys::message(queue, message))?;
            let body = body.ok_or_else(|| unreadable("a message without a body"))?;
            messages.push(Peeked { message, body, delivery });
        }
    }
    Ok(Waiting { messages, next: None })
}
