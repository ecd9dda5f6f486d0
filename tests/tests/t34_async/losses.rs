//! Goal: nodes are killed in the middle of asynchronous calls, and none of those that were accepted is lost.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_tests::{Client, Cluster, wat, within};
use futures::future::join_all;
use rustix::process::Signal;

use super::{AFTER_A_LOSS, attempts, cluster, post};

/// Calls in each of two rounds, of which a node is killed in the middle.
const CALLS: usize = 100;
/// So many are sent at once.
const LANES: usize = 5;
/// Long enough that a kill meets calls that are being made.
const SLOW_NAP: &str = "(call $nap (i64.const 300)) (call $say (i32.const 1))";

/// Sends calls until each is accepted, whoever is killed meanwhile; the ids.
async fn accepted(urls: &[String], lane: &str, calls: usize, count: &AtomicUsize) -> Vec<String> {
    let client = Client::new(Duration::from_secs(12));
    let mut ids = Vec::new();
    for call in 0..calls {
        let (key, turn) = (format!("{lane}-{call}"), Cell::new(call));
        let id = within(Duration::from_secs(20), &format!("call {key} is accepted"), async || {
            turn.set(turn.get() + 1);
            // The key makes a call that is sent again the same one.
            let answer = post(&client, &urls[turn.get() % urls.len()], &key, "").await?;
            match answer.status.as_u16() {
                202 => Ok(answer.header("coracle-invocation-id").to_owned()),
                _ => Err(format!("{} {}", answer.status, answer.text())),
            }
        })
        .await;
        count.fetch_add(1, Ordering::SeqCst);
        ids.push(id);
    }
    ids
}

/// Calls while the node is killed in the middle of them; then it comes back.
async fn round(cluster: &mut Cluster, name: &str, killed: usize) -> Vec<String> {
    let urls: Vec<_> = (0..3).map(|node| cluster.url(node, "/naps")).collect();
    let count = AtomicUsize::new(0);
    let lanes: Vec<_> = (0..LANES).map(|lane| format!("{name}-{lane}")).collect();
    let calling = join_all(lanes.iter().map(|lane| accepted(&urls, lane, CALLS / LANES, &count)));
    let killing = within(Duration::from_secs(30), "the round is in its middle", async || {
        match count.load(Ordering::SeqCst) {
            count if count < CALLS / 3 => Err(format!("{count} accepted")),
            count => {
                cluster.nodes[killed].signal_all(Signal::KILL);
                Ok(count)
            }
        }
    });
    let (ids, middle) = tokio::join!(calling, killing);
    assert!(middle < CALLS, "the kill met no call");
    cluster.nodes[killed].kill();
    cluster.nodes[killed].start();
    cluster.wait_alive(3).await;
    ids.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_call_is_lost_whoever_is_killed() {
    let mut cluster = cluster(3).await;
    let naps = wat::command(cluster.folder(), "naps", SLOW_NAP);
    cluster.deploy("naps", &naps, &["--replicas", "2"]).await;
    let leader = cluster.leading_store(3).await;
    let mut ids = round(&mut cluster, "leader", leader).await;
    let leader = cluster.leading_store(3).await;
    let holders = cluster.holders("naps").await;
    let worker = *holders.iter().find(|node| **node != leader).expect("two nodes hold it");
    ids.extend(round(&mut cluster, "worker", worker).await);

    let ids: BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(ids.len(), 2 * CALLS, "each call has an id of its own");
    let all = within(AFTER_A_LOSS, "all have succeeded", async || {
        let list = ["invocation", "list", "--function", "naps", "--limit", "1000", "-o", "json"];
        let all = cluster.run(&list).await.ok().json().as_array().unwrap().clone();
        let open: Vec<_> = all.iter().filter(|it| it["state"] != "succeeded").collect();
        if open.is_empty() { Ok(all) } else { Err(format!("{} have not: {:?}", open.len(), open[0])) }
    })
    .await;
    let known: BTreeSet<_> = all.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(known, ids, "those that were accepted, and no others");
    let mut again = 0;
    for record in &all {
        let attempts = attempts(record);
        let numbers: Vec<u64> = (1..=attempts.len() as u64).collect();
        assert_eq!(attempts, numbers, "attempts have a gap: {record}");
        again += usize::from(attempts.len() > 1);
    }
    println!("{again} of {} calls were made more than once", all.len());
    // The goal of the test is the loss: a kill that met no attempt says nothing of it.
    assert!(again > 0, "no kill met an attempt");
}
