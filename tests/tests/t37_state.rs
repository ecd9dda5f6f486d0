//! Goal: what functions keep is kept, and what calls for events do counts once: the sum of counters is exact and each message
//! is published once, whoever dies in the middle.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_tests::{Client, Cluster, Options, guest, text_component, within};
use http::Method;
use rustix::process::Signal;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// Events, each of which reads, adds and publishes. The goal is told for 10,000: `CORACLE_TEST_EVENTS` says how many.
const EVENTS: usize = 100;
/// Several at once are published by one request.
const BATCH: usize = 50;
/// One after the other, where they all want one counter.
const EACH: Duration = Duration::from_millis(200);

/// A cluster with a counter that takes what is published to `jobs`.
async fn counting() -> Cluster {
    let cluster = Cluster::with(PROGRAM, Options { nodes: 3, stores: true, ..Options::default() }).await;
    let _ = cluster.leading_store(3).await;
    let project = cluster.folder().join("project");
    std::fs::create_dir(&project).expect("a folder");
    std::fs::rename(text_component(cluster.folder(), "counter"), project.join("counter.wasm"))
        .expect("moved");
    let manifest = "[function.counter]\ncomponent = 'counter.wasm'\nkeyvalue = ['counters']\npublish = ['done']\nconcurrency = 2\n\
                    [bucket.counters]\n[queue.jobs]\n[queue.done]\n\
                    [[trigger]]\nfunction = 'counter'\nqueue = 'jobs'\n";
    std::fs::write(project.join("coracle.toml"), manifest).expect("written");
    let deployed = cluster.run(&["deploy", project.to_str().expect("a text")]).await.ok();
    println!("{}", deployed.stderr);
    cluster
}

/// Publishes so many, each with an id of its own, until they are taken.
async fn publish(cluster: &Cluster, count: usize) {
    let client = Client::new(Duration::from_secs(12));
    let ids: Vec<_> = (0..count).collect();
    for (turn, some) in ids.chunks(BATCH).enumerate() {
        let event =
            |id: &usize| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"test"}}"#);
        let body = format!("[{}]", some.iter().map(event).collect::<Vec<_>>().join(","));
        within(Duration::from_secs(20), &format!("batch {turn} is accepted"), async || {
            let headers = [("content-type", "application/cloudevents-batch+json")];
            let url = cluster.url(turn % 3, "/.coracle/publish/jobs");
            let answer = client.send(Method::POST, &url, &headers, body.clone().into()).await?;
            if answer.status == 202 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        })
        .await;
    }
}

/// `coracle queue get NAME -o json`.
async fn queue(cluster: &Cluster, name: &str) -> Result<Value, String> {
    let got = cluster.run(&["queue", "get", name, "-o", "json", "--wait-timeout", "5s"]).await;
    serde_json::from_str(&got.stdout).map_err(|_| got.stderr)
}

/// Waits until so many are settled.
async fn settled(cluster: &Cluster, count: usize, goal: Duration) {
    within(goal, &format!("{count} are settled"), async || {
        let queue = queue(cluster, "jobs").await?;
        let settled = queue["totals"]["settled"].as_u64();
        if settled >= Some(count as u64) { Ok(()) } else { Err(queue.to_string()) }
    })
    .await;
}

/// All bodies of what waits in a queue, as texts.
async fn bodies(cluster: &Cluster, name: &str, count: usize) -> Vec<String> {
    let limit = count.to_string();
    let peek = ["queue", "peek", name, "--bodies", "--limit", &limit, "-o", "json"];
    let peeked = cluster.run(&peek).await.ok().json();
    let all = peeked.as_array().expect("messages").iter();
    all.map(|message| message["body"]["data"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_events_do_counts_once_whoever_dies() {
    let mut cluster = counting().await;
    let count = std::env::var("CORACLE_TEST_EVENTS").map_or(EVENTS, |text| text.parse().expect("a number"));
    let goal = EACH * u32::try_from(count).expect("not so many");
    publish(&cluster, count).await;
    settled(&cluster, count / 4, goal).await;
    let leader = cluster.leading_store(3).await;
    cluster.nodes[leader].signal_all(Signal::KILL);
    cluster.nodes[leader].kill();
    cluster.nodes[leader].start();
    cluster.wait_alive(3).await;
    // What is sent again is known.
    publish(&cluster, count / 2).await;
    settled(&cluster, count / 2, goal).await;
    let worker = (cluster.leading_store(3).await + 1) % 3;
    cluster.nodes[worker].signal_all(Signal::KILL);
    cluster.nodes[worker].kill();
    cluster.nodes[worker].start();
    cluster.wait_alive(3).await;
    settled(&cluster, count, goal).await;

    let sum = cluster.run(&["kv", "get", "counters", "sum"]).await.ok().stdout;
    assert_eq!(sum, count.to_string(), "each event counted once");
    let jobs = queue(&cluster, "jobs").await.expect("a queue");
    assert_eq!((&jobs["dead"], &jobs["totals"]["published"]), (&0.into(), &count.into()), "{jobs}");
    let done = queue(&cluster, "done").await.expect("a queue");
    assert_eq!(done["totals"]["published"], count, "{done}");
    if count <= 1000 {
        let told: BTreeSet<_> = bodies(&cluster, "done", count).await.into_iter().collect();
        let expected: BTreeSet<_> = (1..=count).map(|number| number.to_string()).collect();
        assert_eq!(told, expected, "each sum was published once");
    }
    println!("{jobs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_call_writes_at_once_and_changes_are_events() {
    let cluster = counting().await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    let _ = cluster.run(&["kv", "watch", "counters", "--function", "wc", "--on", "set"]).await.ok();
    for _ in 0..3 {
        let called = cluster.client.get(&cluster.url(0, "/counter")).await.expect("an answer");
        assert_eq!(called.status, 200, "{}", called.text());
    }
    assert_eq!(cluster.run(&["kv", "get", "counters", "sum"]).await.ok().stdout, "3");
    assert_eq!(bodies(&cluster, "done", 10).await, ["1", "2", "3"]);
    let seen = within(Duration::from_secs(5), "each change was told", async || {
        let list = ["invocation", "list", "--function", "wc", "--state", "succeeded", "-o", "json"];
        let all = cluster.run(&list).await.ok().json();
        if all.as_array().map(Vec::len) == Some(3) { Ok(all) } else { Err(all.to_string()) }
    })
    .await;
    assert!(seen.to_string().contains("bucket/counters/wc"), "{seen}");
    // A grant that the cluster lacks, and a call without one.
    let file = text_component(cluster.folder(), "counter");
    cluster.deploy("poor", &file, &[]).await;
    let refused = cluster.client.get(&cluster.url(0, "/poor")).await.expect("an answer");
    assert!(refused.status.is_server_error(), "{}", refused.text());
    assert_eq!(cluster.run(&["kv", "get", "counters", "sum"]).await.ok().stdout, "3", "nothing was written");
}
