//! Goal: a real Jaeger shows one trace from the command line to the guest, and a graph of gateway and worker.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coracle_tests::{Client, Cluster, Load, Options, eventually, free_port, guest, wat, within};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

struct Jaeger {
    child: Child,
    query: u16,
    otlp: u16,
    client: Client,
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Jaeger {
    async fn start() -> Self {
        let program = std::env::var("CORACLE_JAEGER")
            .expect("CORACLE_JAEGER is a Jaeger; deploy/jaeger/run --build makes one");
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jaeger/config.yaml");
        let ports = [(); 4].map(|()| free_port());
        let child = Command::new(program)
            .arg("--config")
            .arg(config)
            .env("JAEGER_QUERY_PORT", ports[0].to_string())
            .env("JAEGER_QUERY_GRPC_PORT", ports[1].to_string())
            .env("JAEGER_OTLP_GRPC_PORT", ports[2].to_string())
            .env("JAEGER_OTLP_HTTP_PORT", ports[3].to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let jaeger =
            Self { child, query: ports[0], otlp: ports[2], client: Client::new(Duration::from_secs(10)) };
        within(Duration::from_secs(3), "Jaeger answers", async || jaeger.ask("/api/services").await).await;
        jaeger
    }

    async fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = self.client.get(&format!("http://127.0.0.1:{}{path}", self.query)).await?;
        serde_json::from_str(&answer.text()).map_err(|error| format!("{error}: {}", answer.text()))
    }

    /// Service and operation of each span of a trace.
    async fn operations(&self, trace: &str) -> Result<Vec<(String, String)>, String> {
        let found = self.ask(&format!("/api/traces/{trace}")).await?;
        let trace = found["data"].get(0).ok_or(found.to_string())?;
        let service = |span: &Value| {
            let process = span["processID"].as_str().unwrap_or_default();
            trace["processes"][process]["serviceName"].as_str().unwrap_or_default().to_owned()
        };
        let spans = trace["spans"].as_array().ok_or("no spans")?;
        Ok(spans
            .iter()
            .map(|span| (service(span), span["operationName"].as_str().unwrap_or_default().to_owned()))
            .collect())
    }

    async fn has(&self, trace: &str, wanted: &[(&str, &str)]) {
        eventually("the trace is whole", async || {
            let found = self.operations(trace).await?;
            let missing: Vec<_> = wanted
                .iter()
                .filter(|(service, name)| {
                    !found.iter().any(|(its, operation)| its == service && operation == name)
                })
                .collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("missing {missing:?} in {found:?}")) }
        })
        .await;
    }

    async fn graph_has(&self, parent: &str, child: &str) {
        eventually(&format!("the graph has {parent} -> {child}"), async || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            let found = self.ask(&format!("/api/dependencies?endTs={now}&lookback=3600000")).await?;
            let edges = found["data"].as_array().ok_or(found.to_string())?;
            if edges.iter().any(|edge| edge["parent"] == parent && edge["child"] == child) {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .await;
    }
}

/// The trace that a command named on stderr.
fn trace_of(stderr: &str) -> String {
    let mut words = stderr.split(|char: char| !char.is_ascii_hexdigit());
    words.rfind(|word| word.len() == 32).unwrap_or_else(|| panic!("no trace id in: {stderr}")).to_owned()
}

async fn cluster_and_jaeger(nodes: usize) -> (Cluster, Jaeger) {
    let jaeger = Jaeger::start().await;
    let endpoint = format!("http://127.0.0.1:{}", jaeger.otlp);
    let environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint)];
    (Cluster::with(PROGRAM, Options { nodes, environment, ..Options::default() }).await, jaeger)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_in_a_real_jaeger() {
    let (cluster, jaeger) = cluster_and_jaeger(3).await;
    let deployed =
        cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "2"]).await;
    jaeger
        .has(
            &trace_of(&deployed.stderr),
            &[
                ("coracle-cli", "deploy"),
                ("coracle-controller", "deploy"),
                ("coracle-controller", "raft.propose"),
                ("coracle-worker", "wasm.compile"),
            ],
        )
        .await;
    // Of the gateways one holds no replica: its calls cross to another node.
    for node in 0..3 {
        for _ in 0..10 {
            assert_eq!(cluster.client.get(&cluster.url(node, "/hello-min")).await.unwrap().status, 200);
        }
    }
    let invoked = cluster.run(&["invoke", "hello-min"]).await.ok();
    let trace = trace_of(&invoked.stderr);
    let wanted = [
        ("coracle-cli", "invoke hello-min"),
        ("coracle-gateway", "invoke hello-min"),
        ("coracle-gateway", "execute hello-min"),
        ("coracle-worker", "execute hello-min"),
        ("coracle-worker", "wasm.run"),
    ];
    jaeger.has(&trace, &wanted).await;
    jaeger.graph_has("coracle-gateway", "coracle-worker").await;
    let tree =
        cluster.run(&["trace", &trace, "--jaeger", &format!("http://127.0.0.1:{}", jaeger.query)]).await.ok();
    println!("{}", tree.stdout);
    assert!(tree.stdout.contains("wasm.run") && tree.stdout.contains("coracle-gateway"), "{}", tree.stdout);
}

/// Deploys a file until a function lies on the node and not on one of the others, whose gateway calls it there.
async fn held_by(cluster: &Cluster, node: usize, name: &str, file: &Path) -> String {
    for number in 0..20 {
        let name = format!("{name}-{number}");
        cluster.deploy(&name, file, &["--replicas", "2"]).await;
        if cluster.holders(&name).await.contains(&node) {
            return name;
        }
    }
    panic!("none of 20 functions is held by the node");
}

/// What the README promises, in one go: deploy, call, kill the leader under load, see a call made meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_dies_under_load_and_jaeger_has_seen_it() {
    let (mut cluster, jaeger) = cluster_and_jaeger(3).await;
    let leader = cluster.leader().await;
    let folder = tempfile::TempDir::new().unwrap();
    let hello = held_by(&cluster, leader, "hello", &guest("../../examples/hello/hello.wasm")).await;
    // It waits a moment, so some of its calls are always under way, at the leader too.
    let nap = held_by(&cluster, leader, "nap", &wat::command(folder.path(), "nap", wat::NAP)).await;
    let victim = cluster.id_of(leader).await.to_string();
    let survivors: Vec<_> = (0..3).filter(|node| *node != leader).collect();
    let of = |node: &usize| {
        [format!("/{hello}?name=Ada"), format!("/{nap}")].map(|path| cluster.url(*node, &path))
    };
    let urls = survivors.iter().flat_map(of).collect();
    let sent = Arc::new(AtomicUsize::new(0));
    let load = tokio::spawn(Load::gets(2000, 200, urls).run(sent.clone()));
    within(Duration::from_secs(10), "the load has begun", async || match sent.load(Ordering::SeqCst) {
        count if count >= 500 => Ok(()),
        count => Err(format!("{count} sent")),
    })
    .await;
    assert_eq!(cluster.leader().await, leader, "another node leads: the kill would not bite");
    cluster.nodes[leader].kill();
    let invoked = cluster.run(&["invoke", &hello]).await.ok();
    let report = load.await.unwrap();
    println!("{report}");
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.by_node().contains_key(&victim), "the leader served nothing before: {report}");
    assert!(report.moved() > 0, "no call was moved: {report}");
    assert_ne!(cluster.leader().await, leader);
    let trace = trace_of(&invoked.stderr);
    jaeger
        .has(
            &trace,
            &[
                ("coracle-cli", &format!("invoke {hello}")),
                ("coracle-gateway", &format!("invoke {hello}")),
                ("coracle-worker", "wasm.run"),
            ],
        )
        .await;
    let tree =
        cluster.run(&["trace", &trace, "--jaeger", &format!("http://127.0.0.1:{}", jaeger.query)]).await.ok();
    println!("{}{}", invoked.stdout, tree.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_in_a_real_jaeger() {
    let (cluster, jaeger) = cluster_and_jaeger(1).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    assert_eq!(cluster.client.get(&cluster.url(0, "/hello-min")).await.unwrap().status, 200);
    jaeger.graph_has("coracle-gateway", "coracle-worker").await;
}
