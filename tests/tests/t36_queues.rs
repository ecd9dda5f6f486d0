//! Goal: what is published is delivered: to the queue's function, to each subscriber of a topic, in order inside a group, whoever dies;
//! what fails waits as a dead letter; what is refused is refused before anything of it is kept.

use std::time::Duration;

use coracle_tests::{Answer, Client, Cluster, Options, guest, wat, within};
use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

#[path = "t36_queues/losses.rs"]
mod losses;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// From a publish to the end of what it had called, where nothing is broken.
const SOON: Duration = Duration::from_secs(5);
/// The same where a node was lost: its claims lapse after 15 s, and its replicas move after 10.
const AFTER_A_LOSS: Duration = Duration::from_secs(40);

/// A cluster whose data group has begun.
async fn cluster(nodes: usize) -> Cluster {
    let cluster = Cluster::with(PROGRAM, Options { nodes, stores: true, ..Options::default() }).await;
    let _ = cluster.leading_store(nodes.min(3)).await;
    cluster
}

/// `POST /.coracle/publish/NAME` at a node.
async fn publish(
    cluster: &Cluster,
    node: usize,
    name: &str,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> Answer {
    let url = cluster.url(node, &format!("/.coracle/publish/{name}"));
    cluster.client.send(Method::POST, &url, headers, body.into()).await.expect("an answer")
}

/// What was accepted, message by message.
fn accepted(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body: Value = serde_json::from_str(&answer.text()).expect("JSON");
    body["messages"].as_array().expect("messages").clone()
}

/// Records of a function's invocations.
async fn records(cluster: &Cluster, function: &str) -> Vec<Value> {
    let list = ["invocation", "list", "--function", function, "--limit", "1000", "-o", "json"];
    cluster.run(&list).await.ok().json().as_array().expect("a list").clone()
}

/// Waits until so many invocations of the function are in this state.
async fn ended(cluster: &Cluster, function: &str, state: &str, count: usize, goal: Duration) -> Vec<Value> {
    within(goal, &format!("{count} of {function} are {state}"), async || {
        let mut all = records(cluster, function).await;
        all.retain(|record| record["state"] == state);
        if all.len() == count { Ok(all) } else { Err(format!("{} are: {all:?}", all.len())) }
    })
    .await
}

/// `coracle queue get NAME -o json`.
async fn queue(cluster: &Cluster, name: &str) -> Value {
    cluster.run(&["queue", "get", name, "-o", "json"]).await.ok().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_delivered_in_each_way_of_saying_it() {
    let cluster = cluster(3).await;
    cluster.deploy("echo", &wat::environment(cluster.folder(), "echo", 200), &[]).await;
    let _ = cluster.run(&["queue", "create", "jobs", "--function", "echo"]).await.ok();

    // Any body, binary, structured, and several at once.
    let plain = accepted(&publish(&cluster, 0, "jobs", &[("content-type", "text/plain")], "plain").await);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "one"),
        ("ce-source", "/here"),
        ("ce-type", "org.example.done"),
        ("ce-subject", "a%20b"),
        ("content-type", "text/plain"),
    ];
    let first = accepted(&publish(&cluster, 1, "jobs", &binary, "binary").await);
    let event =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/here", "type": "t", "data": {"n": 1}});
    let structured = [("content-type", "application/cloudevents+json")];
    let _ = accepted(&publish(&cluster, 2, "jobs", &structured, event("two").to_string()).await);
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let three = accepted(
        &publish(&cluster, 0, "jobs", &batch, json!([event("three"), event("four")]).to_string()).await,
    );
    assert_eq!(three.len(), 2);
    // The same id of the same source is the same message, at any gateway.
    let again = accepted(&publish(&cluster, 2, "jobs", &binary, "binary").await);
    assert_eq!((&again[0]["repeated"], &again[0]["invocation"]), (&true.into(), &first[0]["invocation"]));

    let done = ended(&cluster, "echo", "succeeded", 5, SOON).await;
    assert!(done.iter().all(|record| record["kind"] == "queue" && record["queue"] == "jobs"), "{done:?}");
    let id = plain[0]["invocation"].as_str().expect("an id");
    let seen = cluster.run(&["invocation", "result", id]).await.ok().stdout;
    for variable in ["CE_TYPE=dev.coracle.queue.message", "CE_SPECVERSION=1.0", "CORACLE_ATTEMPT=1"] {
        assert!(seen.contains(variable), "no {variable} in {seen:?}");
    }
    let id = first[0]["invocation"].as_str().expect("an id");
    let seen = cluster.run(&["invocation", "result", id]).await.ok().stdout;
    for variable in ["CE_ID=one", "CE_SOURCE=/here", "CE_TYPE=org.example.done", "CE_SUBJECT=a b"] {
        assert!(seen.contains(variable), "no {variable} in {seen:?}");
    }

    // What is wrong is refused before anything of it is kept.
    let wrong = json!([event("five"), {"specversion": "1.0", "id": "six", "source": "/here"}]).to_string();
    for (name, headers, body, status, code) in [
        ("jobs", &batch[..], wrong.as_str(), 400, "bad-request"),
        ("jobs", &structured[..], "{", 400, "bad-request"),
        ("nothing", &[][..], "x", 404, "queue-not-found"),
    ] {
        let answer = publish(&cluster, 0, name, headers, body.to_owned()).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(code), "{}", answer.text());
    }
    assert_eq!(records(&cluster, "echo").await.len(), 5, "nothing of what was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subscriber_of_a_topic_has_its_own_copy() {
    let cluster = cluster(3).await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    cluster.deploy("fails", &wat::command(cluster.folder(), "fails", wat::EXIT), &[]).await;
    let _ = cluster.run(&["topic", "create", "news"]).await.ok();
    let silent = accepted(&publish(&cluster, 0, "news", &[], "nobody hears it").await);
    assert_eq!(silent[0]["copies"], 0, "{silent:?}");
    let _ = cluster.run(&["topic", "subscribe", "news", "--function", "wc"]).await.ok();
    let _ = cluster.run(&["topic", "subscribe", "news", "--function", "fails", "--attempts", "1"]).await.ok();
    let told = accepted(&publish(&cluster, 1, "news", &[], "one two").await);
    assert_eq!(told[0]["copies"], 2, "{told:?}");
    let _ = ended(&cluster, "wc", "succeeded", 1, SOON).await;
    // The failure of one subscriber is its own.
    let _ = ended(&cluster, "fails", "dead", 1, SOON).await;
    let letters = cluster.run(&["dlq", "list", "-o", "json"]).await.ok().json();
    assert!(letters.to_string().contains("topic/news/fails"), "{letters}");
    let _ = cluster.run(&["topic", "unsubscribe", "news", "--function", "fails", "--yes"]).await.ok();
    let told = accepted(&publish(&cluster, 2, "news", &[], "three").await);
    assert_eq!(told[0]["copies"], 1, "{told:?}");
    let _ = ended(&cluster, "wc", "succeeded", 2, SOON).await;
    assert_eq!(records(&cluster, "fails").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_looks_into_a_queue_stops_it_and_clears_it() {
    let cluster = cluster(1).await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &["--replicas", "1"]).await;
    let _ = cluster.run(&["queue", "create", "jobs", "--function", "wc", "--messages", "3"]).await.ok();
    let _ = cluster.run(&["queue", "pause", "jobs"]).await.ok();
    for text in ["one", "two", "three"] {
        let _ = cluster.run(&["queue", "publish", "jobs", "--data", text]).await.ok();
    }
    let full = publish(&cluster, 0, "jobs", &[], "four").await;
    assert_eq!(full.status, 429, "{}", full.text());
    assert!(full.text().contains("queue-full") && !full.header("retry-after").is_empty(), "{}", full.text());
    assert_eq!(
        (&queue(&cluster, "jobs").await["ready"], &queue(&cluster, "jobs").await["paused"]),
        (&3.into(), &true.into())
    );
    let peeked = cluster.run(&["queue", "peek", "jobs", "--bodies", "-o", "json"]).await.ok().json();
    assert_eq!(peeked.as_array().expect("messages").len(), 3, "{peeked}");
    assert!(peeked.to_string().contains("two"), "{peeked}");
    let kept = cluster.run(&["queue", "delete", "jobs", "--yes"]).await;
    assert_ne!(kept.code, 0, "it has messages: {kept:?}");
    assert!(kept.stderr.contains('3') && kept.stderr.contains("--force"), "{kept:?}");
    let _ = cluster.run(&["queue", "resume", "jobs"]).await.ok();
    let _ = ended(&cluster, "wc", "succeeded", 3, SOON).await;
    let _ = cluster.run(&["queue", "pause", "jobs"]).await.ok();
    let _ = cluster.run(&["queue", "publish", "jobs", "--data", "four"]).await.ok();
    let _ = cluster.run(&["queue", "purge", "jobs", "--yes"]).await.ok();
    assert_eq!(queue(&cluster, "jobs").await["ready"], 0);
    let _ = ended(&cluster, "wc", "dropped", 1, SOON).await;
    let _ = cluster.run(&["queue", "delete", "jobs", "--force", "--yes"]).await.ok();
    let _ = cluster.run(&["queue", "get", "jobs"]).await.failed_with(6);
}
