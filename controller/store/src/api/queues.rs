//! Queues: told, filled, looked into and looked after.

mod publish;
mod show;
mod steps;

use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::pb::queues_server::Queues;
use coracle_proto::pb::{
    DeadLettersReply, DeadLettersRequest, DeleteQueueReply, DeleteQueueRequest, EventsPlace, GetQueueRequest,
    ListQueuesReply, ListQueuesRequest, MoveMessagesReply, MoveMessagesRequest, PauseQueueRequest, PeekReply,
    PeekRequest, PublishAcknowledged, PublishNumbered, PublishReply, PublishRequest, PutQueueRequest,
    QueueReply,
};
use futures::stream::BoxStream;
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::leading::{Leading, unreadable};
use super::spec;
use crate::app::Context;
use crate::model::{self, Kept, Op, PAGE_MAX, Span};

/// Messages of a page, unless it is told otherwise.
const PAGE_MESSAGES: usize = 100;
/// Bytes of the rows of one answer.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// Serves gateways and the command line.
pub(crate) struct QueuesService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Queues for QueuesService {
    type PublishAllStream = BoxStream<'static, Result<PublishAcknowledged, Status>>;

    async fn put(&self, request: Request<PutQueueRequest>) -> Result<Response<QueueReply>, Status> {
        let PutQueueRequest { place, request, queue, spec, dry_run } = request.into_inner();
        let (leading, queue) = spec::named(&self.context, place, &queue, "queue")?;
        let spec = spec.unwrap_or_default();
        let target = match &spec.function[..] {
            "" => None,
            function => Some(spec::function(queue.namespace.as_str(), function, "spec.function")?),
        };
        let op = Op::PutQueue { queue: queue.clone(), settings: spec::settings(&spec)?, target };
        let view = leading.done_or_rehearsed(request, op, dry_run).await?;
        Ok(Response::new(show::reply(&view, &queue)?))
    }

    async fn get(&self, request: Request<GetQueueRequest>) -> Result<Response<QueueReply>, Status> {
        let GetQueueRequest { place, queue } = request.into_inner();
        let (leading, queue) = spec::any(&self.context, place, &queue, "queue")?;
        let view = leading.view().await?;
        show::exists(&view, &queue)?;
        Ok(Response::new(show::reply(&view, &queue)?))
    }

    async fn list(&self, request: Request<ListQueuesRequest>) -> Result<Response<ListQueuesReply>, Status> {
        let ListQueuesRequest { place, function, after, limit } = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let function = match &function[..] {
            "" => None,
            function => Some(spec::function(&namespace, function, "function")?),
        };
        let namespace = namespace.parse().in_field("place.namespace")?;
        let (after, most) = (spec::after(&after)?, spec::page(limit, PAGE_MAX));
        let view = leading.view().await?;
        let page = model::queue_page(&view, &namespace, function.as_ref(), after.as_ref(), most);
        let page = page.map_err(|stop| unreadable(&stop))?;
        let detail = |(place, queue)| show::detail(&view, &place, queue);
        Ok(Response::new(ListQueuesReply {
            queues: page.queues.into_iter().map(detail).collect::<Result<_, _>>()?,
            after: page.after.map_or_else(String::new, |after| after.to_string()),
        }))
    }

    async fn delete(
        &self,
        request: Request<DeleteQueueRequest>,
    ) -> Result<Response<DeleteQueueReply>, Status> {
        let DeleteQueueRequest { place, request, queue, force } = request.into_inner();
        let (leading, queue) = spec::any(&self.context, place, &queue, "queue")?;
        let purged = steps::deleted(&leading, request, &queue, force).await?;
        Ok(Response::new(DeleteQueueReply { purged, sequence: leading.sequence()? }))
    }

    async fn pause(&self, request: Request<PauseQueueRequest>) -> Result<Response<QueueReply>, Status> {
        let PauseQueueRequest { place, request, queue, paused } = request.into_inner();
        let (leading, queue) = spec::any(&self.context, place, &queue, "queue")?;
        leading.done(request, Op::PauseQueue { queue: queue.clone(), paused }).await?;
        Ok(Response::new(show::reply(&leading.served.replica.state(), &queue)?))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishReply>, Status> {
        Ok(Response::new(publish::publish(&self.context, request.into_inner()).await?))
    }

    async fn publish_all(
        &self,
        request: Request<Streaming<PublishNumbered>>,
    ) -> Result<Response<Self::PublishAllStream>, Status> {
        Ok(Response::new(publish::publish_all(Arc::clone(&self.context), request.into_inner())))
    }

    async fn peek(&self, request: Request<PeekRequest>) -> Result<Response<PeekReply>, Status> {
        let PeekRequest { place, queue, from, limit, bodies } = request.into_inner();
        let (leading, queue) = spec::any(&self.context, place, &queue, "queue")?;
        let view = leading.view().await?;
        show::exists(&view, &queue)?;
        let found = model::waiting(&view, &queue, from, spec::page(limit, PAGE_MESSAGES));
        let found = found.map_err(|stop| unreadable(&stop))?;
        let mut next = found.next.unwrap_or_default();
        let (mut messages, mut bytes) = (Vec::with_capacity(found.messages.len()), 0);
        for peeked in found.messages {
            let (number, row) = (peeked.message, show::waiting(&view, peeked, bodies)?);
            bytes += row.encoded_len();
            if bytes > PAGE_BYTES_MAX && !messages.is_empty() {
                next = number;
                break;
            }
            messages.push(row);
        }
        Ok(Response::new(PeekReply { messages, next }))
    }

    async fn dead_letters(
        &self,
        request: Request<DeadLettersRequest>,
    ) -> Result<Response<DeadLettersReply>, Status> {
        let DeadLettersRequest { place, queue, from, limit, bodies } = request.into_inner();
        let (leading, queue) = spec::any(&self.context, place, &queue, "queue")?;
        let view = leading.view().await?;
        show::exists(&view, &queue)?;
        let most = spec::page(limit, PAGE_MESSAGES);
        let span = Span { from, to: u64::MAX };
        let found = model::dead(&view, &queue, span, most).map_err(|stop| unreadable(&stop))?;
        let whole = found.len() >= most;
        let mut next = if whole { found.last().map_or(0, |last| last.message.saturating_add(1)) } else { 0 };
        let (mut letters, mut bytes) = (Vec::with_capacity(found.len()), 0);
        for peeked in found {
            let (number, row) = (peeked.message, show::letter(&view, peeked, bodies)?);
            bytes += row.encoded_len();
            if bytes > PAGE_BYTES_MAX && !letters.is_empty() {
                next = number;
                break;
            }
            letters.push(row);
        }
        Ok(Response::new(DeadLettersReply { letters, next }))
    }

    async fn redrive(
        &self,
        request: Request<MoveMessagesRequest>,
    ) -> Result<Response<MoveMessagesReply>, Status> {
        let MoveMessagesRequest { place, queue, from, to, .. } = request.into_inner();
        let (leading, queue) = spec::any(&self.context, place, &queue, "queue")?;
        let op = |span| Op::Redrive { queue: queue.clone(), span, steps: steps::most() };
        Ok(Response::new(steps::moved(&leading, (from, to), op).await?))
    }

    async fn purge(
        &self,
        request: Request<MoveMessagesRequest>,
    ) -> Result<Response<MoveMessagesReply>, Status> {
        let MoveMessagesRequest { place, queue, from, to, waiting } = request.into_inner();
        let (leading, queue) = spec::any(&self.context, place, &queue, "queue")?;
        let kept = if waiting { Kept::Waiting } else { Kept::Dead };
        let op = |span| Op::Purge { queue: queue.clone(), kept, span, steps: steps::most() };
        Ok(Response::new(steps::moved(&leading, (from, to), op).await?))
    }
}

#[cfg(test)]
mod manner_tests;
#[cfg(test)]
mod tests;
