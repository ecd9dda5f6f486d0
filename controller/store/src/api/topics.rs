//! Topics, and who hears them.

use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::pb::topics_server::Topics;
use coracle_proto::pb::{
    DeleteTopicReply, DeleteTopicRequest, EventsPlace, GetTopicRequest, ListTopicsReply, ListTopicsRequest,
    PutTopicRequest, SubscribeRequest, Subscriber, TopicDetail, TopicReply, UnsubscribeRequest,
};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::View;
use tonic::{Request, Response, Status};

use super::leading::{Leading, sequence, unreadable};
use super::spec;
use crate::app::Context;
use crate::model::{self, Op, PAGE_MAX, Place, Topic};

/// Serves the command line.
pub(crate) struct TopicsService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Topics for TopicsService {
    async fn put(&self, request: Request<PutTopicRequest>) -> Result<Response<TopicReply>, Status> {
        let PutTopicRequest { place, request, topic, dry_run } = request.into_inner();
        let (leading, topic) = spec::named(&self.context, place, &topic, "topic")?;
        let op = Op::PutTopic { topic: topic.clone() };
        let view = leading.done_or_rehearsed(request, op, dry_run).await?;
        Ok(Response::new(reply(&view, &topic)?))
    }

    async fn get(&self, request: Request<GetTopicRequest>) -> Result<Response<TopicReply>, Status> {
        let GetTopicRequest { place, topic } = request.into_inner();
        let (leading, topic) = spec::named(&self.context, place, &topic, "topic")?;
        let reply = reply(&leading.view().await?, &topic)?;
        if reply.topic.is_none() {
            return Err(Refusal::new(Code::QueueNotFound, format!("there is no topic '{topic}'")).into());
        }
        Ok(Response::new(reply))
    }

    async fn list(&self, request: Request<ListTopicsRequest>) -> Result<Response<ListTopicsReply>, Status> {
        let ListTopicsRequest { place, after, limit } = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let namespace = namespace.parse().in_field("place.namespace")?;
        let (after, most) = (spec::after(&after)?, spec::page(limit, PAGE_MAX));
        let view = leading.view().await?;
        let found = model::topics(&view, &namespace, after.as_ref(), most);
        let found = found.map_err(|stop| unreadable(&stop))?;
        let last = found.last().filter(|_| found.len() == most);
        let after = last.map_or_else(String::new, |(place, _)| place.name.to_string());
        let topics = found.into_iter().map(|(place, topic)| detail(&place, &topic));
        Ok(Response::new(ListTopicsReply { topics: topics.collect::<Result<_, _>>()?, after }))
    }

    async fn delete(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicReply>, Status> {
        let DeleteTopicRequest { place, request, topic, force } = request.into_inner();
        let (leading, topic) = spec::named(&self.context, place, &topic, "topic")?;
        leading.done(request, Op::DropTopic { topic, force }).await?;
        Ok(Response::new(DeleteTopicReply { sequence: leading.sequence()? }))
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<TopicReply>, Status> {
        let SubscribeRequest { place, request, topic, spec, dry_run } = request.into_inner();
        let (leading, topic) = spec::named(&self.context, place, &topic, "topic")?;
        let spec = spec.in_field("spec")?;
        let function = spec::function(topic.namespace.as_str(), &spec.function, "spec.function")?;
        let op = Op::Subscribe { topic: topic.clone(), function, settings: spec::settings(&spec)? };
        let view = leading.done_or_rehearsed(request, op, dry_run).await?;
        Ok(Response::new(reply(&view, &topic)?))
    }

    async fn unsubscribe(
        &self,
        request: Request<UnsubscribeRequest>,
    ) -> Result<Response<TopicReply>, Status> {
        let UnsubscribeRequest { place, request, topic, function } = request.into_inner();
        let (leading, topic) = spec::named(&self.context, place, &topic, "topic")?;
        let function = spec::function(topic.namespace.as_str(), &function, "function")?;
        leading.done(request, Op::Unsubscribe { topic: topic.clone(), function }).await?;
        Ok(Response::new(reply(&leading.served.replica.state(), &topic)?))
    }
}

/// With the topic as it is now, if it is there.
fn reply(view: &View, place: &Place) -> Result<TopicReply, Refusal> {
    let topic = model::topic(view, place).map_err(|stop| unreadable(&stop))?;
    let topic = topic.map(|topic| detail(place, &topic)).transpose()?;
    Ok(TopicReply { topic, sequence: sequence(view)? })
}

fn detail(place: &Place, topic: &Topic) -> Result<TopicDetail, Refusal> {
    let one = |function| {
        let queue = Place::of_subscriber(place, function).in_field("topic")?;
        Ok::<_, Refusal>(Subscriber { function: function.to_string(), queue: queue.name.to_string() })
    };
    Ok(TopicDetail {
        topic: place.name.to_string(),
        subscribers: topic.subscribers.iter().map(one).collect::<Result<_, _>>()?,
        published: topic.published,
    })
}

#[cfg(test)]
mod tests;
