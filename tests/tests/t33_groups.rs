//! Goal: what functions keep is kept by a data group of three replicas, through the loss of any node, and moves with its nodes.

use std::time::Duration;

use coracle_tests::{Cluster, Finished, Options, Process, within};
use futures::future::join_all;
use rustix::process::Signal;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// So many count at once while a leader is killed, each so many times.
const COUNTERS: usize = 4;
const TIMES: usize = 6;
const ALL: &str = "controller,worker,gateway,store";

async fn cluster(nodes: usize) -> Cluster {
    Cluster::with(PROGRAM, Options { nodes, roles: vec![ALL; nodes], ..Options::default() }).await
}

/// `coracle cluster groups -o json`.
async fn replicas(cluster: &Cluster) -> Result<Vec<Value>, String> {
    let listed = cluster.run(&["cluster", "groups", "-o", "json", "--wait-timeout", "5s"]).await;
    if listed.code != 0 {
        return Err(listed.stderr);
    }
    serde_json::from_str(&listed.stdout).map_err(|error| format!("{error}: {}", listed.stdout))
}

fn nodes_that(replicas: &[Value], state: &str) -> Vec<u64> {
    let are = replicas.iter().filter(|replica| replica["state"] == state);
    are.filter_map(|replica| replica["node"].as_u64()).collect()
}

/// Waits until these nodes, and no others, have replicas, all of them voting, one leading; answers with the leader.
async fn settled(cluster: &Cluster, nodes: &[u64]) -> u64 {
    within(Duration::from_secs(20), &format!("the replicas are on {nodes:?}"), async || {
        let replicas = replicas(cluster).await?;
        let leaders = nodes_that(&replicas, "leader");
        let mut all = [nodes_that(&replicas, "voter"), leaders.clone()].concat();
        all.sort_unstable();
        if all == nodes && replicas.len() == nodes.len() && leaders.len() == 1 {
            Ok(leaders[0])
        } else {
            Err(format!("{replicas:?}"))
        }
    })
    .await
}

async fn get(cluster: &Cluster, key: &str) -> String {
    cluster.run(&["kv", "get", "shop/carts", key]).await.ok().stdout
}

/// Which node has the id: they join in any order.
async fn index_of(cluster: &Cluster, id: u64) -> usize {
    let status = cluster.status().await.unwrap();
    cluster.index_of(&status, id).unwrap()
}

/// A command that ends with this code.
async fn ends(cluster: &Cluster, code: i32, arguments: &[&str]) -> String {
    cluster.run(arguments).await.failed_with(code).stderr
}

async fn set(cluster: &Cluster, key: &str, value: &str) {
    ends(cluster, 0, &["kv", "set", "shop/carts", key, value]).await;
}

async fn count(cluster: &Cluster) -> Finished {
    cluster.run(&["kv", "increment", "shop/carts", "n"]).await.ok()
}

/// Counts again and again, as a command after another; how many of them had to ask again.
async fn counts(cluster: &Cluster, times: usize) -> usize {
    let mut retried = 0;
    for _ in 0..times {
        retried += usize::from(count(cluster).await.stderr.contains("trying again"));
    }
    retried
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_kept_through_the_loss_of_any_node() {
    let mut cluster = cluster(3).await;
    settled(&cluster, &[1, 2, 3]).await;
    ends(&cluster, 0, &["kv", "create", "shop/carts"]).await;
    set(&cluster, "a", "1").await;
    let conflict = ends(&cluster, 8, &["kv", "set", "shop/carts", "a", "2", "--if-version", "0"]).await;
    assert!(conflict.contains("at version"), "{conflict}");
    for expected in 1..=3 {
        assert_eq!(count(&cluster).await.stdout.trim(), expected.to_string());
    }
    ends(&cluster, 6, &["kv", "get", "shop/carts", "zz"]).await;
    ends(&cluster, 6, &["kv", "set", "shop/nowhere", "a", "1"]).await;

    let mut retried = 0;
    for round in 0..3 {
        let leader = settled(&cluster, &[1, 2, 3]).await;
        let index = index_of(&cluster, leader).await;
        let counting = join_all((0..COUNTERS).map(|_| counts(&cluster, TIMES)));
        let killing = async {
            count(&cluster).await;
            cluster.nodes[index].signal_all(Signal::KILL);
        };
        let (counted, ()) = tokio::join!(counting, killing);
        retried += counted.iter().sum::<usize>();
        cluster.nodes[index].kill();
        set(&cluster, "a", &format!("round {round}")).await;
        assert_eq!(get(&cluster, "a").await, format!("round {round}"));
        let counted = 3 + (COUNTERS * TIMES + 1) * (round + 1);
        assert_eq!(get(&cluster, "n").await, counted.to_string(), "each was counted once");
        cluster.nodes[index].start();
        cluster.wait_alive(3).await;
    }
    println!("{retried} increments were asked for more than once");
    assert!(retried > 0, "no kill met an increment");
    settled(&cluster, &[1, 2, 3]).await;
    // All at once, as a power cut of the room.
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.wait_alive(3).await;
    settled(&cluster, &[1, 2, 3]).await;
    assert_eq!(get(&cluster, "a").await, "round 2");
    let listed = cluster.run(&["kv", "list", "shop/carts", "-o", "name"]).await.ok();
    assert_eq!(listed.stdout, "a\nn\n");
}

/// Which three nodes have replicas, once all of them vote.
async fn three(cluster: &Cluster) -> Vec<u64> {
    within(Duration::from_secs(20), "three replicas vote", async || {
        let replicas = replicas(cluster).await?;
        let mut all = [nodes_that(&replicas, "voter"), nodes_that(&replicas, "leader")].concat();
        all.sort_unstable();
        if all.len() == 3 && replicas.len() == 3 { Ok(all) } else { Err(format!("{replicas:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_their_nodes() {
    let mut cluster = cluster(4).await;
    let members = three(&cluster).await;
    let spare = (1..=4).find(|node| !members.contains(node)).unwrap();
    ends(&cluster, 0, &["kv", "create", "shop/carts"]).await;
    set(&cluster, "a", "1").await;
    // One that dies and stays away: the spare one takes its place.
    let dies = members[2];
    let index = index_of(&cluster, dies).await;
    cluster.nodes[index].kill();
    let mut left: Vec<u64> = members.iter().copied().filter(|node| *node != dies).chain([spare]).collect();
    left.sort_unstable();
    within(Duration::from_secs(30), &format!("the replicas are on {left:?}"), async || {
        let replicas = replicas(&cluster).await?;
        let voting = [nodes_that(&replicas, "voter"), nodes_that(&replicas, "leader")].concat();
        if left.iter().all(|node| voting.contains(node)) { Ok(()) } else { Err(format!("{replicas:?}")) }
    })
    .await;
    set(&cluster, "a", "2").await;
    // It comes back, and what it has is of no use any more.
    cluster.nodes[index].start();
    settled(&cluster, &left).await;
    // A node that leaves on purpose: its replica moves first, to the one that is spare now.
    let leaves = left[1];
    ends(&cluster, 0, &["node", "remove", &leaves.to_string(), "--yes"]).await;
    let mut left: Vec<u64> = left.into_iter().filter(|node| *node != leaves).chain([dies]).collect();
    left.sort_unstable();
    settled(&cluster, &left).await;
    assert_eq!(get(&cluster, "a").await, "2");
    // There is no other one: with two left the group shrinks.
    ends(&cluster, 0, &["node", "remove", &left[1].to_string(), "--yes"]).await;
    settled(&cluster, &[left[0], left[2]]).await;
    assert_eq!(get(&cluster, "a").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_supervised_as_the_other_processes_are() {
    let cluster = cluster(1).await;
    settled(&cluster, &[1]).await;
    ends(&cluster, 0, &["kv", "create", "shop/carts"]).await;
    set(&cluster, "a", "1").await;
    let node = &cluster.nodes[0];
    let before = node.pid(Process::Store).unwrap();
    node.signal(Process::Store, Signal::KILL);
    within(Duration::from_secs(5), "another one runs", async || {
        let pid = node.pid(Process::Store)?;
        if pid == before { Err("it is the same".to_owned()) } else { Ok(()) }
    })
    .await;
    settled(&cluster, &[1]).await;
    assert_eq!(get(&cluster, "a").await, "1");
    let metrics = cluster.client.get(&format!("http://{}/metrics", node.admin)).await.unwrap().text();
    for line in ["coracle_child_up{child=\"store\"} 1", "coracle_store_raft_leader{group=\"1\"} 1"] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    let status = cluster.status().await.unwrap();
    assert!(status["nodes"][0]["pids"]["store"].is_u64(), "{status}");
    assert!(status["nodes"][0]["roles"].to_string().contains("store"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_stores_says_how_to_get_one() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let refused = ends(&cluster, 5, &["kv", "get", "carts", "a"]).await;
    assert!(refused.contains("role store") && refused.contains("no-store"), "{refused}");
    assert_eq!(cluster.run(&["cluster", "groups", "-o", "json"]).await.ok().stdout.trim(), "[]");
}
