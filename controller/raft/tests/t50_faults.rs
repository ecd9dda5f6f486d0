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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coracle_raft::{Follower, ProposeError, Role, Status, TIMING, Timing};
use node::{Cluster, QUICK, Stalls, eventually, get, id, set};

/// Without the witness a follower waits for the end of the lease, 4 s here, and 2 to 4 s more.
const PATIENT: Timing = Timing {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_secs(2),
    election_max: Duration::from_secs(4),
};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the time without a leader is measured")]
async fn a_killed_leader_is_replaced_before_its_lease_ends() {
    let mut cluster = Cluster::new(3, |options| options.timing = PATIENT).await;
    for key in 0..50 {
        cluster.propose(set(key, key)).await;
    }
    for node in cluster.nodes.keys() {
        cluster.caught_up(*node).await;
    }
    let leader = cluster.leader().await;
    let (old, term) = (leader.id, leader.raft.status().term);
    let killed = Instant::now();
    let address = cluster.kill(old).await;
    cluster.propose(set("after", 1)).await;
    let gap = killed.elapsed();
    let next = cluster.leader().await;
    assert_ne!(next.id, old);
    assert!(next.raft.status().term > term);
    for key in 0..50 {
        assert_eq!(get(&next.raft, key), Some(key.to_string()));
    }
    println!("writes again {gap:?} after the kill");
    assert!(gap < PATIENT.election_max, "{gap:?}: it waited for the lease");

    cluster.start(old, Some(address)).await;
    assert_eq!(get(&cluster.caught_up(old).await.raft, "after").as_deref(), Some("1"));
    cluster.shutdown().await;
}

/// The Raft of a leader may end, say for its disk, long before its process does.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the time without a leader is measured")]
async fn a_leader_whose_raft_ended_first_is_replaced_as_soon_as_its_port_refuses() {
    let mut cluster = Cluster::new(3, |options| options.timing = PATIENT).await;
    cluster.propose(set("before", 1)).await;
    let leader = cluster.leader().await.id;
    let followers = cluster.followers(leader);
    let ended = Instant::now();
    cluster.nodes[&leader].raft.shutdown().await;
    // Its port still listens, and says that nobody leads there.
    for follower in &followers {
        let raft = &cluster.nodes[follower].raft;
        eventually("no leader is named", || raft.status().leader.is_none()).await;
    }
    let noticed = ended.elapsed();
    assert!(noticed < PATIENT.election_max, "{noticed:?}: it was told by an election");
    let killed = Instant::now();
    cluster.kill(leader).await;
    cluster.propose(set("after", 1)).await;
    let gap = killed.elapsed();
    println!("writes again {gap:?} after the port closed");
    assert!(gap < PATIENT.election_max, "{gap:?}: it waited for the lease");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_voters_of_three_serve_and_one_refuses() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    let first = cluster.followers(cluster.leader().await.id)[0];
    cluster.kill(first).await;
    cluster.propose(set("two", 1)).await;
    for node in cluster.nodes.keys() {
        cluster.caught_up(*node).await;
    }
    let second = cluster.followers(cluster.leader().await.id)[0];
    cluster.kill(second).await;
    let alone = &cluster.nodes.values().next().unwrap().raft;
    let refused = alone.propose(set("one", 1)).await;
    let Err(error) = refused else { panic!("a minority took a command") };
    assert!(!matches!(error, ProposeError::Stopped { .. }), "{error}");
    // Once the lease has ended it is refused without an entry in the log.
    let refused = alone.propose(set("one", 2)).await.err();
    assert!(refused.as_ref().is_some_and(ProposeError::nothing_happened), "{refused:?}");
    let read = alone.read_barrier().await;
    assert!(read.is_err(), "{read:?}");
    assert_eq!(get(alone, "two").as_deref(), Some("1"), "stale reads go on");
    cluster.shutdown().await;
}

/// How long a link stays cut: many times what any election takes.
const CUT_FOR: Duration = Duration::from_secs(30);

/// A partial partition: the leader and one follower do not reach each other, the third reaches both.
#[tokio::test(flavor = "multi_thread")]
async fn one_rejected_link_changes_the_leader_at_most_once() {
    let cluster = Cluster::new(3, |_| ()).await;
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
        link.mend().await;
    }
    let stalls = Stalls::watch(TIMING.election_min);
    let heard = |follower: &Follower| follower.heard.is_some_and(|heard| heard < TIMING.election_min);
    eventually("a leader hears everybody", || {
        let leads = |status: &Status| status.role == Role::Leader && status.followers.len() == 2;
        let mut statuses = cluster.nodes.values().map(|node| node.raft.status());
        statuses.any(|status| leads(&status) && status.followers.values().all(heard))
    })
    .await;
    let leader = cluster.leader().await;
    let (leader, before) = (leader.id, leader.raft.status().term);
    let cut_off = cluster.followers(leader)[0];
    let cut = |from: u64, to: u64| [(leader, cut_off), (cut_off, leader)].contains(&(from, to));
    for (_, _, link) in links.iter_mut().filter(|(from, to, _)| cut(*from, *to)) {
        link.cut().await;
    }
    // The fault bites: the leader does not hear of the one that it cannot reach.
    let raft = &cluster.nodes[&leader].raft;
    let silent = 2 * TIMING.election_max;
    eventually("the link is cut", || {
        let status = raft.status();
        let heard = status.followers.get(&id(cut_off)).and_then(|follower| follower.heard);
        status.role != Role::Leader || heard.is_none_or(|heard| heard > silent)
    })
    .await;
    let (terms, writes) = terms_of_leaders(&cluster, before).await;
    let stalls = stalls.seen();
    println!("terms {terms:?}, {writes} writes, {stalls} stalls of this process");
    assert!(terms.len() <= 2 + stalls, "leaders of {} terms: {terms:?}, {stalls} stalls", terms.len());
    assert!(writes > 10, "{writes} writes");
    for (_, _, link) in links.iter_mut().filter(|(from, to, _)| cut(*from, *to)) {
        link.mend().await;
    }
    cluster.propose(set("after", 1)).await;
    cluster.caught_up(cut_off).await;
    cluster.shutdown().await;
}

/// Writes all the while, wherever the leader is, and notes in which terms there was one.
async fn terms_of_leaders(cluster: &Cluster, before: u64) -> (BTreeSet<u64>, usize) {
    let (mut terms, mut writes) = (BTreeSet::from([before]), 0);
    let mut tick = tokio::time::interval(TIMING.heartbeat);
    let looking = tokio::time::timeout(CUT_FOR, async {
        loop {
            for node in cluster.nodes.values() {
                let status = node.raft.status();
                if status.vote.committed {
                    terms.insert(status.term);
                }
                writes += usize::from(node.raft.propose(set("key", writes)).await.is_ok());
            }
            tick.tick().await;
        }
    });
    assert!(looking.await.is_err());
    (terms, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_leader_is_killed_in_turn_and_nothing_acknowledged_is_lost() {
    const EACH: usize = 50;
    let mut cluster = Cluster::new(3, |options| {
        options.timing = QUICK;
        (options.limits.snapshot_every, options.limits.keep_entries) = (60, 10);
    })
    .await;
    for round in 0..5 {
        for key in 0..EACH {
            cluster.propose(set(round * EACH + key, round)).await;
        }
        let old = cluster.leader().await.id;
        let address = cluster.kill(old).await;
        cluster.propose(set("between", round)).await;
        cluster.start(old, Some(address)).await;
        for node in cluster.nodes.keys() {
            cluster.caught_up(*node).await;
        }
    }
    let state = cluster.caught_up(1).await.raft.state();
    for node in cluster.nodes.keys() {
        let node = cluster.caught_up(*node).await;
        assert_eq!(node.raft.state(), state, "node {}", node.id);
        assert!((0..5 * EACH).all(|key| get(&node.raft, key).is_some()), "node {}", node.id);
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
    let down = cluster.followers(cluster.leader().await.id)[0];
    let (address, calls) = hanging_up().await;
    for other in cluster.followers(down) {
        cluster.mislead(other, down, address);
    }
    cluster.kill(down).await;
    eventually("the leader asks the member that is down", || calls.load(Ordering::SeqCst) > 0).await;
    let before = calls.load(Ordering::SeqCst);
    // Entries go on: without any the leader would have little to say.
    let mut writes = 0;
    let until = tokio::time::timeout(ASKED_FOR, async {
        loop {
            cluster.propose(set("key", writes)).await;
            writes += 1;
        }
    });
    assert!(until.await.is_err());
    let asked = calls.load(Ordering::SeqCst) - before;
    println!("asked {asked} times in {ASKED_FOR:?}, beside {writes} writes");
    assert!((1..ASKED_MAX).contains(&asked), "asked {asked} times in {ASKED_FOR:?}");
    cluster.shutdown().await;
}

/// Three voters and a learner, number 4.
async fn with_learner() -> Cluster {
    let mut cluster = Cluster::new(3, |_| ()).await;
    let address = cluster.start(4, None).await.address.to_string();
    cluster.at_leader_of(&[1, 2, 3], async |leader| leader.add_learner(id(4), address.as_str()).await).await;
    cluster.propose(set("a", 1)).await;
    cluster.caught_up(4).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_names_no_leader_whose_process_is_gone() {
    let mut cluster = with_learner().await;
    let leader = cluster.leader().await.id;
    for voter in 1..=3 {
        if voter != leader {
            cluster.kill(voter).await;
        }
    }
    let learner = &cluster.nodes[&4].raft;
    eventually("the leader is named while it lives", || learner.status().leader.is_some()).await;
    cluster.kill(leader).await;
    let learner = &cluster.nodes[&4].raft;
    eventually("no leader is named", || learner.status().leader.is_none()).await;
    cluster.shutdown().await;
}

/// The old leader comes back and cannot win: nobody leads, though its process is there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_started_again_is_not_named_until_it_leads() {
    let mut cluster = Cluster::new(5, |_| ()).await;
    cluster.propose(set("a", 1)).await;
    let leader = cluster.leader().await.id;
    let followers = cluster.followers(leader);
    let last = followers[0];
    for follower in &followers[1..] {
        cluster.kill(*follower).await;
    }
    let named = |cluster: &Cluster| cluster.nodes[&last].raft.status().leader.map(|leader| leader.node);
    let address = cluster.kill(leader).await;
    eventually("no leader is named", || named(&cluster).is_none()).await;
    cluster.start(leader, Some(address)).await;
    // Several attendances long.
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..100 {
        tick.tick().await;
        assert_ne!(named(&cluster), Some(id(leader)), "a leader of two in five");
    }
    cluster.shutdown().await;
}

/// By the vote in its store it follows a leader that it has never reached since, and never will.
#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_was_started_again_alone_names_no_leader() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    cluster.propose(set("a", 1)).await;
    let leader = cluster.leader().await.id;
    let [other, last] = cluster.followers(leader)[..] else { panic!("three members") };
    cluster.caught_up(last).await;
    cluster.kill(other).await;
    let vote = cluster.nodes[&last].raft.status().vote;
    let address = cluster.kill(last).await;
    cluster.kill(leader).await;
    let again = cluster.start(last, Some(address)).await;
    assert_eq!(again.raft.status().vote, vote, "its store has another vote");
    eventually("no leader is named", || again.raft.status().leader.is_none()).await;
    cluster.shutdown().await;
}
