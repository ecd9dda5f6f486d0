//! Goal: /metrics is OpenMetrics to a parser that is not ours, and has what an operator asks for.

use std::io::Write as _;
use std::process::{Command, Stdio};

use coracle_tests::{Cluster, Collector, Options, eventually, guest, wat};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Prints each sample with its labels sorted, its value, and its exemplar's labels, as the Prometheus project's own
/// parser reads them.
const PARSE: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
show = lambda labels: ','.join(k + '=' + labels[k] for k in sorted(labels))
for family in text_string_to_metric_families(sys.stdin.read()):
    for s in family.samples:
        print(s.name + '{' + show(s.labels) + '}', s.value, show(s.exemplar.labels) if s.exemplar else '')
";

/// Begins of samples that must be there, above zero, after a deploy, five calls, one of nothing, and one too slow.
const ABOVE_ZERO: [&str; 19] = [
    "coracle_calls_total{",
    "coracle_call_duration_seconds_count{",
    "coracle_queue_wait_seconds_count{",
    "coracle_refusals_total{code=route-not-found",
    "coracle_timeouts_total{",
    "coracle_cold_starts_total{",
    "coracle_functions_resident{",
    "coracle_raft_term{",
    "coracle_raft_leader{",
    "coracle_raft_commit_index{",
    "coracle_raft_applied_index{",
    "coracle_raft_fsync_seconds_count{",
    "coracle_raft_store_bytes{",
    "coracle_compile_seconds_count{",
    "coracle_compiled_cache_bytes{",
    "coracle_artifacts_bytes{",
    "coracle_log_ring_bytes{",
    "coracle_usage_calls_total{",
    "coracle_usage_cpu_seconds_total{",
];

fn samples(text: &str) -> String {
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
    let collector = Collector::start().await;
    let environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint())];
    let cluster = Cluster::with(PROGRAM, Options { nodes: 1, environment, ..Options::default() }).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let folder = tempfile::TempDir::new().unwrap();
    let slow = wat::command(folder.path(), "slow", wat::FLOOD);
    cluster.deploy("slow", &slow, &["--timeout", "200ms"]).await;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    for _ in 0..5 {
        let url = cluster.url(0, "/hello-min");
        let headers = [("traceparent", parent.as_str())];
        let answer = cluster.client.send("GET".parse().unwrap(), &url, &headers, "".into()).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(cluster.client.get(&cluster.url(0, "/nothing")).await.unwrap().status, 404);
    assert_eq!(cluster.client.get(&cluster.url(0, "/slow")).await.unwrap().status, 504);
    let url = format!("http://{}/metrics", cluster.nodes[0].admin);
    let found = eventually("all samples are there", async || {
        let answer = cluster.client.get(&url).await?;
        assert!(
            answer.header("content-type").starts_with("application/openmetrics-text"),
            "{}",
            answer.header("content-type")
        );
        let found = samples(&answer.text());
        let above = |begin: &str, line: &str| {
            let value = line.rsplit('}').next().and_then(|rest| rest.split_whitespace().next());
            line.starts_with(begin)
                && value.and_then(|value| value.parse().ok()).is_some_and(|it: f64| it > 0.0)
        };
        let missing: Vec<_> =
            ABOVE_ZERO.iter().filter(|begin| !found.lines().any(|line| above(begin, line))).collect();
        if missing.is_empty() { Ok(found) } else { Err(format!("missing {missing:?} in\n{found}")) }
    })
    .await;
    let calls: Vec<_> = found
        .lines()
        .filter(|line| line.starts_with("coracle_calls_total{") && line.contains("hello-min"))
        .collect();
    for word in ["start=cold", "start=warm", "version=1", "outcome=success"] {
        assert!(calls.iter().any(|line| line.contains(word)), "no {word} in {calls:?}");
    }
    let traced = found.lines().filter(|line| line.starts_with("coracle_call_duration_seconds_bucket{"));
    assert!(traced.into_iter().any(|line| line.contains(TRACE)), "no exemplar of the trace in\n{found}");
}
