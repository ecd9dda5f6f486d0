//! Goal: what a call did in the platform goes with its end, or not at all; a call whose reads were overtaken is made again.

use std::sync::Arc;

use coracle_proto::pb::InvocationState::{Dead, Succeeded};
use coracle_proto::pb::settle_request::Verdict;
use coracle_proto::pb::{EventCheck, EventEffect, event_effect};
use coracle_proto::status::Code;
use http::StatusCode;

use super::running::Node;
use crate::call::{Call, Effect};
use crate::front::tests::world::Plan;
use crate::stores::Fate;
use crate::worker::tests::{Guest, text, until};

/// Answers with this status, having read a value.
fn reading(status: u16) -> Arc<Guest> {
    Guest::new(move |call: Call| {
        assert!(call.receipt.gathers());
        let effect = Effect::Check { bucket: "b".to_owned(), key: "k".into(), version: 7 };
        call.receipt.over_with(None, vec![effect]);
        async move {
            let mut answer = text("said");
            *answer.response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(answer)
        }
    })
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
    for (after_ms, error, unreported) in offers {
        assert!((5..=50).contains(&after_ms) && unreported, "{after_ms}");
        assert!(error.starts_with("what it had read was changed meanwhile: "), "{error}");
    }
    until("it is counted", || node.world.metrics.events.count(Fate::Done) == 1).await;
    node.end().await;
}

#[tokio::test]
async fn a_queue_that_is_full_makes_an_attempt_that_failed() {
    let node = Node::start(Plan::local(reading(200))).await;
    node.store.state().refuses_effects = vec![Code::QueueFull];
    node.store.put("f", 1, "");
    node.comes_to(0, Succeeded).await;
    let reports = node.store.message(0).reports;
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports[0].error.starts_with("what it published was refused: queue-full: "), "{reports:?}");
    node.end().await;
}

#[tokio::test]
async fn effects_that_are_refused_for_another_reason_make_a_dead_letter() {
    let node = Node::start(Plan::local(reading(200))).await;
    node.store.state().refuses_effects = vec![Code::LimitReached];
    node.store.put("f", 1, "");
    node.comes_to(0, Dead).await;
    let error = node.store.message(0).last_error;
    assert!(error.starts_with("what it came to was refused: limit-reached: "), "{error}");
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
