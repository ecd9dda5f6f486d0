//! Goal: topics are made, subscribed to and deleted, each once, and refusals say why.

use clap::Parser;

use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script, queue};
use crate::exit::Exit;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

async fn events(kept: Kept) -> (Events, FakeStore) {
    let store = FakeStore::start(kept).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    (Events::of(node.client().await).unwrap(), store)
}

#[test]
fn verbs_take_what_they_need() {
    let parse = |line: &str| Line::try_parse_from(["topic"].into_iter().chain(line.split(' ')));
    for good in ["create shop/news", "subscribe news --function mail --attempts 5", "delete news --force"] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in ["create topic/a/b", "subscribe news", "unsubscribe news", "get"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_topic_is_made_subscribed_to_left_and_deleted() {
    let (mut events, store) = events(Kept { lost_answers: 1, ..Kept::default() }).await;
    let id: FunctionId = "news".parse().unwrap();
    assert_eq!(put(&mut events, &id, false).await.unwrap().unwrap().topic, "news");
    let spec = pb::QueueSpec { function: "mail".to_owned(), attempts: 5, ..pb::QueueSpec::default() };
    let made = join(&mut events, &id, &spec, false).await.unwrap().unwrap();
    assert_eq!(made.subscribers[0].queue, "topic/news/mail");
    assert_eq!(all(&mut events, &id.namespace).await.unwrap().len(), 1);
    let failure = drop_topic(&mut events, &id, false).await.unwrap_err();
    assert!(failure.exit == Exit::Conflict && failure.message.contains("has subscribers"), "{failure}");
    assert!(leave(&mut events, &id, "mail").await.unwrap().unwrap().subscribers.is_empty());
    drop_topic(&mut events, &id, false).await.unwrap();
    let log = store.with(|kept| kept.log.clone());
    let expected = [
        "put topic news",
        "put topic news",
        "put subscriber news mail",
        "drop subscriber news mail",
        "drop topic news",
    ];
    assert_eq!(log, expected, "the first answer was lost");
}

#[tokio::test]
async fn the_name_of_a_queue_is_none_of_a_topic() {
    let (mut events, _store) = events(Kept { queues: vec![queue("jobs", "")], ..Kept::default() }).await;
    let failure = put(&mut events, &"jobs".parse().unwrap(), true).await.unwrap_err();
    assert!(failure.exit == Exit::Conflict && failure.message.contains("'jobs' is a queue"), "{failure}");
}

#[tokio::test]
async fn what_is_not_said_of_a_subscribers_queue_stays() {
    let told = pb::QueueSpec { messages_max: 7, attempts: 5, ..pb::QueueSpec::default() };
    let there = pb::QueueDetail { spec: Some(told), ..queue("topic/news/mail", "mail") };
    let (mut events, _store) = events(Kept { queues: vec![there], ..Kept::default() }).await;
    let said = crate::manifest::Settings { attempts: 9, ..crate::manifest::Settings::default() };
    let over = over_present(said.clone(), &mut events, &"topic/news/mail".parse().unwrap()).await.unwrap();
    assert_eq!((over.messages_max, over.attempts), (7, 9));
    let new = over_present(said.clone(), &mut events, &"topic/news/other".parse().unwrap()).await.unwrap();
    assert_eq!(new, said);
}
