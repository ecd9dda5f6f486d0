//! The whole way over a real group: what is published is taken by a node, settled with what it did, put aside, given another life.

use coracle_proto::pb::key_value_server::KeyValue as _;
use coracle_proto::pb::queues_server::Queues as _;
use coracle_proto::pb::{
    AttemptReport, EventCheck, EventEffect, EventPublish, EventWrite, KvPutBucketRequest, KvSet, KvWrite,
    MoveMessagesRequest, PublishMessage, SettleDead, SettleDone, SettleOffer, event_effect, kv_write,
};
use coracle_proto::status::Code;

use super::super::bench::{message, of, refused, request};
use super::*;
use crate::world::{GROUP, World};

impl World {
    async fn published_all(&self, to: &str, messages: Vec<PublishMessage>) {
        self.queues().publish(Request::new(self.publish_of(to, messages))).await.unwrap();
    }

    async fn settled(
        &self,
        delivery: &Delivery,
        verdict: WireVerdict,
    ) -> Result<Response<SettleReply>, Status> {
        let asked = SettleRequest {
            cluster_id: self.cluster().to_wire(),
            group: GROUP.get(),
            request: request(),
            ticket: delivery.ticket.clone(),
            report: Some(AttemptReport { node: 7, outcome: "200".into(), ..AttemptReport::default() }),
            verdict: Some(verdict),
        };
        self.deliveries().settle(Request::new(asked)).await
    }

    async fn settled_done(
        &self,
        delivery: &Delivery,
        effects: Vec<EventEffect>,
    ) -> Result<Response<SettleReply>, Status> {
        self.settled(delivery, WireVerdict::Done(SettleDone { answer: None, effects, others: Vec::new() }))
            .await
    }

    fn data(&self, key: &str) -> Option<bytes::Bytes> {
        let bucket = Place::parse("shop", "a").unwrap();
        let found = model::value(&self.served.replica.state(), &bucket, key.as_bytes(), 0).unwrap();
        found.map(|value| value.data)
    }

    async fn make_bucket(&self) {
        let put = KvPutBucketRequest {
            place: self.bucket(),
            request: request(),
            keys_max: 10,
            bytes_max: 1024,
            ..KvPutBucketRequest::default()
        };
        self.values().put_bucket(Request::new(put)).await.unwrap();
    }
}

fn one(reply: &TakeReply) -> Delivery {
    let [delivery] = &reply.deliveries[..] else { panic!("{reply:?}") };
    delivery.clone()
}

fn queue_of(delivery: &Delivery) -> &str {
    &delivery.ticket.as_ref().unwrap().queue
}

fn write(key: &str, value: &str) -> EventEffect {
    let set = KvSet { value: value.to_owned().into(), ..KvSet::default() };
    let write = KvWrite { key: key.to_owned().into(), change: Some(kv_write::Change::Set(set)) };
    let write = EventWrite { bucket: "a".into(), write: Some(write) };
    EventEffect { kind: Some(event_effect::Kind::Write(write)) }
}

fn check(key: &str, version: u64) -> EventEffect {
    let check = EventCheck { bucket: "a".into(), key: key.to_owned().into(), version };
    EventEffect { kind: Some(event_effect::Kind::Check(check)) }
}

fn publish(to: &str) -> EventEffect {
    let publish = EventPublish { to: to.into(), message: Some(message("")) };
    EventEffect { kind: Some(event_effect::Kind::Publish(publish)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_queue_is_taken_put_aside_and_given_another_life() {
    let world = World::start().await;
    world.put_queue("orders", of("f")).await;
    world.published_all("orders", vec![message("a")]).await;
    let first = world.take_all(0).await;
    let delivery = one(&first);
    let body = delivery.body.clone().unwrap();
    assert_eq!((&delivery.function[..], queue_of(&delivery), &body.kind[..]), ("f", "orders", "queue"));
    let dead = WireVerdict::Dead(SettleDead { error: "no".into(), answer: None });
    world.settled(&delivery, dead).await.unwrap();
    let all =
        MoveMessagesRequest { place: world.place(), queue: "orders".into(), from: 0, to: 0, waiting: false };
    let moved = world.queues().redrive(Request::new(all)).await.unwrap().into_inner();
    assert_eq!(moved.moved, 1);
    let again = one(&world.take_all(first.number).await);
    assert_eq!((again.attempt, again.invocation.clone()), (1, delivery.invocation));
    world.settled_done(&again, Vec::new()).await.unwrap();
    let (code, _) = refused(world.settled_done(&again, Vec::new()).await);
    assert_eq!(code, Code::ClaimLost, "once");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_topic_goes_to_each_function_that_hears_it() {
    let world = World::start().await;
    world.put_topic(&["f", "g"]).await;
    world.published_all("t", vec![message("a")]).await;
    let (mut heard, mut functions) = (0, Vec::new());
    while functions.len() < 2 {
        let taken = world.take_all(heard).await;
        heard = taken.number;
        for delivery in taken.deliveries {
            assert_eq!(delivery.body.as_ref().unwrap().kind, "topic");
            assert_eq!(queue_of(&delivery), format!("topic/t/{}", delivery.function));
            world.settled_done(&delivery, Vec::new()).await.unwrap();
            functions.push(delivery.function);
        }
    }
    functions.sort();
    assert_eq!(functions, ["f", "g"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_group_are_given_out_one_after_the_other() {
    let world = World::start().await;
    world.put_queue("orders", of("f")).await;
    let grouped = |id: &str| PublishMessage { group: "g".into(), ..message(id) };
    world.published_all("orders", ["a", "b", "c"].map(grouped).to_vec()).await;
    let mut heard = 0;
    for id in ["a", "b", "c"] {
        let taken = world.take_all(heard).await;
        heard = taken.number;
        let delivery = one(&taken);
        assert_eq!(delivery.body.as_ref().unwrap().id, id, "one at a time, although there are places");
        world.settled_done(&delivery, Vec::new()).await.unwrap();
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_what_is_deleted_hears_of_it_and_settles_in_vain() {
    let world = World::start().await;
    world.put_queue("orders", of("f")).await;
    world.published_all("orders", vec![message("a")]).await;
    let first = world.take_all(0).await;
    let delivery = one(&first);
    let asked = TakeRequest {
        cluster_id: world.cluster().to_wire(),
        group: GROUP.get(),
        node: 7,
        session: 7,
        heard: first.number,
        running: delivery.ticket.clone().into_iter().collect(),
        wait_ms: 10_000,
        ..TakeRequest::default()
    };
    let (service, queues) = (world.deliveries(), world.queues());
    let delete = coracle_proto::pb::DeleteQueueRequest {
        place: world.place(),
        request: request(),
        queue: "orders".into(),
        force: true,
    };
    let (taken, deleted) =
        tokio::join!(service.take(Request::new(asked)), queues.delete(Request::new(delete)));
    assert_eq!(deleted.unwrap().into_inner().purged, 1);
    assert_eq!(taken.unwrap().into_inner().lost.len(), 1);
    assert_eq!(refused(world.settled_done(&delivery, Vec::new()).await).0, Code::ClaimLost);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_did_counts_once_or_not_at_all() {
    let world = World::start().await;
    world.make_bucket().await;
    world.put_queue("orders", of("f")).await;
    world.put_queue("done", of("")).await;
    world.published_all("orders", vec![message("a")]).await;
    let first = world.take_all(0).await;
    let delivery = one(&first);
    let effects = || vec![check("none", 0), write("k", "v"), publish("done")];
    let wrong = [
        (vec![check("none", 5), write("k", "v")], Code::Conflict),
        (vec![write("k", "v"), publish("nowhere")], Code::QueueNotFound),
        (vec![write("k", "v"), publish("function/f")], Code::InvalidArgument),
        (vec![write("k", &"v".repeat(400 * 1024))], Code::RequestTooLarge),
    ];
    for (effects, code) in wrong {
        assert_eq!(refused(world.settled_done(&delivery, effects).await).0, code);
        assert_eq!(world.data("k"), None);
    }
    // The claim is as it was: the node gives it back.
    let offer = WireVerdict::Offer(SettleOffer { after_ms: 0, error: "conflict".into() });
    world.settled(&delivery, offer).await.unwrap();
    let again = one(&world.take_all(first.number).await);
    assert_eq!(again.attempt, 1, "uncounted");
    world.settled_done(&again, effects()).await.unwrap();
    assert_eq!(world.data("k").as_deref(), Some(&b"v"[..]));
    let published = || {
        let place = Place::parse("shop", "done").unwrap();
        model::counts(&world.served.replica.state(), &place).unwrap().published
    };
    assert_eq!(published(), 1);
    assert_eq!(refused(world.settled_done(&again, effects()).await).0, Code::ClaimLost);
    assert_eq!(published(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_lost_its_function_is_offered_back() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    world.published_all("q", vec![message("a")]).await;
    let queue = Place::parse("shop", "q").unwrap();
    let until_ms = world.served.clock.now_ms() + 60_000;
    let claim = Op::Claim { queue: queue.clone(), node: NodeId::new(7), most: 1, until_ms };
    let Outcome::Claimed(claimed) = world.done(claim).await else { panic!("it is ready") };
    world.put_queue("q", of("")).await;
    let ticket = Ticket { queue: queue.clone(), message: claimed[0].message, fence: claimed[0].fence };
    let taken = Taken { given: vec![(ticket.clone(), claimed[0])], ..Taken::default() };
    let (reply, homeless) = reply(&world.served.replica.state(), taken).unwrap();
    assert_eq!((reply.deliveries.len(), &homeless[..]), (0, &[ticket][..]));
    world.served.deliveries.give_back(homeless).await;
    let counts = model::counts(&world.served.replica.state(), &queue).unwrap();
    assert_eq!((counts.ready, counts.claimed, counts.offered), (1, 0, 1));
    world.end().await;
}
