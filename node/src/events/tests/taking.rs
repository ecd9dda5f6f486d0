//! Goal: messages are taken as far as there are places, run as they were accepted, and stopped when nobody wants them.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::pb::InvocationState::{Running, Succeeded, Waiting};
use coracle_proto::pb::{self, settle_request};
use coracle_proto::spec::Draft;
use http_body_util::BodyExt as _;

use super::running::{Node, waiting};
use crate::call::{Call, Spent, Trigger};
use crate::front::tests::world::Plan;
use crate::worker::tests::{Guest, text, until};

const SPENT: Spent = Spent { cpu: Duration::from_micros(1500), memory_byte_ms: 7, bytes_in: 4, bytes_out: 5 };

/// Says what it sees.
fn seer() -> Arc<Guest> {
    Guest::new(async |call: Call| {
        let headers = call.request.headers().clone();
        let header = |name: &str| headers.get(name).map_or("", |it| it.to_str().unwrap());
        let Trigger::Queue { kind, route } = call.trigger.clone() else { panic!("{:?}", call.trigger) };
        let seen = format!(
            "{} {} {kind} {route} {} {} {} {}",
            call.request.method(),
            call.request.uri(),
            header("coracle-attempt"),
            header("coracle-fence"),
            header("coracle-invocation-id"),
            header("idempotency-key"),
        );
        let receipt = call.receipt.clone();
        let body = call.request.into_body().collect().await.unwrap().to_bytes();
        receipt.over(Some(SPENT));
        Ok(text(format!("{seen} {}", String::from_utf8_lossy(&body))))
    })
}

#[tokio::test]
async fn a_message_is_run_as_it_was_accepted_here_and_elsewhere() {
    for plan in [Plan::local(seer()), Plan::remote(vec![seer()])] {
        let node = Node::start(plan).await;
        node.store.put("f", 5, "text");
        node.comes_to(0, Succeeded).await;
        let message = node.store.message(0);
        let answer = message.answer.unwrap();
        let id = "00000000000000000000000000000005";
        let fence = message.delivery.ticket.unwrap().fence_sequence;
        // SHA-256 of the id, its first half.
        let key = "2dc3b97b1e90788f360b3e5ad8dda3b1";
        let expected = format!("POST http://localhost/f async /f 1 {fence} {id} {key} text");
        assert_eq!(String::from_utf8_lossy(&answer.body), expected);
        assert_eq!((answer.status, answer.body_bytes), (200, expected.len() as u64));
        let report = &message.reports[0];
        assert_eq!((report.node, report.version, report.outcome.as_str(), report.cold), (1, 1, "200", false));
        assert_eq!(
            (report.cpu_us, report.memory_byte_ms, report.bytes_in, report.bytes_out),
            (1500, 7, 4, 5)
        );
        assert!(report.ended_ms >= report.started_ms && report.started_ms > 1_600_000_000_000, "{report:?}");
        assert_eq!(node.world.metrics.events.taken.get(), 1);
        node.end().await;
    }
}

#[tokio::test]
async fn one_queue_has_half_of_the_places_and_all_are_run() {
    let (go, guest) = waiting();
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    for id in 1..=9 {
        node.store.put("f", id, "");
    }
    until("two of four run", || guest.open() == 2).await;
    until("it says that it wants no more of that queue", || {
        let state = node.store.state();
        let last = state.takes.last().unwrap();
        last.running.len() == 2
            && last.places == 2
            && last.full.first().is_some_and(|it| it.queue == "function/f")
    })
    .await;
    assert_eq!(guest.calls(), 2);
    until("all are run, two at a time", || {
        assert!(guest.open() <= 2);
        go.notify_one();
        node.store.all_done()
    })
    .await;
    until("their places are free", || node.world.metrics.events.running.get() == 0).await;
    assert_eq!(guest.calls(), 9);
    node.end().await;
}

#[tokio::test]
async fn a_backlog_at_a_functions_limit_is_not_claimed_in_vain() {
    let (go, guest) = waiting();
    let draft = Draft { concurrency: 1, ..Draft::default() };
    let node = Node::start(Plan { draft, ..Plan::local(Arc::clone(&guest)) }).await;
    for id in 1..=50 {
        node.store.put("f", id, "");
    }
    until("all are run, one at a time", || {
        assert!(guest.open() <= 1);
        go.notify_one();
        node.store.all_done()
    })
    .await;
    let settles = node.store.state().settles.clone();
    let offers =
        settles.iter().filter(|it| matches!(it.verdict, Some(settle_request::Verdict::Offer(_)))).count();
    println!("{offers} were given back");
    assert!(offers <= 12, "{offers} of 50");
    assert_eq!(guest.calls(), 50);
    node.end().await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_stopped_and_not_settled() {
    for plan in [Plan::local, |guest| Plan::remote(vec![guest])] {
        let guest = Guest::new(async |_| std::future::pending().await);
        let dropped = Arc::clone(&guest);
        let node = Node::start(plan(guest)).await;
        node.store.put("f", 1, "");
        until("it runs", || dropped.calls() == 1).await;
        node.store.cancel(0);
        until("its call is gone", || node.world.workers[0].executor.load().in_flight == 0).await;
        until("it is counted", || node.world.metrics.events.lost.get() == 1).await;
        until("it is not told of any more", || node.store.state().takes.last().unwrap().running.is_empty())
            .await;
        assert!(node.store.state().settles.is_empty());
        node.end().await;
    }
}

#[tokio::test]
async fn what_this_program_does_not_understand_is_left_to_others() {
    let node = Node::start(Plan::local(seer())).await;
    let http = pb::EventHttp { method: "GET".to_owned(), uri: "http://a b".to_owned(), ..Default::default() };
    node.store.put_body("f", 1, pb::EventBody { http: Some(http), ..Default::default() });
    until("it is given back", || node.store.state().settles.len() == 1).await;
    node.comes_to(0, Waiting).await;
    let settle = node.store.state().settles[0].clone();
    let Some(settle_request::Verdict::Offer(offer)) = settle.verdict else { panic!("{settle:?}") };
    assert!(offer.after_ms == 5000 && offer.error.contains("uri"), "{offer:?}");
    assert_eq!(settle.report, None);
    node.end().await;
}

#[tokio::test]
async fn a_node_goes_on_when_another_store_leads_or_answers_are_lost() {
    let node = Node::start(Plan::local(seer())).await;
    node.store.state().follows = true;
    node.store.put("f", 1, "");
    until("it is asked in vain", || node.store.state().takes.len() >= 3).await;
    assert_eq!(node.store.message(0).state, Waiting);
    node.store.state().follows = false;
    node.comes_to(0, Succeeded).await;
    let sessions: std::collections::BTreeSet<_> =
        node.store.state().takes.iter().map(|it| (it.session, it.node)).collect();
    assert_eq!(sessions.len(), 1, "it is one start of one node");
    node.store.put("f", 2, "");
    node.comes_to(1, Succeeded).await;
    until("it says what it heard", || node.store.state().takes.last().unwrap().heard >= 2).await;
    assert!(node.store.message(1).state != Running);
    node.end().await;
}
