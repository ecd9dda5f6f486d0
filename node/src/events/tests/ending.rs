//! Goal: a node that goes away takes no more, lets what runs end and says so; what does not end is said to be tried again.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_proto::key::Key;
use coracle_proto::pb::InvocationState::{Running, Succeeded, Waiting};
use coracle_proto::record::Change;

use super::running::{Node, waiting};
use crate::front::tests::world::Plan;
use crate::stores::tests::fake::{GROUP, Store};
use crate::worker::tests::until;

#[tokio::test]
async fn what_runs_ends_and_is_settled_and_nothing_new_begins() {
    let (go, guest) = waiting();
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.put("f", 1, "");
    until("it runs", || guest.calls() == 1).await;
    node.stop.cancel();
    until("it wants no more", || node.store.state().takes.last().unwrap().places == 0).await;
    node.store.put("f", 2, "");
    until("it still says what it runs", || {
        let state = node.store.state();
        state.takes.iter().filter(|it| it.places == 0 && it.running.len() == 1).count() >= 1
    })
    .await;
    go.notify_one();
    node.comes_to(0, Succeeded).await;
    let (store, calls) = (&node.store, guest.calls());
    assert_eq!((store.message(1).state, calls), (Waiting, 1));
    node.end().await;
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_and_tried_again_elsewhere() {
    let (_go, guest) = waiting();
    let node = Node::with(Plan::local(Arc::clone(&guest)), Duration::from_millis(100)).await;
    node.store.put("f", 1, "");
    until("it runs", || guest.calls() == 1).await;
    node.stop.cancel();
    node.comes_to(0, Waiting).await;
    let message = node.store.message(0);
    assert_eq!(message.last_error, "the node went away before the call had ended");
    let report = &message.reports[0];
    assert_eq!((report.node, report.version, report.outcome.as_str()), (1, 1, "draining"));
    assert_eq!(report.error, "draining: the node went away before the call had ended");
    assert!(report.started_ms > 1_600_000_000_000 && report.ended_ms >= report.started_ms, "{report:?}");
    until("its guest is gone", || node.world.workers[0].executor.load().in_flight == 0).await;
    node.end().await;
}

#[tokio::test]
async fn a_group_that_is_back_is_taken_from_as_before() {
    let (go, guest) = waiting();
    let node = Node::with(Plan::local(Arc::clone(&guest)), Duration::from_millis(100)).await;
    let gone = || node.world.change(vec![Change::remove(Key::Group(GroupId::new(GROUP)))]);
    let back = || node.world.change(Store::records(&[&node.store]));
    node.store.put("f", 1, "");
    until("it runs", || guest.calls() == 1).await;
    gone();
    until("it is cut off", || node.world.metrics.events.running.get() == 0).await;
    back();
    until("it runs again, for nobody could be told", || guest.calls() == 2).await;
    go.notify_one();
    node.comes_to(0, Succeeded).await;
    node.end().await;
}

#[tokio::test]
async fn a_group_that_is_back_before_its_calls_ended_is_taken_from_after_them() {
    let (go, guest) = waiting();
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.put("f", 1, "");
    until("it runs", || guest.calls() == 1).await;
    node.world.change(vec![Change::remove(Key::Group(GroupId::new(GROUP)))]);
    // It has seen that when something else was done behind it on this thread.
    node.hears(true, true);
    assert_eq!(node.world.get("/nothing").await.status, 404);
    node.world.change(Store::records(&[&node.store]));
    node.store.put("f", 2, "");
    go.notify_one();
    node.comes_to(0, Succeeded).await;
    until("the next one runs", || guest.calls() == 2).await;
    go.notify_one();
    node.comes_to(1, Succeeded).await;
    node.end().await;
}

#[tokio::test]
async fn a_node_without_a_store_ends_at_once_and_one_that_comes_is_taken_from() {
    let (go, guest) = waiting();
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.world.change(vec![Change::remove(Key::Group(GroupId::new(GROUP)))]);
    until("it asks nobody any more", || node.store.state().takes.last().is_none_or(|it| it.places == 0))
        .await;
    node.store.put("f", 1, "");
    assert_eq!(node.store.message(0).state, Waiting);
    node.world.change(Store::records(&[&node.store]));
    node.comes_to(0, Running).await;
    go.notify_one();
    node.comes_to(0, Succeeded).await;
    node.end().await;
}
