//! Goal: the loss of any node, leader or worker, killed or stopped, fails no call at the other nodes' gateways.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_tests::{Cluster, Load, Report, eventually, guest, within};
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const CALLS: usize = 5000;
const RATE: u32 = 200;

/// A three-node cluster whose function is held by exactly the nodes given back.
async fn prepared() -> (Cluster, Vec<usize>) {
    let cluster = Cluster::start(PROGRAM, 3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "2"]).await;
    let detail = cluster.run(&["function", "get", "hello-min", "-o", "json"]).await.ok().json();
    let ids: Vec<u64> =
        detail["replicas"].as_array().unwrap().iter().map(|it| it["node"].as_u64().unwrap()).collect();
    let mut holders = Vec::new();
    for node in 0..3 {
        if ids.contains(&cluster.id_of(node).await) {
            holders.push(node);
        }
        eventually("each gateway answers", async || {
            let answer = cluster.client.get(&cluster.url(node, "/hello-min")).await?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
    assert_eq!(holders.len(), 2, "{detail}");
    (cluster, holders)
}

/// Loads the gateways of `survivors`, does `fault` after a third of the calls, and gives the report.
async fn under_load(
    cluster: &mut Cluster,
    survivors: &[usize],
    fault: impl AsyncFnOnce(&mut Cluster),
) -> Report {
    let urls = survivors.iter().map(|node| cluster.url(*node, "/hello-min")).collect();
    let sent = Arc::new(AtomicUsize::new(0));
    let load = tokio::spawn(Load::gets(CALLS, RATE, urls).run(sent.clone()));
    within(Duration::from_secs(30), "a third of the calls were sent", async || {
        match sent.load(Ordering::SeqCst) {
            count if count >= CALLS / 3 => Ok(()),
            count => Err(format!("{count} sent")),
        }
    })
    .await;
    fault(cluster).await;
    let report = load.await.expect("the load runs to its end");
    println!("{report}");
    report
}

/// Writes again: an empty change of a function's routes would be no change, so a new function is deployed.
async fn writes_again(cluster: &Cluster, name: &str) {
    let file = guest("c-http.component.wasm").display().to_string();
    within(Duration::from_secs(5), "a control-plane write", async || {
        let done = cluster.run(&["deploy", name, &file, "--no-wait", "--wait-timeout", "5s"]).await;
        if done.code == 0 { Ok(()) } else { Err(done.stderr) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_that_holds_a_replica_is_killed_under_load() {
    let (mut cluster, holders) = prepared().await;
    let leader = cluster.leader().await;
    if !holders.contains(&leader) {
        // The fault must bite: another function's replicas are of no use, so all three nodes hold it.
        cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "3"]).await;
    }
    let survivors: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let before = cluster.id_of(leader).await.to_string();
    let report = under_load(&mut cluster, &survivors, async |cluster: &mut Cluster| {
        cluster.nodes[leader].kill();
        writes_again(cluster, "after-kill").await;
    })
    .await;
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.by_node().contains_key(&before), "the killed node served nothing before: {report}");
    let new = cluster.leader().await;
    assert_ne!(new, leader);
    cluster.nodes[leader].start();
    cluster.wait_alive(3).await;
    eventually("the node that came back serves what was deployed meanwhile", async || {
        let answer = cluster.client.get(&cluster.url(leader, "/after-kill")).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_killed_under_load() {
    let (mut cluster, holders) = prepared().await;
    let leader = cluster.leader().await;
    let victim = *holders.iter().find(|node| **node != leader).expect("two holders");
    let name = cluster.id_of(victim).await.to_string();
    // Only the gateway without a replica must move calls: local first keeps the other's at home.
    let survivors: Vec<usize> = (0..3).filter(|node| *node != victim).collect();
    let report =
        under_load(&mut cluster, &survivors, async |cluster: &mut Cluster| cluster.nodes[victim].kill())
            .await;
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.by_node().contains_key(&name), "the killed node served nothing before: {report}");
    eventually("the replica moved to a node that lives", async || {
        let detail = cluster.run(&["function", "get", "hello-min", "-o", "json"]).await.json();
        let nodes: Vec<_> = detail["replicas"]
            .as_array()
            .ok_or("no replicas")?
            .iter()
            .map(|it| it["node"].to_string())
            .collect();
        if nodes.len() >= 2 && !nodes.contains(&name) { Ok(()) } else { Err(format!("{nodes:?}")) }
    })
    .await;
    cluster.nodes[victim].start();
    cluster.wait_alive(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_stopped_for_ten_seconds_under_load() {
    let (mut cluster, holders) = prepared().await;
    let leader = cluster.leader().await;
    let victim = *holders.iter().find(|node| **node != leader).expect("two holders");
    let name = cluster.id_of(victim).await.to_string();
    let survivors: Vec<usize> = (0..3).filter(|node| *node != victim).collect();
    let report = under_load(&mut cluster, &survivors, async |cluster: &mut Cluster| {
        cluster.nodes[victim].signal_all(Signal::STOP);
        let stopped = std::time::Instant::now();
        writes_again(cluster, "while-stopped").await;
        eventually("ten seconds of standstill", async || {
            if stopped.elapsed() >= Duration::from_secs(10) { Ok(()) } else { Err("stopped".into()) }
        })
        .await;
        cluster.nodes[victim].signal_all(Signal::CONT);
    })
    .await;
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.by_node().contains_key(&name), "the stopped node served nothing before: {report}");
    assert!(report.moved() > 0, "no call was moved: {report}");
    cluster.wait_alive(3).await;
    eventually("the node that came back knows what was deployed meanwhile", async || {
        let answer = cluster.client.get(&cluster.url(victim, "/while-stopped")).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_serves_and_refuses_changes() {
    let (mut cluster, holders) = prepared().await;
    let keep = holders[0];
    for node in (0..3).filter(|node| *node != keep) {
        cluster.nodes[node].kill();
    }
    for _ in 0..20 {
        let answer = cluster.client.get(&cluster.url(keep, "/hello-min")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let file = guest("c-http.component.wasm").display().to_string();
    let refused = cluster.run(&["deploy", "never", &file, "--wait-timeout", "8s"]).await;
    // While the last node still believes that it leads, an entry may be in its log: nobody can say what becomes of it.
    let words = ["no-quorum", "outcome-unknown", "timed-out"];
    assert!(refused.code != 0 && words.iter().any(|word| refused.stderr.contains(word)), "{refused:?}");
    eventually("it knows that it is alone", async || {
        let refused = cluster.run(&["deploy", "never", &file, "--wait-timeout", "8s"]).await;
        if refused.stderr.contains("no-quorum") { Ok(()) } else { Err(refused.stderr) }
    })
    .await;
    let status = cluster.run(&["status", "-o", "json", "--stale"]).await.ok().json();
    assert_eq!(status["quorum"], false, "{status}");
}
