//! Goal: calls that all want to change the same value are soon made a few at a time, so that few of them are made in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coracle_proto::pb::InvocationState::Succeeded;
use coracle_proto::status::Code;
use tokio::sync::Notify;

use super::running::Node;
use crate::call::{Call, Effect};
use crate::front::tests::world::Plan;
use crate::worker::tests::{Guest, text, until};

const MESSAGES: u64 = 50;

#[tokio::test]
async fn a_hot_counter_is_changed_with_few_calls_in_vain() {
    let hot = Arc::<AtomicU64>::default();
    let read = Arc::clone(&hot);
    let guest = Guest::new(move |call: Call| {
        let version = read.load(Ordering::SeqCst);
        async move {
            // Others begin meanwhile.
            let _ = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
            call.receipt
                .over_with(None, vec![Effect::Check { bucket: "b".to_owned(), key: "k".into(), version }]);
            Ok(text("counted"))
        }
    });
    let times = (Duration::from_secs(10), Duration::ZERO);
    let node = Node::taking(Plan::local(Arc::clone(&guest)), 64, times).await;
    node.store.state().hot = Some(Arc::clone(&hot));
    let begun = crate::clock::now();
    for id in 1..=MESSAGES {
        node.store.put("f", id.into(), "");
    }
    until("all of them are counted", || node.store.all_done()).await;
    let in_vain = u64::from(guest.calls()) - MESSAGES;
    println!("{in_vain} calls in vain, {:?}", begun.elapsed());
    assert_eq!(hot.load(Ordering::SeqCst), MESSAGES);
    // Those that began together at first, and now and then one that is tried beside another.
    assert!(in_vain <= 2 * MESSAGES, "{in_vain} calls were made in vain");
    node.end().await;
}

#[tokio::test]
async fn calls_that_did_nothing_went_well_too() {
    let (number, gate) = (Arc::<AtomicU64>::default(), Arc::new(Notify::new()));
    let open = Arc::clone(&gate);
    let guest = Guest::new(move |call: Call| {
        let (number, gate) = (number.fetch_add(1, Ordering::SeqCst), Arc::clone(&gate));
        async move {
            let check = Effect::Check { bucket: "b".to_owned(), key: "k".into(), version: 7 };
            call.receipt.over_with(None, if number < 2 { vec![check] } else { Vec::new() });
            if number > 2 {
                gate.notified().await;
            }
            Ok(text("counted"))
        }
    });
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.keep("b", "k", 7);
    node.store.state().refuses_effects = vec![Code::Conflict];
    for id in 1..=2 {
        node.store.put("f", id, "");
        node.comes_to(id as usize - 1, Succeeded).await;
    }
    // One call was overtaken, and two have gone well: as many as before may run.
    for id in 3..=4 {
        node.store.put("f", id, "");
    }
    until("two run at once", || guest.open() == 2).await;
    open.notify_waiters();
    until("all are done", || node.store.all_done()).await;
    node.end().await;
}
