//! Deliveries over a real group of one member: what nodes are given, and what becomes of it when replies and nodes are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::NodeId;

use super::{Taken, Taking};
use crate::model::{self, Fate, Op, Outcome, Phase, Ticket, Verdict};
use crate::world::{SOON, World, waits};

impl World {
    async fn take(&self, asked: Taking) -> Taken {
        tokio::time::timeout(SOON, self.served.deliveries.take(asked)).await.expect("it is answered").unwrap()
    }
}

/// A node that would run eight messages and waits long.
fn node(node: u64) -> Taking {
    Taking {
        node: NodeId::new(node),
        session: node,
        heard: 0,
        running: BTreeSet::new(),
        places: 8,
        full: BTreeSet::new(),
        wait: SOON * 2,
    }
}

fn only(taken: &Taken) -> (Ticket, u32) {
    let [(ticket, claimed)] = &taken.given[..] else { panic!("{taken:?}") };
    (ticket.clone(), claimed.attempt)
}

fn settle(ticket: Ticket) -> Op {
    let verdict = Verdict::Done { effects: Vec::new(), others: Vec::new() };
    Op::Settle { ticket, verdict, report: None, answer: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_wakes_a_node_that_waits_and_is_settled_once() {
    let world = World::start().await;
    let (taken, id) = tokio::join!(world.take(node(7)), world.submit("thumbnail"));
    let (ticket, attempt) = only(&taken);
    assert_eq!((attempt, world.phase(id)), (1, Phase::Running));
    let outcome = world.done(settle(ticket.clone())).await;
    assert!(matches!(outcome, Outcome::Settled { fate: Fate::Done, .. }), "{outcome:?}");
    assert_eq!(world.phase(id), Phase::Succeeded);
    let again = world.done(settle(ticket)).await;
    assert!(matches!(again, Outcome::Refused(_)), "{again:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_goes_to_one_node() {
    let world = World::start().await;
    let mut ids = BTreeSet::new();
    for _ in 0..40 {
        ids.insert(world.submit("thumbnail").await);
    }
    let (mut seen, mut by_node, mut heard) = (BTreeSet::new(), BTreeMap::new(), [0, 0]);
    // Whoever finds nothing left waits in vain, and not for long.
    let asked = |which: u64, heard| Taking { heard, wait: Duration::from_secs(1), ..node(which) };
    while seen.len() < 40 {
        let [seven, eight] = heard;
        let (one, other) = tokio::join!(world.take(asked(7, seven)), world.take(asked(8, eight)));
        heard = [one.number, other.number];
        for (which, taken) in [(7, one), (8, other)] {
            for (ticket, _) in taken.given {
                assert!(seen.insert(ticket.message), "message {} twice", ticket.message);
                *by_node.entry(which).or_insert(0) += 1;
                world.done(settle(ticket)).await;
            }
        }
    }
    println!("by node: {by_node:?}");
    assert!(by_node.len() == 2, "{by_node:?}: both waited, and both have places");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_reply_had_comes_again_and_counts_once() {
    let world = World::start().await;
    world.submit("thumbnail").await;
    let first = world.take(node(7)).await;
    let (lost, attempt) = only(&first);
    // The reply never came: the node knows of no number yet.
    let second = world.take(node(7)).await;
    let (ticket, again) = only(&second);
    assert_eq!((attempt, again), (1, 1), "nothing was run");
    assert!(ticket.fence > lost.fence);
    assert!(
        matches!(world.done(settle(lost)).await, Outcome::Refused(_)),
        "the first claim counts for nothing"
    );
    // This one did come, and it is what runs: nothing is given back.
    let running = BTreeSet::from([ticket.clone()]);
    let third = world
        .take(Taking { heard: second.number, running, wait: Duration::from_millis(50), ..node(7) })
        .await;
    assert!(third.given.is_empty() && third.lost.is_empty(), "{third:?}");
    assert!(matches!(world.done(settle(ticket)).await, Outcome::Settled { .. }));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_take_turns_where_there_is_one_place_at_a_time() {
    let world = World::start().await;
    for function in ["a", "b", "c"] {
        for _ in 0..3 {
            world.submit(function).await;
        }
    }
    let (mut heard, mut turns) = (0, Vec::new());
    for _ in 0..9 {
        let taken = world.take(Taking { heard, places: 1, ..node(7) }).await;
        heard = taken.number;
        turns.push(only(&taken).0.queue);
    }
    let first: BTreeSet<_> = turns[..3].iter().collect();
    assert_eq!(first.len(), 3, "each of them had a turn: {turns:?}");
    assert!(turns[..3] == turns[3..6] && turns[..3] == turns[6..], "one after the other: {turns:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_hears_at_once_of_what_was_cancelled() {
    let world = World::start().await;
    let id = world.submit("thumbnail").await;
    let first = world.take(node(7)).await;
    let (ticket, _) = only(&first);
    let running = BTreeSet::from([ticket.clone()]);
    let waits = world.take(Taking { heard: first.number, running: running.clone(), ..node(7) });
    let cancels = async {
        world.done(Op::Cancel { invocation: id }).await;
        world.served.deliveries.take_away();
    };
    let (taken, ()) = tokio::join!(waits, cancels);
    assert_eq!(taken.lost, std::slice::from_ref(&ticket));
    assert_eq!(world.phase(id), Phase::Cancelled);
    // Whoever missed it is told when it asks.
    let taken = world.take(Taking { heard: first.number, running, ..node(7) }).await;
    assert_eq!(taken.lost, [ticket]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_to_a_request_that_then_ended_is_offered_again() {
    let world = World::start().await;
    let mut first = Box::pin(world.served.deliveries.take(node(7)));
    assert!(waits(&mut first).await, "nothing is there");
    let id = world.submit("thumbnail").await;
    world.runs(id).await;
    // Its message was sent, and nobody took it off.
    drop(first);
    let (_, attempt) = only(&world.take(node(7)).await);
    assert_eq!(attempt, 1, "nothing was run");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_of_a_node_ends_the_one_before() {
    let world = World::start().await;
    let mut first = Box::pin(world.served.deliveries.take(node(7)));
    assert!(waits(&mut first).await);
    let mut second = Box::pin(world.served.deliveries.take(node(7)));
    assert!(waits(&mut second).await);
    let ended = tokio::time::timeout(SOON, first).await.expect("it is answered").unwrap();
    assert!(ended.given.is_empty());
    world.submit("thumbnail").await;
    let taken = tokio::time::timeout(SOON, second).await.expect("it is answered").unwrap();
    let (ticket, _) = only(&taken);
    let running = BTreeSet::from([ticket.clone()]);
    let named = Taking { heard: taken.number, running, wait: Duration::from_millis(50), ..node(7) };
    let third = world.take(named).await;
    assert!(third.given.is_empty() && third.lost.is_empty(), "{third:?}");
    assert!(matches!(world.done(settle(ticket)).await, Outcome::Settled { .. }));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_that_hangs_was_given_goes_to_the_newer_one() {
    let world = World::start().await;
    let mut first = Box::pin(world.served.deliveries.take(node(7)));
    assert!(waits(&mut first).await);
    let id = world.submit("thumbnail").await;
    world.runs(id).await;
    // The reply goes nowhere, and the node asks anew.
    let second = world.take(node(7)).await;
    let (ticket, attempt) = only(&second);
    assert_eq!(attempt, 1);
    // Where the newer request came before the message was sent it was not sent.
    for (old, _) in first.await.unwrap().given {
        assert!(old.fence < ticket.fence);
        assert!(matches!(world.done(settle(old)).await, Outcome::Refused(_)), "it counts for nothing");
    }
    assert!(matches!(world.done(settle(ticket)).await, Outcome::Settled { .. }));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_left_while_it_waited_gets_nothing() {
    let world = World::start().await;
    let gone = tokio::time::timeout(Duration::from_millis(50), world.served.deliveries.take(node(7))).await;
    assert!(gone.is_err(), "nothing was there");
    world.submit("thumbnail").await;
    let (_, attempt) = only(&world.take(node(8)).await);
    assert_eq!(attempt, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_named_lives_on() {
    let world = World::start().await;
    world.submit("thumbnail").await;
    let first = world.take(node(7)).await;
    let (ticket, _) = only(&first);
    let until =
        |ticket: &Ticket| model::held(&world.served.replica.state(), ticket).unwrap().unwrap().until_ms;
    let before = until(&ticket);
    // As if most of its lease had passed: the least that a claim may be renewed for is not longer than what it has.
    let named =
        |wait| Taking { heard: first.number, running: BTreeSet::from([ticket.clone()]), wait, ..node(7) };
    world.take(named(Duration::from_millis(10))).await;
    assert_eq!(until(&ticket), before, "there is time enough: no entry is made for it");
    let mut renewed = before;
    while renewed == before {
        world.take(named(Duration::from_secs(1))).await;
        renewed = until(&ticket);
    }
    assert!(renewed >= before + super::RENEW_MS, "{before} {renewed}");
    world.end().await;
}
