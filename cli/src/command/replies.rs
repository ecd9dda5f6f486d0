//! Queues and topics to which the answers of functions go (`reply`): they are there, and are not taken away unasked.

use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::events::Events;
use super::queue::all_queues;
use super::queue::name::QueueId;
use super::settings::present;
use super::topic;
use crate::exit::{Exit, Failure};
use crate::manifest::Settings;

/// Where the answers of a queue's function go.
pub(super) fn reply_of(queue: &pb::QueueDetail) -> Option<&str> {
    let reply = queue.spec.as_ref()?.delivery.as_ref()?.reply.as_str();
    Some(reply).filter(|reply| !reply.is_empty())
}

/// Refuses what nobody would hear.
pub(super) async fn check(
    settings: &Settings,
    namespace: &Namespace,
    events: &mut Events,
) -> Result<(), Failure> {
    let Some(reply) = settings.delivery.reply.as_deref().filter(|reply| !reply.is_empty()) else {
        return Ok(());
    };
    let id = QueueId { namespace: namespace.clone(), queue: reply.to_owned() };
    if present(events, &id).await?.is_some()
        || topic::all(events, namespace).await?.iter().any(|it| it.topic == reply)
    {
        return Ok(());
    }
    let sentence = format!("--reply: there is no queue or topic '{id}'");
    Err(Refusal::new(Code::QueueNotFound, sentence).into())
}

/// Refuses to have it deleted where answers go there.
pub(super) async fn refuse(events: &mut Events, id: &FunctionId) -> Result<(), Failure> {
    let queues = all_queues(events, "queues", &id.namespace, "").await?;
    let here = |it: &&pb::QueueDetail| reply_of(it) == Some(id.name.as_str()) && it.queue != id.name.as_str();
    let all: Vec<_> = queues.iter().filter(here).map(|it| it.queue.as_str()).collect();
    if all.is_empty() {
        return Ok(());
    }
    let sentence = "they would go nowhere; --force deletes it all the same";
    Err(Failure::new(
        Exit::Conflict,
        format!("'{id}' gets the answers to messages of {}: {sentence}", all.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{Fake, FakeStore, Kept, Script, queue};
    use crate::manifest::Delivery;

    #[tokio::test]
    async fn answers_go_to_what_is_there_and_keep_it_there() {
        let mut jobs = queue("jobs", "work");
        let delivery = pb::DeliverySpec { reply: "done".to_owned(), ..pb::DeliverySpec::default() };
        jobs.spec = Some(pb::QueueSpec { delivery: Some(delivery), ..pb::QueueSpec::default() });
        let news = pb::TopicDetail { topic: "news".to_owned(), ..pb::TopicDetail::default() };
        let queues = vec![jobs, queue("done", "")];
        let store = FakeStore::start(Kept { queues, topics: vec![news], ..Kept::default() }).await;
        let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
        let mut events = Events::of(node.client().await).unwrap();
        let namespace = Namespace::default();
        for (reply, is_there) in [("", true), ("done", true), ("news", true), ("dnoe", false)] {
            let delivery = Delivery { reply: Some(reply.to_owned()), ..Delivery::default() };
            let settings = Settings { delivery, ..Settings::default() };
            let checked = check(&settings, &namespace, &mut events).await;
            assert_eq!(checked.is_ok(), is_there, "{reply}: {checked:?}");
        }
        let failure = refuse(&mut events, &"done".parse().unwrap()).await.unwrap_err();
        assert!(failure.exit == Exit::Conflict && failure.message.contains("messages of jobs"), "{failure}");
        assert!(refuse(&mut events, &"jobs".parse().unwrap()).await.is_ok());
    }
}
