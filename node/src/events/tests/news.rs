//! Goal: a node that has just started, or does not know the newest state, harms no message by what it does not know.

use std::time::Duration;

use coracle_proto::key::Key;
use coracle_proto::pb::InvocationState::{Dead, Succeeded, Waiting};
use coracle_proto::pb::settle_request::Verdict;
use coracle_proto::record::Change;

use super::running::Node;
use crate::call::Call;
use crate::front::tests::world::Plan;
use crate::worker::tests::{Guest, text, until};

const LONG: Duration = Duration::from_secs(10);

fn plan() -> Plan {
    Plan::local(Guest::new(async |call: Call| {
        call.receipt.over(None);
        Ok(text("ok"))
    }))
}

#[tokio::test]
async fn nothing_is_taken_before_a_controllers_first_word() {
    let node = Node::of(plan(), LONG, Duration::from_secs(60)).await;
    node.store.put("f", 1, "");
    node.hears(true, false);
    // Time for a request, if one were made: another gateway's call comes and goes meanwhile.
    assert_eq!(node.world.get("/f").await.status, 200);
    assert!(node.store.state().takes.is_empty(), "its view may be old");
    node.hears(true, true);
    node.comes_to(0, Succeeded).await;
    node.end().await;
}

#[tokio::test]
async fn a_controller_that_is_telling_is_waited_for_and_one_that_left_is_not() {
    let (node, begun) = (Node::of(plan(), LONG, Duration::from_millis(1)).await, crate::clock::now());
    node.hears(true, false);
    node.store.put("f", 1, "");
    until("the time for news is over", || begun.elapsed() > Duration::from_millis(50)).await;
    assert!(node.store.state().takes.is_empty(), "it will be told");
    node.hears(false, false);
    node.comes_to(0, Succeeded).await;
    node.end().await;
}

#[tokio::test]
async fn what_the_view_does_not_know_counts_only_while_it_is_current() {
    let node = Node::start(plan()).await;
    node.world.change(vec![Change::remove(Key::Function(node.world.version.id.function.clone()))]);
    node.store.put("f", 1, "");
    until("it was given back twice", || node.store.state().settles.len() >= 2).await;
    for settle in node.store.state().settles.clone() {
        assert!(matches!(settle.verdict, Some(Verdict::Offer(_))) && settle.report.is_none(), "{settle:?}");
    }
    let message = node.store.message(0);
    assert!(message.last_error.starts_with("function-not-found"), "{}", message.last_error);
    assert_ne!(message.state, Dead);
    node.hears(true, true);
    node.comes_to(0, Dead).await;
    assert_eq!(node.store.message(0).reports.len(), 3, "counted");
    assert_ne!(node.store.message(0).state, Waiting);
    node.end().await;
}
