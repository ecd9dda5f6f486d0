//! Topics of a fake store.

use coracle_proto::pb;
use coracle_proto::pb::topics_server::Topics;
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::super::Answer;
use super::{FakeStore, Kept};

impl Kept {
    fn find_topic(&mut self, name: &str) -> Result<&mut pb::TopicDetail, Status> {
        let missing = || Refusal::new(Code::QueueNotFound, format!("there is no topic '{name}'")).into();
        self.topics.iter_mut().find(|it| it.topic == name).ok_or_else(missing)
    }

    fn topic_reply(&mut self, name: &str) -> Answer<pb::TopicReply> {
        let topic = self.topics.iter().find(|it| it.topic == name).cloned();
        self.acknowledged(pb::TopicReply { topic, sequence: 42 })
    }
}

#[tonic::async_trait]
impl Topics for FakeStore {
    async fn put(&self, request: Request<pb::PutTopicRequest>) -> Answer<pb::TopicReply> {
        let pb::PutTopicRequest { topic: name, dry_run, .. } = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            if kept.queues.iter().any(|it| it.queue == name) {
                return Err(Refusal::new(Code::Conflict, format!("'{name}' is a queue")).into());
            }
            kept.log.push(format!("{} topic {name}", if dry_run { "dry" } else { "put" }));
            if !dry_run && kept.find_topic(&name).is_err() {
                kept.topics.push(pb::TopicDetail { topic: name.clone(), ..pb::TopicDetail::default() });
            }
            kept.topic_reply(&name)
        })
    }

    async fn get(&self, request: Request<pb::GetTopicRequest>) -> Answer<pb::TopicReply> {
        let name = request.into_inner().topic;
        self.with(|kept| {
            kept.find_topic(&name)?;
            kept.topic_reply(&name)
        })
    }

    async fn list(&self, _: Request<pb::ListTopicsRequest>) -> Answer<pb::ListTopicsReply> {
        self.with(|kept| {
            Ok(Response::new(pb::ListTopicsReply { topics: kept.topics.clone(), after: String::new() }))
        })
    }

    async fn delete(&self, request: Request<pb::DeleteTopicRequest>) -> Answer<pb::DeleteTopicReply> {
        let pb::DeleteTopicRequest { topic: name, force, .. } = request.into_inner();
        self.with(|kept| {
            let topic = kept.find_topic(&name)?;
            if !topic.subscribers.is_empty() && !force {
                return Err(Refusal::new(Code::Conflict, format!("'{name}' has subscribers")).into());
            }
            kept.topics.retain(|it| it.topic != name);
            kept.log.push(format!("drop topic {name}"));
            kept.acknowledged(pb::DeleteTopicReply { sequence: 42 })
        })
    }

    async fn subscribe(&self, request: Request<pb::SubscribeRequest>) -> Answer<pb::TopicReply> {
        let pb::SubscribeRequest { topic: name, spec, dry_run, .. } = request.into_inner();
        let spec = spec.unwrap();
        self.with(|kept| {
            kept.refused()?;
            let function = spec.function.clone();
            let queue = format!("topic/{name}/{function}");
            let topic = kept.find_topic(&name)?;
            if !dry_run && !topic.subscribers.iter().any(|it| it.function == function) {
                topic.subscribers.push(pb::Subscriber { function: function.clone(), queue: queue.clone() });
            }
            if !dry_run {
                kept.tell_queue(&queue, &spec);
            }
            kept.log.push(format!("{} subscriber {name} {function}", if dry_run { "dry" } else { "put" }));
            kept.topic_reply(&name)
        })
    }

    async fn unsubscribe(&self, request: Request<pb::UnsubscribeRequest>) -> Answer<pb::TopicReply> {
        let pb::UnsubscribeRequest { topic: name, function, .. } = request.into_inner();
        self.with(|kept| {
            kept.find_topic(&name)?.subscribers.retain(|it| it.function != function);
            kept.log.push(format!("drop subscriber {name} {function}"));
            kept.topic_reply(&name)
        })
    }
}
