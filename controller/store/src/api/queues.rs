//! Queues and their dead letters, for a person who looks after them.

use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use coracle_proto::pb::queues_server::Queues;
use coracle_proto::pb::{
    DeadLetter, DeadLettersReply, DeadLettersRequest, EventsPlace, ListQueuesReply, ListQueuesRequest,
    MoveMessagesReply, MoveMessagesRequest, QueueDetail,
};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::View;
use tonic::{Request, Response, Status};

use super::leading::{Leading, sequence, unreadable};
use super::process::became;
use super::wire;
use crate::app::Context;
use crate::model::{self, Kept, OP_STEPS_MAX, Op, Outcome, Peeked, Place, Queue, Span, State};

/// Queues of one answer, and records of a page of dead letters unless it is told otherwise.
const QUEUES_MAX: usize = 1000;
const PAGE_LETTERS: usize = 100;
/// Entries of one redrive or purge: whoever wants more asks again, and one that has left is not worked for.
const MOVE_ENTRIES_MAX: usize = 20;
/// Bodies of one answer.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// Serves the command line.
pub(crate) struct QueuesService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Queues for QueuesService {
    type PublishAllStream = futures::stream::BoxStream<'static, Result<pb::PublishAcknowledged, Status>>;

    async fn put(&self, _: Request<pb::PutQueueRequest>) -> Result<Response<pb::QueueReply>, Status> {
        Err(Status::unimplemented("put"))
    }

    async fn get(&self, _: Request<pb::GetQueueRequest>) -> Result<Response<pb::QueueReply>, Status> {
        Err(Status::unimplemented("get"))
    }

    async fn delete(
        &self,
        _: Request<pb::DeleteQueueRequest>,
    ) -> Result<Response<pb::DeleteQueueReply>, Status> {
        Err(Status::unimplemented("delete"))
    }

    async fn pause(&self, _: Request<pb::PauseQueueRequest>) -> Result<Response<pb::QueueReply>, Status> {
        Err(Status::unimplemented("pause"))
    }

    async fn publish(&self, _: Request<pb::PublishRequest>) -> Result<Response<pb::PublishReply>, Status> {
        Err(Status::unimplemented("publish"))
    }

    async fn publish_all(
        &self,
        _: Request<tonic::Streaming<pb::PublishNumbered>>,
    ) -> Result<Response<Self::PublishAllStream>, Status> {
        Err(Status::unimplemented("publish_all"))
    }

    async fn peek(&self, _: Request<pb::PeekRequest>) -> Result<Response<pb::PeekReply>, Status> {
        Err(Status::unimplemented("peek"))
    }

    async fn list(&self, request: Request<ListQueuesRequest>) -> Result<Response<ListQueuesReply>, Status> {
        let ListQueuesRequest { place, function, .. } = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let view = leading.view().await?;
        let queues = if function.is_empty() {
            let namespace = namespace.parse().in_field("place.namespace")?;
            model::queues(&view, &namespace, None, QUEUES_MAX).map_err(|stop| unreadable(&stop))?
        } else {
            let function = FunctionId::parse(&namespace, &function).in_field("function")?;
            let place = Place::of_function(&function);
            let queue = model::queue(&view, &place).map_err(|stop| unreadable(&stop))?;
            queue.map(|queue| (place, queue)).into_iter().collect()
        };
        let detail = |(place, queue)| detail(&view, &place, queue);
        Ok(Response::new(ListQueuesReply {
            queues: queues.into_iter().map(detail).collect::<Result<_, _>>()?,
            after: String::new(),
        }))
    }

    async fn dead_letters(
        &self,
        request: Request<DeadLettersRequest>,
    ) -> Result<Response<DeadLettersReply>, Status> {
        let DeadLettersRequest { place, queue, from, limit, bodies } = request.into_inner();
        let (leading, queue) = self.queue(place, &queue)?;
        let view = leading.view().await?;
        exists(&view, &queue)?;
        let most = if limit == 0 { PAGE_LETTERS } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let span = Span { from, to: u64::MAX };
        let found = model::dead(&view, &queue, span, most).map_err(|stop| unreadable(&stop))?;
        let whole = found.len() >= most.min(model::PAGE_MAX);
        let mut next = if whole { found.last().map_or(0, |last| last.message.saturating_add(1)) } else { 0 };
        let (mut letters, mut bytes) = (Vec::with_capacity(found.len()), 0);
        for peeked in found {
            bytes += if bodies { peeked.body.data.len() } else { 0 };
            if bytes > PAGE_BYTES_MAX && !letters.is_empty() {
                next = peeked.message;
                break;
            }
            letters.push(letter(&view, peeked, bodies)?);
        }
        Ok(Response::new(DeadLettersReply { letters, next }))
    }

    async fn redrive(
        &self,
        request: Request<MoveMessagesRequest>,
    ) -> Result<Response<MoveMessagesReply>, Status> {
        let MoveMessagesRequest { place, queue, from, to, .. } = request.into_inner();
        let (leading, queue) = self.queue(place, &queue)?;
        let steps = u32::try_from(OP_STEPS_MAX).unwrap_or(u32::MAX);
        let op = |span| Op::Redrive { queue: queue.clone(), span, steps };
        Ok(Response::new(moved(&leading, (from, to), op).await?))
    }

    async fn purge(
        &self,
        request: Request<MoveMessagesRequest>,
    ) -> Result<Response<MoveMessagesReply>, Status> {
        let MoveMessagesRequest { place, queue, from, to, .. } = request.into_inner();
        let (leading, queue) = self.queue(place, &queue)?;
        let steps = u32::try_from(OP_STEPS_MAX).unwrap_or(u32::MAX);
        let op = |span| Op::Purge { queue: queue.clone(), kept: Kept::Dead, span, steps };
        Ok(Response::new(moved(&leading, (from, to), op).await?))
    }
}

impl QueuesService {
    fn queue(&self, place: Option<EventsPlace>, queue: &str) -> Result<(Leading, Place), Refusal> {
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        Ok((leading, wire::place(&namespace, queue, "queue")?))
    }
}

/// In steps of their own entries: others of the group go on meanwhile. What was accepted after it began is not meant, nor what it has
/// dealt with already and dies again.
async fn moved(
    leading: &Leading,
    (from, to): (u64, u64),
    op: impl Fn(Span) -> Op,
) -> Result<MoveMessagesReply, Refusal> {
    let to = match to {
        0 => sequence(&leading.view().await?)?.saturating_add(1),
        to => to,
    };
    let mut reply = MoveMessagesReply { moved: 0, next: from, to };
    for _ in 0..MOVE_ENTRIES_MAX {
        let (moved, more, next) = match leading.done(None, op(Span { from: reply.next, to })).await {
            Ok(Outcome::Moved { moved, more, next }) => (moved, more, next),
            // What was done until now is told; whoever goes on is told the rest.
            Err(_) if reply.moved > 0 => break,
            Err(refusal) => return Err(refusal),
            Ok(_) => (0, false, 0),
        };
        reply.moved += u64::from(moved);
        // Messages are numbered from 1 on.
        reply.next = if more { next.max(1) } else { 0 };
        if !more {
            break;
        }
    }
    Ok(reply)
}

fn exists(view: &View, queue: &Place) -> Result<Queue, Refusal> {
    let found = model::queue(view, queue).map_err(|stop| unreadable(&stop))?;
    found.ok_or_else(|| Refusal::new(Code::QueueNotFound, format!("there is no queue '{queue}'")))
}

fn detail(view: &View, place: &Place, queue: Queue) -> Result<QueueDetail, Refusal> {
    let counts = model::counts(view, place).map_err(|stop| unreadable(&stop))?;
    Ok(QueueDetail {
        queue: place.name.to_string(),
        function: queue.target.map_or_else(String::new, |target| target.to_string()),
        paused: queue.paused,
        ready: counts.ready,
        delayed: counts.delayed,
        behind: counts.behind,
        claimed: counts.claimed,
        dead: counts.dead,
        bytes: counts.bytes,
        spec: None,
        totals: became(&counts).into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
    })
}

fn letter(view: &View, peeked: Peeked, body: bool) -> Result<DeadLetter, Refusal> {
    let seen = model::invocation(view, peeked.delivery.invocation).map_err(|stop| unreadable(&stop))?;
    let until_ms = match peeked.delivery.state {
        State::Dead(burial) => burial.until_ms,
        State::Ready | State::Delayed { .. } | State::Behind { .. } | State::Claimed(_) => 0,
    };
    let body = body.then(|| wire::body_to_wire(peeked.body));
    Ok(DeadLetter { record: seen.map(wire::record), until_ms, body })
}

#[cfg(test)]
mod tests;
