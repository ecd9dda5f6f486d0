//! Goal: what a call did in the platform goes with its end, or not at all; a call whose reads were overtaken is made again.

use std::sync::Arc;

use coracle_proto::pb::InvocationState::{Dead, Succeeded};
use coracle_proto::pb::settle_request::Verdict;
use coracle_proto::pb::{EventCheck, EventEffect, event_effect};
use coracle_proto::status::Code;
use http::StatusCode;
use tokio::sync::Notify;

use super::running::Node;
use crate::call::{Call, CallError, Effect};
use crate::front::tests::world::{Plan, Wire};
use crate::stores::Fate;
use crate::view::Phase;
use crate::worker::tests::{Guest, text, until};

/// Answers with this status, having read a value.
fn reading(status: u16) -> Arc<Guest> {
    Guest::new(move |call: Call| {
        assert!(call.receipt.gathers());
        call.receipt.over_with(None, vec![read(7)]);
        async move {
            let mut answer = text("said");
            *answer.response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(answer)
        }
    })
}

/// The value that it reads is at this version.
fn keeps(node: &Node, version: u64) {
    node.store.state().buckets.insert("b".to_owned(), [("k".into(), ("v".into(), version))].into());
}

fn read(version: u64) -> Effect {
    Effect::Check { bucket: "b".to_owned(), key: "k".into(), version }
}

fn check() -> EventEffect {
    let check = EventCheck { bucket: "b".to_owned(), key: "k".into(), version: 7 };
    EventEffect { kind: Some(event_effect::Kind::Check(check)) }
}

#[tokio::test]
async fn what_a_call_did_goes_with_its_end_wherever_it_ran() {
    for plan in [Plan::local(reading(200)), Plan::remote(vec![reading(200)])] {
        let node = Node::start(plan).await;
        node.store.put("f", 1, "");
        node.comes_to(0, Succeeded).await;
        let settles = node.store.state().settles.clone();
        let [settle] = &settles[..] else { panic!("{settles:?}") };
        let Some(Verdict::Done(done)) = &settle.verdict else { panic!("{settle:?}") };
        assert_eq!(done.effects, [check()]);
        node.end().await;
    }
}

#[tokio::test]
async fn a_call_that_failed_did_nothing() {
    let node = Node::start(Plan::local(reading(400))).await;
    keeps(&node, 7);
    node.store.put("f", 1, "");
    node.comes_to(0, Dead).await;
    let settles = node.store.state().settles.clone();
    assert!(settles.iter().all(|it| !matches!(it.verdict, Some(Verdict::Done(_)))), "{settles:?}");
    node.end().await;
}

#[tokio::test]
async fn a_call_whose_reads_were_overtaken_is_made_again_uncounted() {
    let guest = reading(200);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.state().refuses_effects = vec![Code::Conflict; 2];
    node.store.put("f", 1, "");
    node.comes_to(0, Succeeded).await;
    let message = node.store.message(0);
    assert_eq!((message.reports.len(), message.delivery.attempt, guest.calls()), (1, 1, 3));
    let offers = |it: &coracle_proto::pb::SettleRequest| match &it.verdict {
        Some(Verdict::Offer(offer)) => Some((offer.after_ms, offer.error.clone(), it.report.is_none())),
        _ => None,
    };
    let offers: Vec<_> = node.store.state().settles.iter().filter_map(offers).collect();
    assert_eq!(offers.len(), 2);
    for ((after_ms, error, unreported), most_ms) in offers.into_iter().zip([50, 100]) {
        assert!((most_ms / 10..=most_ms).contains(&after_ms) && unreported, "{after_ms}");
        assert!(error.starts_with("what it had read was changed meanwhile: "), "{error}");
    }
    until("it is counted", || node.world.metrics.events.count(Fate::Done) == 1).await;
    assert_eq!(node.world.metrics.events.count_again("overtaken"), 2);
    node.end().await;
}

#[tokio::test]
async fn a_call_whose_queue_or_bucket_was_full_is_made_again_uncounted() {
    for code in [Code::QueueFull, Code::LimitReached] {
        let node = Node::start(Plan::local(reading(200))).await;
        node.store.state().refuses_effects = vec![code];
        node.store.put("f", 1, "");
        node.comes_to(0, Succeeded).await;
        let message = node.store.message(0);
        assert_eq!((message.reports.len(), message.delivery.attempt), (1, 1));
        let settles = node.store.state().settles.clone();
        let Some(Verdict::Offer(offer)) = &settles[1].verdict else { panic!("{settles:?}") };
        let said = format!("what it wrote and published was refused: {code}: ");
        assert!(offer.after_ms == 500 && offer.error.starts_with(&said), "{offer:?}");
        assert_eq!(node.world.metrics.events.count_again("full"), 1);
        node.end().await;
    }
}

#[tokio::test]
async fn effects_that_are_refused_for_another_reason_make_a_dead_letter() {
    let node = Node::start(Plan::local(reading(200))).await;
    // That there are more copies than one entry may have, say.
    node.store.state().refuses_effects = vec![Code::InvalidArgument];
    node.store.put("f", 1, "");
    node.comes_to(0, Dead).await;
    let error = node.store.message(0).last_error;
    assert!(error.starts_with("what it wrote and published was refused: invalid-argument: "), "{error}");
    let reports = node.store.message(0).reports;
    assert!(reports.len() == 1 && reports[0].error == error, "{reports:?}");
    node.end().await;
}

#[tokio::test]
async fn a_call_of_which_nothing_was_told_is_not_done_wherever_it_ran() {
    let silent = || Guest::new(async |_: Call| Ok(text("said")));
    for plan in [Plan::local(silent()), Plan::remote(vec![silent()])] {
        let node = Node::start(plan).await;
        node.store.put("f", 1, "");
        until("it was settled", || !node.store.state().settles.is_empty()).await;
        let settle = node.store.state().settles[0].clone();
        let Some(Verdict::Retry(retry)) = settle.verdict else { panic!("{settle:?}") };
        assert!(retry.error.ends_with("what the call did was not told in time"), "{}", retry.error);
        node.end().await;
    }
}

#[tokio::test]
async fn a_call_whose_last_word_is_lost_between_two_nodes_is_not_done() {
    let (cut, told) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, tell) = (Arc::clone(&cut), Arc::clone(&told));
    let guest = Guest::new(move |call: Call| {
        let (wait, tell) = (Arc::clone(&wait), Arc::clone(&tell));
        tokio::spawn(async move {
            wait.notified().await;
            call.receipt.over_with(None, vec![read(7)]);
            tell.notify_one();
        });
        // Its answer is whole, and on its way before what it did is told.
        async { Ok(text("said")) }
    });
    let node = Node::start(Plan::remote(vec![Arc::clone(&guest)])).await;
    node.store.put("f", 1, "");
    until("it runs", || guest.calls() == 1).await;
    node.world.workers[0].wire.send_replace(Wire::Cut);
    cut.notify_one();
    told.notified().await;
    until("it was settled", || !node.store.state().settles.is_empty()).await;
    let settle = node.store.state().settles[0].clone();
    assert!(!matches!(settle.verdict, Some(Verdict::Done(_))), "{settle:?}");
    node.end().await;
}

#[tokio::test]
async fn what_a_node_did_that_then_refused_the_call_is_forgotten() {
    let doing = |version: u64, refuses: bool| {
        Guest::new(move |call: Call| {
            call.receipt.over_with(None, vec![read(version)]);
            async move {
                match refuses {
                    true => Err(CallError::new(Code::Overloaded, "full")),
                    false => Ok(text("said")),
                }
            }
        })
    };
    let (first, second) = (doing(1, true), doing(7, false));
    let node = Node::start(Plan::remote(vec![Arc::clone(&first), second])).await;
    node.world.says(1, Phase::Ready);
    node.store.put("f", 1, "");
    node.comes_to(0, Succeeded).await;
    assert_eq!(first.calls(), 1);
    let settles = node.store.state().settles.clone();
    let [settle] = &settles[..] else { panic!("{settles:?}") };
    let Some(Verdict::Done(done)) = &settle.verdict else { panic!("{settle:?}") };
    assert_eq!(done.effects, [check()]);
    node.end().await;
}

/// What it read may not have been of one moment, and a dead letter is final.
#[tokio::test]
async fn a_call_that_failed_by_what_was_overtaken_is_made_again_uncounted() {
    let rejecting = || {
        Guest::new(|call: Call| {
            call.receipt.over_with(None, vec![read(7)]);
            async { Err(CallError::new(Code::EventRejected, "the function exited with status 65")) }
        })
    };
    for plan in [
        Plan::local(reading(400)),
        Plan::remote(vec![reading(400)]),
        Plan::local(rejecting()),
        Plan::remote(vec![rejecting()]),
    ] {
        let node = Node::start(plan).await;
        keeps(&node, 8);
        node.store.put("f", 1, "");
        until("it was settled twice", || node.store.state().settles.len() >= 2).await;
        let settles = node.store.state().settles.clone();
        for settle in &settles {
            let Some(Verdict::Offer(offer)) = &settle.verdict else { panic!("{settle:?}") };
            assert!(offer.error.ends_with("changed meanwhile: a value of bucket 'b'"), "{offer:?}");
        }
        keeps(&node, 7);
        node.comes_to(0, Dead).await;
        assert_eq!((node.store.message(0).reports.len(), node.store.message(0).delivery.attempt), (1, 1));
        node.end().await;
    }
}

#[tokio::test]
async fn a_call_that_was_granted_nothing_is_done_however_late_its_end_is_told() {
    let silent = || {
        Guest::new(|call: Call| {
            call.receipt.set_idle();
            async { Ok(text("said")) }
        })
    };
    for plan in [Plan::local(silent()), Plan::remote(vec![silent()])] {
        let node = Node::start(plan).await;
        node.store.put("f", 1, "");
        node.comes_to(0, Succeeded).await;
        assert_eq!(node.store.message(0).reports.len(), 1);
        node.end().await;
    }
}

#[tokio::test]
async fn a_store_that_settles_without_what_a_call_did_is_noticed() {
    for drops in [false, true] {
        let node = Node::start(Plan::local(reading(200))).await;
        node.store.state().drops_effects = drops;
        node.store.put("f", 1, "");
        until("it is counted", || node.world.metrics.events.count(Fate::Done) == 1).await;
        until("its place is free", || node.world.metrics.events.running.get() == 0).await;
        assert_eq!(node.world.metrics.events.undone.get(), u64::from(drops));
        node.end().await;
    }
}
