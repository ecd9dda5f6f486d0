//! Queues over a real group: what people ask of them, and dead letters that are moved once, a bounded number in a request.

use coracle_proto::id::NodeId;
use coracle_proto::pb::QueueSpec;
use coracle_proto::status::Code;

use super::super::bench::{message, of, refused, request};
use super::steps::{MOVE_ENTRIES_MAX, moved};
use super::*;
use crate::clock;
use crate::model::{Outcome, Place, Ticket, Verdict};
use crate::world::{GROUP, World};

fn queue() -> Place {
    Place::parse("shop", "function/f").unwrap()
}

/// So many are submitted, and all that are ready become dead letters.
async fn bury(world: &World, count: u32) {
    for _ in 0..count {
        world.submit("f").await;
    }
    let claim =
        Op::Claim { queue: queue(), node: NodeId::new(7), most: 200, until_ms: clock::unix_ms() + 60_000 };
    let Outcome::Claimed(claimed) = world.done(claim).await else { panic!("nothing is claimed") };
    for it in claimed {
        let ticket = Ticket { queue: queue(), message: it.message, fence: it.fence };
        let verdict = Verdict::Dead { error: "no".to_owned() };
        world.done(Op::Settle { ticket, verdict, report: None, answer: None }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_moves_some_and_says_where_to_go_on() {
    let world = World::start().await;
    let leading = Leading { served: world.served.clone(), group: GROUP };
    let letters = u32::try_from(MOVE_ENTRIES_MAX).unwrap() + 5;
    bury(&world, letters).await;
    let redrive = |span| Op::Redrive { queue: queue(), span, steps: 1 };
    let first = moved(&leading, (0, 0), redrive).await.unwrap();
    assert_eq!((first.moved, first.next > 0), (20, true), "{first:?}");
    // These die again, and others come: neither is meant.
    bury(&world, 3).await;
    let second = moved(&leading, (first.next, first.to), redrive).await.unwrap();
    assert_eq!((second.moved, second.next), (5, 0), "{second:?}");
    let one = moved(&leading, (first.next, first.next + 1), redrive).await.unwrap();
    assert_eq!(one.moved, 0, "it was moved");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_there_is_told() {
    let world = World::start().await;
    let leading = Leading { served: world.served.clone(), group: GROUP };
    let purge = |span| Op::Purge { queue: queue(), kept: Kept::Dead, span, steps: 1 };
    let refusal = moved(&leading, (0, 0), purge).await.unwrap_err();
    assert_eq!(refusal.code, Code::QueueNotFound);
    world.end().await;
}

impl World {
    async fn names(&self, function: &str, after: &str, limit: u32) -> (Vec<String>, String) {
        let (place, function, after) = (self.place(), function.to_owned(), after.to_owned());
        let asked = ListQueuesRequest { place, function, after, limit };
        let reply = self.queues().list(Request::new(asked)).await.unwrap().into_inner();
        (reply.queues.into_iter().map(|it| it.queue).collect(), reply.after)
    }

    async fn peek(&self, from: u64, limit: u32) -> PeekReply {
        let (place, queue) = (self.place(), "orders".to_owned());
        let asked = PeekRequest { place, queue, from, limit, bodies: true };
        self.queues().peek(Request::new(asked)).await.unwrap().into_inner()
    }

    async fn delete_queue(&self, queue: &str, force: bool) -> Result<Response<DeleteQueueReply>, Status> {
        let (place, queue) = (self.place(), queue.to_owned());
        self.queues()
            .delete(Request::new(DeleteQueueRequest { place, request: request(), queue, force }))
            .await
    }

    fn put_queue_of(&self, queue: &str, spec: QueueSpec, dry_run: bool) -> Request<PutQueueRequest> {
        let (place, queue, spec) = (self.place(), queue.to_owned(), Some(spec));
        Request::new(PutQueueRequest { place, request: request(), queue, spec, dry_run })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_made_shown_paused_and_deleted() {
    let world = World::start().await;
    let told = QueueSpec { attempts: 7, ..of("f") };
    let reply = world.queues().put(world.put_queue_of("orders", told, false)).await.unwrap().into_inner();
    let detail = reply.queue.unwrap();
    let spec = detail.spec.unwrap();
    assert_eq!((&detail.function[..], spec.attempts, spec.age_ms), ("f", 7, 6 * 60 * 60 * 1000));
    let place = || world.place();
    let pause =
        |paused| PauseQueueRequest { place: place(), request: request(), queue: "orders".into(), paused };
    let paused = world.queues().pause(Request::new(pause(true))).await.unwrap().into_inner();
    assert!(paused.queue.unwrap().paused);
    world.queues().publish(Request::new(world.publish_of("orders", vec![message("")]))).await.unwrap();
    let (code, sentence) = refused(world.delete_queue("orders", false).await);
    assert_eq!(code, Code::Conflict);
    assert!(sentence.contains("function 'f' takes its messages, and it has 1 messages"), "{sentence}");
    let deleted = world.delete_queue("orders", true).await.unwrap().into_inner();
    assert_eq!(deleted.purged, 1);
    let get = GetQueueRequest { place: place(), queue: "orders".into() };
    assert_eq!(refused(world.queues().get(Request::new(get)).await).0, Code::QueueNotFound);
    assert_eq!(refused(world.delete_queue("orders", true).await).0, Code::QueueNotFound);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_sent_again_means_no_other_queue() {
    let world = World::start().await;
    let (place, queue) = (world.place(), "orders".to_owned());
    let asked = DeleteQueueRequest { place, request: request(), queue, force: true };
    for count in [300, 1] {
        world.put_queue("orders", of("f")).await;
        let messages: Vec<_> = (0..count).map(|_| message("")).collect();
        for some in messages.chunks(200) {
            world.queues().publish(Request::new(world.publish_of("orders", some.to_vec()))).await.unwrap();
        }
        world.queues().delete(Request::new(asked.clone())).await.unwrap();
    }
    assert_eq!(world.peek(0, 9).await.messages.len(), 1, "it is another one");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_asked_is_checked_and_not_made() {
    let world = World::start().await;
    world.put_topic(&[]).await;
    let asked = async |queue, spec| world.queues().put(world.put_queue_of(queue, spec, true)).await;
    let reply = asked("orders", of("f")).await.unwrap().into_inner();
    assert_eq!(reply.queue, None);
    assert_eq!(world.names("", "", 0).await.0, Vec::<String>::new());
    assert_eq!(refused(asked("t", of("f")).await).0, Code::Conflict, "it is a topic");
    for (queue, spec, field) in [
        ("function/f", of("f"), "'queue'"),
        ("Orders", of("f"), "'queue'"),
        ("orders", of("F"), "'spec.function'"),
        ("orders", QueueSpec { attempts: 101, ..of("f") }, "attempts"),
    ] {
        let (code, sentence) = refused(asked(queue, spec).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(sentence.contains(field), "{sentence}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_in_pages_and_by_function() {
    let world = World::start().await;
    world.put_queue("a", of("f")).await;
    world.put_queue("b", of("g")).await;
    world.put_topic(&["f", "g"]).await;
    world.submit("f").await;
    let all = ["a", "b", "function/f", "topic/t/f", "topic/t/g"];
    assert_eq!(world.names("", "", 0).await, (all.map(str::to_owned).to_vec(), String::new()));
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let (page, next) = world.names("", &after, 2).await;
        assert!(page.len() <= 2);
        found.extend(page);
        after = next;
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(found, all);
    assert_eq!(world.names("f", "", 0).await.0, ["a", "function/f", "topic/t/f"], "all that it takes from");
    let (first, after) = world.names("f", "", 1).await;
    assert_eq!((&first[..], world.names("f", &after, 9).await.0.len()), (&["a".to_owned()][..], 2));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_looked_into_and_purged() {
    let world = World::start().await;
    world.put_queue("orders", QueueSpec::default()).await;
    let mut messages: Vec<_> = ["one", "two", "three"].map(message).to_vec();
    messages[1].group = "g".into();
    messages[2].delay_ms = 60_000;
    world.queues().publish(Request::new(world.publish_of("orders", messages))).await.unwrap();
    let first = world.peek(0, 2).await;
    let ids: Vec<_> = first.messages.iter().map(|it| it.body.as_ref().unwrap().id.clone()).collect();
    assert_eq!((ids, &first.messages[1].group[..]), (vec!["one".to_owned(), "two".to_owned()], "g"));
    let rest = world.peek(first.next, 2).await;
    assert_eq!((rest.messages.len(), rest.next), (1, 0));
    assert!(rest.messages[0].record.as_ref().unwrap().next_ms > 0, "it is delayed");
    let purge = |waiting| {
        let (place, queue) = (world.place(), "orders".to_owned());
        Request::new(MoveMessagesRequest { place, queue, from: 0, to: 0, waiting })
    };
    assert_eq!(world.queues().purge(purge(false)).await.unwrap().into_inner().moved, 0, "none is dead");
    assert_eq!(world.queues().purge(purge(true)).await.unwrap().into_inner().moved, 3);
    assert!(world.peek(0, 0).await.messages.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_a_bound_for_all_that_its_rows_have() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let long = || {
        let mut message = message("");
        message.body.as_mut().unwrap().attributes.insert("x".into(), "x".repeat(4000));
        message
    };
    for _ in 0..9 {
        let batch = (0..100).map(|_| long()).collect();
        world.queues().publish(Request::new(world.publish_of("q", batch))).await.unwrap();
    }
    let asked = PeekRequest { place: world.place(), queue: "q".into(), from: 0, limit: 1000, bodies: true };
    let page = world.queues().peek(Request::new(asked)).await.unwrap().into_inner();
    assert!(page.encoded_len() <= PAGE_BYTES_MAX + 16 * page.messages.len(), "{}", page.encoded_len());
    assert!(page.next > 0 && page.messages.len() > 500, "{} messages", page.messages.len());
    world.end().await;
}
