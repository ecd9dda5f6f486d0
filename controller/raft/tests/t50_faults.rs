//! Leaders that are killed, links that are cut, members that come back: one leader, nothing lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "harness/kv.rs"]
mod kv;
#[path = "harness/node.rs"]
mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coracle_raft::{ProposeError, Role};
use node::{Cluster, QUICK, eventually, get, id, set, until};

/// Started with the times of production, where the lease alone takes 1.2 s.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the time without a leader is measured")]
async fn a_killed_leader_is_replaced_before_its_lease_ends() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    let leader = cluster.leader().await;
    let (old, term) = (leader.id, leader.raft.status().term);
    for key in 0..50 {
        leader.raft.propose(set(key, key)).await.unwrap();
    }
    for node in cluster.followers(old) {
        let follower = &cluster.nodes[&node].raft;
        assert_eq!(follower.status().leader.unwrap().node, id(old), "the killed one leads");
        until(follower, "it has everything", |status| status.applied >= leader.raft.status().applied).await;
    }
    let killed = Instant::now();
    let address = cluster.kill(old).await;
    let next = cluster.leader().await;
    next.raft.propose(set("after", 1)).await.unwrap();
    let gap = killed.elapsed();
    assert_ne!(next.id, old);
    assert!(next.raft.status().term > term);
    for key in 0..50 {
        assert_eq!(get(&next.raft, key), Some(key.to_string()));
    }
    println!("writes again {gap:?} after the kill");
    assert!(gap < Duration::from_millis(1_200), "{gap:?}: it waited for the lease");

    let back = &cluster.start(old, Some(address)).await.raft;
    back.read_barrier().await.unwrap();
    assert_eq!(get(back, "after").as_deref(), Some("1"));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_voters_of_three_serve_and_one_refuses() {
    let mut cluster = Cluster::new(3, |options| options.timing = QUICK).await;
    for _ in 0..2 {
        let leader = cluster.leader().await.id;
        if cluster.nodes.len() == 3 {
            let follower = cluster.followers(leader)[0];
            cluster.kill(follower).await;
            cluster.nodes[&leader].raft.propose(set("two", 1)).await.unwrap();
        } else {
            let follower = cluster.followers(leader)[0];
            cluster.kill(follower).await;
            let alone = &cluster.nodes[&leader].raft;
            let refused = alone.propose(set("one", 1)).await;
            let Err(error) = refused else { panic!("a minority took a command") };
            assert!(!matches!(error, ProposeError::Stopped { .. }), "{error}");
            // Once the lease has ended it is refused without an entry in the log.
            let refused = alone.propose(set("one", 2)).await;
            assert!(matches!(refused, Err(ProposeError::NoQuorum { .. })), "{refused:?}");
            let read = alone.read_barrier().await;
            assert!(read.is_err(), "{read:?}");
            assert_eq!(get(alone, "two").as_deref(), Some("1"), "stale reads go on");
        }
    }
    cluster.shutdown().await;
}

/// A partial partition: the leader and one follower do not reach each other, the third reaches both.
#[tokio::test(flavor = "multi_thread")]
async fn one_rejected_link_changes_the_leader_at_most_once() {
    let cluster = Cluster::new(3, |options| options.timing = QUICK).await;
    let mut links = Vec::new();
    for from in 1..=3 {
        for to in 1..=3 {
            if from != to {
                links.push((from, to, cluster.proxy(from, to).await));
            }
        }
    }
    // Every connection runs through the proxies once it was made anew.
    for (_, _, link) in &mut links {
        link.cut().await;
        link.mend();
    }
    let leader = cluster.leader().await.id;
    let cut_off = cluster.followers(leader)[0];
    until(&cluster.nodes[&leader].raft, "it hears everybody", |status| {
        status
            .followers
            .values()
            .all(|follower| follower.heard.is_some_and(|heard| heard < QUICK.election_min))
    })
    .await;
    let leader = cluster.leader().await.id;
    let before = cluster.nodes[&leader].raft.status().term;
    for (from, to, link) in &mut links {
        if [(leader, cut_off), (cut_off, leader)].contains(&(*from, *to)) {
            link.cut().await;
        }
    }
    // The fault bites: the leader does not hear of the one that it cannot reach.
    let raft = &cluster.nodes[&leader].raft;
    let silent = 2 * QUICK.election_max;
    eventually("the link is cut", || {
        let status = raft.status();
        status.role != Role::Leader || status.followers[&id(cut_off)].heard.is_none_or(|heard| heard > silent)
    })
    .await;
    // Ten election time-outs; writes go on all the while, wherever the leader is.
    let (mut terms, mut writes) = (std::collections::BTreeSet::from([before]), 0);
    let until = tokio::time::timeout(20 * QUICK.election_max, async {
        loop {
            for node in cluster.nodes.values() {
                let status = node.raft.status();
                if status.vote.committed {
                    terms.insert(status.term);
                }
                writes += usize::from(node.raft.propose(set("key", writes)).await.is_ok());
            }
            tokio::time::interval_at(tokio::time::Instant::from_std(later()), QUICK.heartbeat).tick().await;
        }
    });
    assert!(until.await.is_err());
    println!("terms {terms:?}, {writes} writes");
    assert!(terms.len() <= 2, "leaders of {} terms: {terms:?}", terms.len());
    assert!(writes > 10, "{writes} writes");
    for (from, to, link) in &mut links {
        if [(leader, cut_off), (cut_off, leader)].contains(&(*from, *to)) {
            link.mend();
        }
    }
    let term = cluster.leader().await.raft.status().term;
    cluster.nodes[&cut_off].raft.read_barrier().await.unwrap();
    assert!(cluster.leader().await.raft.status().term <= term + 1);
    cluster.shutdown().await;
}

#[expect(clippy::disallowed_methods, reason = "a pause between two looks")]
fn later() -> Instant {
    Instant::now() + QUICK.heartbeat
}

#[tokio::test(flavor = "multi_thread")]
async fn every_leader_is_killed_in_turn_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::new(3, |options| {
        options.timing = QUICK;
        (options.limits.snapshot_every, options.limits.keep_entries) = (60, 10);
    })
    .await;
    let mut acknowledged = 0;
    for round in 0..5 {
        let leader = cluster.leader().await;
        for _ in 0..50 {
            if leader.raft.propose(set(acknowledged, round)).await.is_ok() {
                acknowledged += 1;
            }
        }
        let old = leader.id;
        let address = cluster.kill(old).await;
        cluster.leader().await.raft.propose(set("between", round)).await.unwrap();
        cluster.start(old, Some(address)).await;
        for node in cluster.nodes.values() {
            node.raft.read_barrier().await.unwrap();
        }
    }
    assert!(acknowledged >= 200);
    let state = cluster.leader().await.raft.state();
    for node in cluster.nodes.values() {
        node.raft.read_barrier().await.unwrap();
        assert_eq!(node.raft.state(), state, "node {}", node.id);
        assert_eq!(node.mirror.0.lock().unwrap().0, state);
        assert!((0..acknowledged).all(|key| get(&node.raft, key).is_some()), "node {}", node.id);
    }
    cluster.shutdown().await;
}

/// How long a member that is down is asked, and how often at most: a heartbeat each 100 ms, entries each 200 ms.
const ASKED_FOR: Duration = Duration::from_secs(2);
const ASKED_MAX: usize = 100;

/// A port that hangs up at once, and how often it was called.
async fn hanging_up() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(caller);
        }
    });
    (address, calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_down_is_asked_now_and_then() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    let leader = cluster.leader().await.id;
    let down = cluster.followers(leader)[0];
    let (address, calls) = hanging_up().await;
    cluster.mislead(leader, down, address);
    cluster.kill(down).await;
    let raft = &cluster.nodes[&leader].raft;
    eventually("the leader asks the member that is down", || calls.load(Ordering::SeqCst) > 0).await;
    let before = calls.load(Ordering::SeqCst);
    // Entries go on: without any the leader would have little to say.
    let mut writes = 0;
    let until = tokio::time::timeout(ASKED_FOR, async {
        loop {
            raft.propose(set("key", writes)).await.unwrap();
            writes += 1;
        }
    });
    assert!(until.await.is_err());
    let asked = calls.load(Ordering::SeqCst) - before;
    println!("asked {asked} times in {ASKED_FOR:?}, beside {writes} writes");
    assert!((1..ASKED_MAX).contains(&asked), "asked {asked} times in {ASKED_FOR:?}");
    assert_eq!(raft.status().role, Role::Leader);
    cluster.shutdown().await;
}
