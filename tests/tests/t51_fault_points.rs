//! Goal: a leader that crashes after it committed a deploy, before it answered: the deploy was made, and made once.

use coracle_tests::{Cluster, Options, Process, eventually, guest};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const NAME: &str = "made-once";

/// Three nodes whose controllers crash at the point, when the file `fault` in their folder says so.
async fn armed() -> Cluster {
    let environment = vec![("CORACLE_FAULT".to_owned(), "raft-applied-before-answer".to_owned())];
    Cluster::with(PROGRAM, Options { nodes: 3, environment, ..Options::default() }).await
}

/// Deploys by way of `entry`, whose leader crashes in the middle, and looks what became of it.
async fn deployed_once(cluster: &Cluster, leader: usize, entry: usize) {
    let before = cluster.nodes[leader].pid(Process::Controller).expect("the leader's controller runs");
    let trigger = cluster.nodes[leader].folder.join("fault");
    // The first change with this name in a key is the deploy's.
    std::fs::write(&trigger, NAME).expect("the fault is armed");

    let mut order: Vec<usize> = (0..cluster.nodes.len()).collect();
    order.sort_by_key(|node| *node != entry);
    let addresses: Vec<_> = order.iter().map(|node| cluster.nodes[*node].grpc.as_str()).collect();
    let file = guest("hello-min.component.wasm").display().to_string();
    let done =
        cluster.run(&["deploy", NAME, &file, "-o", "json", "--address", &addresses.join(",")]).await.ok();
    println!("{}", done.stderr);

    assert!(!trigger.exists(), "the fault did not bite: {done:?}");
    eventually("the leader's controller is another process", async || {
        match cluster.nodes[leader].pid(Process::Controller)? {
            now if now != before => Ok(()),
            now => Err(format!("still {now}")),
        }
    })
    .await;
    let deployed = done.json();
    // A deploy that was made anew would find its own version there, and say that nothing had changed.
    assert_eq!(
        (&deployed["version"], &deployed["unchanged"]),
        (&Value::from(1), &Value::from(false)),
        "{done:?}"
    );
    let detail = cluster.run(&["function", "get", NAME, "-o", "json"]).await.ok().json();
    let versions: Vec<_> =
        detail["versions"].as_array().expect("versions").iter().map(|version| &version["number"]).collect();
    assert_eq!(versions, [&Value::from(1)], "{detail}");
    if entry == leader {
        assert!(done.stderr.contains("trying again"), "the command line was answered at once: {done:?}");
    } else {
        assert!(!done.stderr.contains("trying again"), "the node asked again by itself: {done:?}");
    }
    cluster.wait_alive(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_asks_again_with_the_same_request_id() {
    let cluster = armed().await;
    let leader = cluster.leader().await;
    deployed_once(&cluster, leader, leader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_that_passed_the_deploy_on_asks_again_with_the_same_request_id() {
    let cluster = armed().await;
    let leader = cluster.leader().await;
    let entry = (0..cluster.nodes.len()).find(|node| *node != leader).expect("three nodes");
    deployed_once(&cluster, leader, entry).await;
}
