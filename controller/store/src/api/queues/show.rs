//! Queues and messages as a person sees them.

use coracle_proto::pb::{DeadLetter, QueueDetail, QueueReply, WaitingMessage};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::View;

use super::super::leading::{sequence, unreadable};
use super::super::process::became;
use super::super::{spec, wire};
use crate::model::{self, Peeked, Place, Queue, State};

/// The queue, or a refusal.
pub(super) fn exists(view: &View, queue: &Place) -> Result<Queue, Refusal> {
    let found = model::queue(view, queue).map_err(|stop| unreadable(&stop))?;
    found.ok_or_else(|| Refusal::new(Code::QueueNotFound, format!("there is no queue '{queue}'")))
}

/// With the queue as it is now, if it is there.
pub(super) fn reply(view: &View, place: &Place) -> Result<QueueReply, Refusal> {
    let queue = model::queue(view, place).map_err(|stop| unreadable(&stop))?;
    let queue = queue.map(|queue| detail(view, place, queue)).transpose()?;
    Ok(QueueReply { queue, sequence: sequence(view)? })
}

pub(super) fn detail(view: &View, place: &Place, queue: Queue) -> Result<QueueDetail, Refusal> {
    let counts = model::counts(view, place).map_err(|stop| unreadable(&stop))?;
    let spec = spec::to_wire(&queue);
    Ok(QueueDetail {
        queue: place.name.to_string(),
        function: queue.target.map_or_else(String::new, |target| target.to_string()),
        paused: queue.paused,
        ends_when_empty: queue.ends_when_empty,
        ready: counts.ready,
        delayed: counts.delayed,
        behind: counts.behind,
        claimed: counts.claimed,
        dead: counts.dead,
        bytes: counts.bytes,
        spec: Some(spec),
        totals: became(&counts).into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
    })
}

pub(super) fn letter(view: &View, peeked: Peeked, body: bool) -> Result<DeadLetter, Refusal> {
    let seen = model::invocation(view, peeked.delivery.invocation).map_err(|stop| unreadable(&stop))?;
    let until_ms = match peeked.delivery.state {
        State::Dead(burial) => burial.until_ms,
        State::Ready | State::Delayed { .. } | State::Behind { .. } | State::Claimed(_) => 0,
    };
    let body = body.then(|| wire::body_to_wire(peeked.body));
    Ok(DeadLetter { record: seen.map(wire::record), until_ms, body })
}

pub(super) fn waiting(view: &View, peeked: Peeked, body: bool) -> Result<WaitingMessage, Refusal> {
    let seen = model::invocation(view, peeked.delivery.invocation).map_err(|stop| unreadable(&stop))?;
    let body = body.then(|| wire::body_to_wire(peeked.body));
    Ok(WaitingMessage { record: seen.map(wire::record), body, group: peeked.delivery.group })
}
