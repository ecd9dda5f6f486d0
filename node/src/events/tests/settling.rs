//! Goal: what became of an attempt is said once, whatever is lost on the way, and by the delivery table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_proto::pb::InvocationState::{Dead, Succeeded, Waiting};
use coracle_proto::pb::settle_request::Verdict;
use coracle_proto::status::Code;
use http::StatusCode;

use super::running::{Node, waiting};
use crate::call::{Call, CallError};
use crate::front::tests::world::Plan;
use crate::stores::Fate;
use crate::worker::tests::{Guest, text, until};

/// Answers so, each time with the next status; the last one for ever.
fn answering(statuses: &'static [u16]) -> Arc<Guest> {
    let at = AtomicU32::new(0);
    Guest::new(move |call: Call| {
        call.receipt.over(None);
        let index = at.fetch_add(1, Ordering::SeqCst) as usize;
        async move {
            let mut answer = text("said");
            let status = statuses.get(index).or_else(|| statuses.last()).unwrap();
            *answer.response.status_mut() = StatusCode::from_u16(*status).unwrap();
            Ok(answer)
        }
    })
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_the_next_one() {
    let guest = answering(&[500, 404, 200]);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.put("f", 1, "");
    node.comes_to(0, Succeeded).await;
    let message = node.store.message(0);
    let outcomes: Vec<_> = message.reports.iter().map(|it| it.outcome.as_str()).collect();
    assert_eq!(outcomes, ["500", "404", "200"]);
    assert_eq!(message.reports[0].error, "the function answered 500 (Internal Server Error)");
    let settles = node.store.state().settles.clone();
    let fences: Vec<_> = settles.iter().map(|it| it.ticket.as_ref().unwrap().fence_sequence).collect();
    assert!(fences.is_sorted() && fences[0] < fences[2], "{fences:?}");
    let events = &node.world.metrics.events;
    until("it is counted", || events.count(Fate::Done) == 1).await;
    assert_eq!((events.count(Fate::Retried), guest.calls()), (2, 3));
    node.end().await;
}

#[tokio::test]
async fn a_dead_letter_is_one_at_once_or_after_its_attempts() {
    let node = Node::start(Plan::local(answering(&[400]))).await;
    node.store.put("f", 1, "");
    node.comes_to(0, Dead).await;
    let message = node.store.message(0);
    assert_eq!((message.reports.len(), message.answer.unwrap().status), (1, 400));
    node.end().await;

    let guest = Guest::new(async |call: Call| {
        call.receipt.over(None);
        Err(CallError { cold: true, ..CallError::new(Code::FunctionTrapped, "unreachable") })
    });
    let node = Node::start(Plan::remote(vec![Arc::clone(&guest)])).await;
    node.store.put("f", 1, "");
    node.comes_to(0, Dead).await;
    let message = node.store.message(0);
    assert_eq!((message.reports.len(), guest.calls(), message.answer), (3, 3, None));
    let report = &message.reports[0];
    assert_eq!((report.outcome.as_str(), report.cold, report.node), ("function-trapped", true, 1));
    assert_eq!(report.error, "function-trapped: unreachable");
    node.end().await;
}

#[tokio::test]
async fn what_could_not_be_run_is_given_back_later_each_time_and_counts_for_nothing() {
    let guest = answering(&[200]);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.world.workers[0].executor.drain();
    node.store.put("f", 1, "");
    until("it was given back three times", || node.store.state().settles.len() == 3).await;
    let settles = node.store.state().settles.clone();
    let after = settles.iter().map(|settle| match &settle.verdict {
        Some(Verdict::Offer(offer)) if settle.report.is_none() => offer.after_ms,
        other => panic!("{other:?}"),
    });
    assert_eq!(after.collect::<Vec<_>>(), [100, 200, 400]);
    node.comes_to(0, Waiting).await;
    let message = node.store.message(0);
    assert_eq!((message.delivery.attempt, message.reports.len(), guest.calls()), (0, 0, 0));
    assert!(message.last_error.starts_with("draining: "), "{}", message.last_error);
    node.end().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_settlement_changes_nothing() {
    let guest = answering(&[500, 200]);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.state().loses = 2;
    node.store.state().deaf = 1;
    node.store.put("f", 1, "");
    node.comes_to(0, Succeeded).await;
    assert_eq!((node.store.message(0).reports.len(), guest.calls()), (2, 2));
    // Three of them were lost on the way.
    until("both attempts are settled", || node.store.state().settles.len() == 5).await;
    assert_eq!(node.world.metrics.events.lost.get(), 0);
    node.end().await;
}

#[tokio::test]
async fn a_settlement_that_comes_too_late_is_given_up() {
    let (go, guest) = waiting();
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.put("f", 1, "");
    until("it runs", || guest.calls() == 1).await;
    // Its claim lapsed, and another one has it.
    node.store.state().messages[0].delivery.ticket.as_mut().unwrap().fence_sequence += 1;
    go.notify_one();
    until("it is lost", || node.world.metrics.events.lost.get() >= 1).await;
    until("its place is free", || node.world.metrics.events.running.get() == 0).await;
    assert!(node.store.message(0).reports.is_empty());
    node.end().await;
}

#[tokio::test]
async fn what_is_refused_is_said_once_more_without_its_answer() {
    for (statuses, settled) in [(&[200][..], 2), (&[400], 2), (&[500], 6)] {
        let guest = answering(statuses);
        let node = Node::start(Plan::local(Arc::clone(&guest))).await;
        node.store.state().refuses_answers = Some(Code::InvalidArgument);
        node.store.put("f", 1, "");
        node.comes_to(0, Dead).await;
        let message = node.store.message(0);
        let said = "what it came to was refused: invalid-argument: no";
        assert_eq!((message.last_error.as_str(), message.answer), (said, None), "{statuses:?}");
        let report = message.reports.last().unwrap();
        assert_eq!((report.error.as_str(), report.outcome.parse()), (said, Ok(statuses[0])));
        assert_eq!(node.store.state().settles.len(), settled, "{statuses:?}");
        assert_eq!(guest.calls(), if statuses == [500] { 3 } else { 1 }, "{statuses:?}");
        node.end().await;
    }
}

#[tokio::test]
async fn its_place_is_held_until_it_is_settled() {
    let guest = answering(&[200]);
    let node = Node::start(Plan::local(guest)).await;
    node.store.state().deaf = u32::MAX;
    node.store.put("f", 1, "");
    until("it is settled in vain", || node.store.state().settles.len() >= 2).await;
    assert_eq!(node.world.metrics.events.running.get(), 1);
    node.store.put("f", 2, "");
    until("it is told of", || {
        node.store.state().takes.last().unwrap().running.iter().any(|it| it.message == 1)
    })
    .await;
    node.store.state().deaf = 0;
    node.comes_to(0, Succeeded).await;
    node.comes_to(1, Succeeded).await;
    until("its place is free", || node.world.metrics.events.running.get() == 0).await;
    node.end().await;
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_tried_again() {
    let guest = Guest::new(async |call: Call| {
        call.receipt.over(None);
        let frames = futures::stream::pending::<Result<http_body::Frame<bytes::Bytes>, CallError>>();
        Ok(crate::worker::tests::answer(crate::call::Body::new(http_body_util::StreamBody::new(frames))))
    });
    let draft = coracle_proto::spec::Draft { timeout_ms: 50, ..Default::default() };
    let node = Node::with(Plan { draft, ..Plan::local(guest) }, Duration::from_secs(10)).await;
    node.store.put("f", 1, "");
    node.comes_to(0, Dead).await;
    let message = node.store.message(0);
    assert_eq!((message.reports.len(), message.reports[0].outcome.as_str()), (3, "response-timeout"));
    node.end().await;
}

#[tokio::test]
async fn a_command_rejects_its_event_by_a_code_that_no_answer_passes_for() {
    for plan in [Plan::local, |guest| Plan::remote(vec![guest])] {
        for begun in [false, true] {
            let guest = Guest::new(move |call: Call| {
                call.receipt.over(None);
                let error = CallError::new(Code::EventRejected, "the function exited with status 65");
                async move {
                    if !begun {
                        return Err(error);
                    }
                    // It had printed something before.
                    let frames = [Ok(http_body::Frame::data("half".into())), Err(error)];
                    let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
                    Ok(crate::worker::tests::answer(crate::call::Body::new(body)))
                }
            });
            let node = Node::start(plan(Arc::clone(&guest))).await;
            node.store.put("f", 1, "");
            node.comes_to(0, Dead).await;
            let message = node.store.message(0);
            assert_eq!((message.reports.len(), guest.calls(), message.answer), (1, 1, None), "{begun}");
            assert_eq!(message.reports[0].outcome, "event-rejected");
            assert_eq!(message.last_error, "event-rejected: the function exited with status 65");
            node.end().await;
        }
        let guest = Guest::new(async |call: Call| {
            call.receipt.over(None);
            let mut answer = text("event-rejected");
            *answer.response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            answer.response.headers_mut().insert("coracle-error", "event-rejected".parse().unwrap());
            Ok(answer)
        });
        let node = Node::start(plan(Arc::clone(&guest))).await;
        node.store.put("f", 1, "");
        node.comes_to(0, Dead).await;
        assert_eq!((node.store.message(0).reports.len(), guest.calls()), (3, 3), "it is tried again");
        node.end().await;
    }
}
