//! Topics over a real group: made, heard, listed, deleted, and refused by name.

use coracle_proto::pb::QueueSpec;

use super::super::bench::{of, refused, request};
use super::*;
use crate::world::World;

impl World {
    fn put_topic_of(&self, topic: &str, dry_run: bool) -> Request<PutTopicRequest> {
        let (place, topic) = (self.place(), topic.to_owned());
        Request::new(PutTopicRequest { place, request: request(), topic, dry_run })
    }

    fn subscribe_of(&self, topic: &str, spec: QueueSpec, dry_run: bool) -> Request<SubscribeRequest> {
        let (place, topic, spec) = (self.place(), topic.to_owned(), Some(spec));
        Request::new(SubscribeRequest { place, request: request(), topic, spec, dry_run })
    }

    async fn delete_topic(&self, force: bool) -> Result<Response<DeleteTopicReply>, Status> {
        let (place, topic) = (self.place(), "t".to_owned());
        self.topics()
            .delete(Request::new(DeleteTopicRequest { place, request: request(), topic, force }))
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_heard_and_deleted() {
    let world = World::start().await;
    let topics = world.topics();
    let made = topics.put(world.put_topic_of("t", false)).await.unwrap().into_inner();
    assert!(made.topic.unwrap().subscribers.is_empty());
    let heard = topics.subscribe(world.subscribe_of("t", of("f"), false)).await.unwrap().into_inner();
    let subscribers = heard.topic.unwrap().subscribers;
    let told: Vec<_> = subscribers.iter().map(|it| (&it.function[..], &it.queue[..])).collect();
    assert_eq!(told, [("f", "topic/t/f")]);
    let (code, sentence) = refused(world.delete_topic(false).await);
    assert_eq!(
        (code, &sentence[..]),
        (Code::Conflict, "topic 'shop/t' has subscribers: f; --force deletes it all the same")
    );
    let (place, topic) = (world.place(), "t".to_owned());
    let leave = UnsubscribeRequest { place, request: request(), topic, function: "f".into() };
    let left = topics.unsubscribe(Request::new(leave)).await.unwrap().into_inner();
    assert!(left.topic.unwrap().subscribers.is_empty());
    world.delete_topic(false).await.unwrap();
    let (code, sentence) = refused(world.delete_topic(false).await);
    assert_eq!((code, &sentence[..]), (Code::QueueNotFound, "there is no topic 'shop/t'"));
    let get = GetTopicRequest { place: world.place(), topic: "t".into() };
    assert_eq!(refused(topics.get(Request::new(get)).await).0, Code::QueueNotFound);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_asked_is_checked_and_not_made() {
    let world = World::start().await;
    let topics = world.topics();
    assert_eq!(topics.put(world.put_topic_of("t", true)).await.unwrap().into_inner().topic, None);
    let (code, _) = refused(topics.subscribe(world.subscribe_of("t", of("f"), true)).await);
    assert_eq!(code, Code::QueueNotFound);
    topics.put(world.put_topic_of("t", false)).await.unwrap();
    let heard = topics.subscribe(world.subscribe_of("t", of("f"), true)).await.unwrap().into_inner();
    assert!(heard.topic.unwrap().subscribers.is_empty());
    world.put_queue("q", of("f")).await;
    assert_eq!(refused(topics.put(world.put_topic_of("q", true)).await).0, Code::Conflict);
    for (topic, function, field) in
        [("a/b", "f", "'topic'"), ("t", "", "'spec.function'"), ("t", "F", "'spec.function'")]
    {
        let (code, sentence) = refused(topics.subscribe(world.subscribe_of(topic, of(function), true)).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(sentence.contains(field), "{sentence}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_listed_in_pages() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        world.topics().put(world.put_topic_of(name, false)).await.unwrap();
    }
    let list = async |after: &str, limit| {
        let asked = ListTopicsRequest { place: world.place(), after: after.to_owned(), limit };
        let reply = world.topics().list(Request::new(asked)).await.unwrap().into_inner();
        (reply.topics.into_iter().map(|it| it.topic).collect::<Vec<_>>(), reply.after)
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(list("", 2).await, (owned(&["a", "b"]), "b".to_owned()));
    assert_eq!(list("b", 2).await, (owned(&["c"]), String::new()));
    assert_eq!(list("", 0).await.0.len(), 3);
    world.end().await;
}
