//! How a function wants its messages: told, shown, given to nodes with each of them, and refused by name.

use coracle_proto::pb::{DeliveryMode, DeliverySpec, KvWatchQueue, QueueSpec};
use coracle_proto::status::Code;

use super::super::bench::{message, of, refused, request};
use super::*;
use crate::world::World;

fn wanted(delivery: DeliverySpec) -> QueueSpec {
    QueueSpec { delivery: Some(delivery), ..of("f") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_told_how_with_each_message() {
    let world = World::start().await;
    let structured = DeliverySpec {
        path: "/in".to_owned(),
        mode: DeliveryMode::Structured.into(),
        reply: "out".to_owned(),
        ..DeliverySpec::default()
    };
    let nowhere = PutQueueRequest {
        place: world.place(),
        request: request(),
        queue: "a".to_owned(),
        spec: Some(wanted(structured.clone())),
        dry_run: false,
    };
    let (code, sentence) = refused(world.queues().put(Request::new(nowhere)).await);
    assert!(code == Code::QueueNotFound && sentence.contains("'shop/out'"), "{sentence}");
    world.put_queue("out", QueueSpec::default()).await;
    let batch = DeliverySpec { batch_max: 10, batch_wait_ms: 500, ..DeliverySpec::default() };
    for (queue, spec) in [("a", wanted(structured.clone())), ("b", wanted(batch.clone())), ("c", of("f"))] {
        world.put_queue(queue, spec).await;
        world.queues().publish(Request::new(world.publish_of(queue, vec![message("1")]))).await.unwrap();
    }
    let mut told = Vec::new();
    let mut heard = 0;
    while told.len() < 3 {
        let reply = world.take_all(heard).await;
        heard = reply.number;
        told.extend(reply.deliveries.into_iter().map(|it| (it.ticket.unwrap().queue, it.how)));
    }
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let expected =
        [("a".to_owned(), Some(structured.clone())), ("b".to_owned(), Some(batch)), ("c".to_owned(), None)];
    assert_eq!(told, expected);
    let get = GetQueueRequest { place: world.place(), queue: "a".into() };
    let shown = world.queues().get(Request::new(get)).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(shown.spec.unwrap().delivery, Some(structured));
    world.put_queue("a", of("f")).await;
    let get = GetQueueRequest { place: world.place(), queue: "a".into() };
    let shown = world.queues().get(Request::new(get)).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(shown.spec.unwrap().delivery, None, "it is told anew");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_by_name() {
    let world = World::start().await;
    for (wrong, field) in [
        (DeliverySpec { path: "in".into(), ..DeliverySpec::default() }, "delivery.path"),
        (DeliverySpec { batch_max: 1, ..DeliverySpec::default() }, "delivery.batch_max"),
        (DeliverySpec { batch_max: 257, ..DeliverySpec::default() }, "delivery.batch_max"),
        (
            DeliverySpec { batch_max: 2, batch_wait_ms: 60_001, ..DeliverySpec::default() },
            "delivery.batch_wait_ms",
        ),
        (DeliverySpec { reply: "a/b".into(), ..DeliverySpec::default() }, "delivery.reply"),
        (DeliverySpec { batch_max: 2, mode: 1, ..DeliverySpec::default() }, "delivery.mode"),
        (DeliverySpec { batch_max: 2, mode: 2, ..DeliverySpec::default() }, "delivery.mode"),
    ] {
        let (place, queue, spec) = (world.place(), "q".to_owned(), Some(wanted(wrong.clone())));
        let put = PutQueueRequest { place, request: request(), queue, spec, dry_run: true };
        let (code, sentence) = refused(world.queues().put(Request::new(put)).await);
        assert!(code == Code::InvalidArgument && sentence.contains(field), "{wrong:?}: {sentence}");
    }
    let watched = spec::watch_settings(Some(KvWatchQueue {
        delivery: Some(DeliverySpec { path: "/w".into(), ..DeliverySpec::default() }),
        ..KvWatchQueue::default()
    }));
    assert_eq!(watched.unwrap().manner.path, "/w");
    world.end().await;
}
