//! Goal: /metrics is OpenMetrics to a parser that is not ours, and has what an operator asks for.

use std::io::Write as _;
use std::process::{Command, Stdio};

use coracle_tests::{Cluster, eventually, guest};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Prints each family's name, as the Prometheus project's own parser reads it.
const PARSE: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type, len(family.samples))
";

/// Families that must be there after a deploy and some calls.
const FAMILIES: [&str; 14] = [
    "coracle_calls",
    "coracle_call_duration_seconds",
    "coracle_calls_in_flight",
    "coracle_queue_wait_seconds",
    "coracle_refusals",
    "coracle_cold_starts",
    "coracle_raft_term",
    "coracle_raft_leader",
    "coracle_raft_commit_index",
    "coracle_raft_applied_index",
    "coracle_raft_fsync_seconds",
    "coracle_raft_store_bytes",
    "coracle_compile_seconds",
    "coracle_artifacts_bytes",
];

fn families(text: &str) -> String {
    let python = std::env::var("CORACLE_PYTHON")
        .expect("CORACLE_PYTHON is a Python that has prometheus-client; .ci/run makes one");
    let mut parser = Command::new(python)
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_metrics() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    for _ in 0..5 {
        assert_eq!(cluster.client.get(&cluster.url(0, "/hello-min")).await.unwrap().status, 200);
    }
    assert_eq!(cluster.client.get(&cluster.url(0, "/nothing")).await.unwrap().status, 404);
    let url = format!("http://{}/metrics", cluster.nodes[0].admin);
    eventually("all families are there", async || {
        let answer = cluster.client.get(&url).await?;
        assert!(
            answer.header("content-type").starts_with("application/openmetrics-text"),
            "{}",
            answer.header("content-type")
        );
        let found = families(&answer.text());
        let missing: Vec<_> = FAMILIES
            .iter()
            .filter(|name| !found.lines().any(|line| line.starts_with(&format!("{name} "))))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("missing {missing:?} in\n{found}")) }
    })
    .await;
}
