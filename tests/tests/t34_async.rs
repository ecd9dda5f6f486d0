//! Goal: a call that was accepted for later is made, whatever dies, and what became of it is told.

use std::time::Duration;

use coracle_tests::{Answer, Client, Cluster, Options, eventually, guest, wat, within};
use futures::future::join_all;
use http::Method;
use rustix::process::Signal;
use serde_json::Value;

#[path = "t34_async/losses.rs"]
mod losses;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// Attempts of which the record tells.
const REPORTS_KEPT: usize = 8;
/// From a call's acceptance to its end, where nothing is broken.
const SOON: Duration = Duration::from_secs(5);
/// The same where a node was lost: its claims lapse after 15 s, and its replicas move after 10.
const AFTER_A_LOSS: Duration = Duration::from_secs(40);

/// A cluster whose data group has begun.
async fn cluster(nodes: usize) -> Cluster {
    let cluster = Cluster::with(PROGRAM, Options { nodes, stores: true, ..Options::default() }).await;
    let _ = cluster.leading_store(nodes.min(3)).await;
    cluster
}

/// `coracle invoke FUNCTION --async`: the id.
async fn call_later(cluster: &Cluster, function: &str, more: &[&str]) -> String {
    let done = cluster.run(&[&["invoke", function, "--async"], more].concat()).await.ok();
    assert!(done.stderr.contains("accepted in "), "{done:?}");
    let id = done.stdout.trim().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{done:?}");
    id
}

/// `coracle invocation get ID -o json`.
async fn record(cluster: &Cluster, id: &str) -> Value {
    cluster.run(&["invocation", "get", id, "-o", "json"]).await.ok().json()
}

/// Waits until the invocation is in this state.
async fn becomes(cluster: &Cluster, id: &str, state: &str, goal: Duration) -> Value {
    within(goal, &format!("{id} is {state}"), async || {
        let record = record(cluster, id).await;
        if record["state"] == state { Ok(record) } else { Err(record.to_string()) }
    })
    .await
}

/// The numbers of a record's attempts, which begin at 1 and have no gap.
fn attempts(record: &Value) -> Vec<u64> {
    let reports = record["reports"].as_array().expect("reports");
    reports.iter().map(|report| report["attempt"].as_u64().expect("a number")).collect()
}

/// A request of which the gateway is asked to answer at once.
async fn post(client: &Client, url: &str, key: &str, body: &'static str) -> Result<Answer, String> {
    let headers = [("prefer", "respond-async"), ("idempotency-key", key)];
    client.send(Method::POST, url, &headers, body.into()).await
}

/// How often calls of a function ended so, on all nodes that run.
async fn counted(cluster: &Cluster, function: &str, outcome: &str) -> Result<u64, String> {
    let wanted = format!("coracle_usage_calls_total{{function=\"{function}\",outcome=\"{outcome}\"}} ");
    let mut sum = 0;
    for node in cluster.nodes.iter().filter(|node| node.runs()) {
        let metrics = cluster.client.get(&format!("http://{}/metrics", node.admin)).await?.text();
        let found = metrics.lines().find_map(|line| line.strip_prefix(&wanted));
        sum += found.map_or(0, |count| count.trim().parse::<u64>().expect("a count"));
    }
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_is_made_and_its_answer_kept() {
    let mut cluster = cluster(3).await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    let id = call_later(&cluster, "wc", &["-d", "one two three"]).await;
    let waited = cluster.run(&["invocation", "wait", &id]).await.ok();
    assert!(waited.stdout.contains("\"words\":3"), "{waited:?}");
    assert!(waited.stderr.contains("succeeded after 1 attempt, node "), "{waited:?}");
    assert_eq!(cluster.run(&["invocation", "result", &id]).await.ok().stdout, waited.stdout);
    let result = cluster.run(&["invocation", "result", &id, "-o", "json"]).await.ok().json();
    assert_eq!((&result["status"], &result["body"]), (&200.into(), &waited.stdout.as_str().into()));

    let record = record(&cluster, &id).await;
    assert_eq!((&record["state"], &record["function"]), (&"succeeded".into(), &"wc".into()));
    assert_eq!((&record["kind"], &record["queue"]), (&"async".into(), &"function/wc".into()));
    assert_eq!(attempts(&record), [1], "{record}");
    let report = &record["reports"][0];
    assert_eq!((&report["outcome"], &report["version"]), (&"200".into(), &1.into()), "{report}");
    assert_eq!(report["bytes_out"].as_u64(), Some(waited.stdout.len() as u64), "{report}");
    assert!(report["node"].is_u64() && report["cpu_ms"].as_f64() > Some(0.0), "{report}");
    assert!(report["gb_ms"].as_f64() > Some(0.0), "{report}");
    let detail = cluster.run(&["invocation", "get", &id]).await.ok();
    for word in ["state       succeeded", "ATTEMPT", "CPU-MS", "async"] {
        assert!(detail.stdout.contains(word), "no '{word}' in\n{}", detail.stdout);
    }

    // As one command, and at the gateway itself.
    let at_once = cluster.run(&["invoke", "wc", "--async", "--wait", "-d", "a b"]).await.ok();
    assert!(at_once.stdout.contains("\"words\":2"), "{at_once:?}");
    let answer = post(&cluster.client, &cluster.url(0, "/wc"), "gateway", "a").await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("preference-applied"), "respond-async");
    let id = answer.header("coracle-invocation-id").to_owned();
    assert_eq!(answer.header("location"), format!("/.coracle/invocations/{id}"));
    // At any node.
    let url = cluster.url(1, &format!("/.coracle/invocations/{id}?wait=30"));
    let told: Value = serde_json::from_str(&cluster.client.get(&url).await.unwrap().text()).unwrap();
    assert_eq!(told["state"], "succeeded", "{told}");
    let url = cluster.url(2, &format!("/.coracle/invocations/{id}/result"));
    assert!(cluster.client.get(&url).await.unwrap().text().contains("\"words\":1"));

    let listed = cluster.run(&["invocation", "list", "--function", "wc", "-o", "json"]).await.ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
    assert_eq!(listed[0]["id"], id, "the newest comes first: {listed}");
    let none = cluster.run(&["invocation", "list", "--state", "dead", "-o", "json"]).await.ok().json();
    assert_eq!(none, Value::Array(Vec::new()));
    let unknown = cluster.run(&["invocation", "get", &"0".repeat(32)]).await.failed_with(6);
    assert!(unknown.stderr.contains("invocation-not-found"), "{unknown:?}");

    // What was accepted is on the disks of a majority: all processes are killed in that moment.
    let answer = post(&cluster.client, &cluster.url(0, "/wc"), "power-cut", "a b c d").await.unwrap();
    cluster.nodes.iter().for_each(|node| node.signal_all(Signal::KILL));
    assert_eq!(answer.status, 202, "{}", answer.text());
    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    cluster.wait_alive(3).await;
    let id = answer.header("coracle-invocation-id");
    let done = cluster.run(&["invocation", "wait", id, "--timeout", "90s"]).await.ok();
    assert!(done.stdout.contains("\"words\":4"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_call() {
    let cluster = cluster(3).await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    let again = ["--idempotency-key", "order-7", "-d", "one two"];
    let first = call_later(&cluster, "wc", &again).await;
    assert_eq!(call_later(&cluster, "wc", &again).await, first);
    let _ = cluster.run(&["invocation", "wait", &first]).await.ok();
    assert_eq!(call_later(&cluster, "wc", &again).await, first, "also when it has ended");
    assert_eq!(attempts(&record(&cluster, &first).await), [1]);
    assert_eq!(counted(&cluster, "wc", "success").await.unwrap(), 1, "it was run once");
    let listed = cluster.run(&["invocation", "list", "--function", "wc", "-o", "name"]).await.ok();
    assert_eq!(listed.stdout, format!("{first}\n"));

    let other = ["invoke", "wc", "--async", "--idempotency-key", "order-7", "-d", "three"];
    let refused = cluster.run(&other).await.failed_with(4);
    assert!(refused.stderr.contains("code idempotency-conflict") && refused.stdout.is_empty(), "{refused:?}");
    let url = cluster.url(0, "/.coracle/invoke/default/wc");
    let answer = post(&cluster.client, &url, "order-7", "three").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("coracle-error")), (422, "idempotency-conflict"));
    let missing = cluster.run(&["invoke", "nobody", "--async"]).await.failed_with(6);
    assert!(missing.stderr.contains("function-not-found"), "{missing:?}");
}

/// Waits until the invocation is a dead letter again, after three attempts in each of so many lives; the last ones are told.
async fn dies(cluster: &Cluster, id: &str, lives: usize) -> Value {
    let dead = becomes(cluster, id, "dead", Duration::from_secs(15)).await;
    assert_eq!((&dead["cause"], &dead["attempts"]), (&"attempts".into(), &3.into()), "{dead}");
    let reports = dead["reports"].as_array().unwrap();
    assert_eq!(reports.len(), (3 * lives).min(REPORTS_KEPT), "{dead}");
    assert!(reports.iter().all(|report| report["outcome"] == "500"), "{dead}");
    dead
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_leaves_a_dead_letter() {
    let cluster = cluster(3).await;
    cluster.deploy("fails", &wat::environment(cluster.folder(), "fails", 500), &[]).await;
    let id = call_later(&cluster, "fails", &["-d", "what was asked", "-H", "x-test: seven"]).await;
    let waited = cluster.run(&["invocation", "wait", &id]).await.failed_with(9);
    assert!(waited.stderr.contains("is a dead letter after 3 attempts"), "{waited:?}");
    let dead = dies(&cluster, &id, 1).await;
    assert_eq!(attempts(&dead), [1, 2, 3]);
    // What the guest saw last, and that each attempt was of one invocation.
    let result = cluster.run(&["invocation", "result", &id]).await.failed_with(9);
    let own = format!("HTTP_CORACLE_INVOCATION_ID={id}");
    for seen in ["HTTP_CORACLE_ATTEMPT=3", "HTTP_X_TEST=seven", &own] {
        assert!(result.stdout.split('\0').any(|line| line == seen), "no '{seen}' in {result:?}");
    }
    // Functions hand it on to others, who must not be able to ask for the answer.
    let key = result.stdout.split('\0').find_map(|line| line.strip_prefix("HTTP_IDEMPOTENCY_KEY="));
    assert!(key.is_some_and(|key| key.len() == 32 && key != id), "{result:?}");
    eventually("each attempt is in the log, under one id", async || {
        let logs = cluster.run(&["logs", "fails", "-o", "json"]).await.ok();
        let lines: Vec<Value> = logs.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said = lines.iter().filter(|line| line["line"] == "hello" && line["invocation"] == id.as_str());
        if said.count() == 3 { Ok(()) } else { Err(logs.stdout) }
    })
    .await;
    let detail = cluster.run(&["invocation", "get", &id]).await.ok();
    for advice in [format!("coracle invocation retry {id}"), format!("coracle dlq purge fails {id}")] {
        assert!(detail.stdout.contains(&advice), "{}", detail.stdout);
    }

    let queues = cluster.run(&["dlq", "list", "-o", "json"]).await.ok().json();
    assert_eq!((&queues[0]["queue"], &queues[0]["dead"]), (&"function/fails".into(), &1.into()), "{queues}");
    assert!(queues[0]["oldest"].is_string(), "{queues}");
    let letters = cluster.run(&["dlq", "list", "fails", "-o", "json"]).await.ok().json();
    assert_eq!((&letters[0]["id"], &letters[0]["cause"]), (&id.as_str().into(), &"attempts".into()));
    let shown = cluster.run(&["dlq", "show", &id]).await.ok();
    assert!(
        shown.stdout.contains("  what was asked\n") && shown.stdout.contains("x-test: seven"),
        "{shown:?}"
    );
    let number = letters[0]["message"].to_string();
    let by_number = cluster.run(&["dlq", "show", "fails", "--message", &number]).await.ok();
    assert_eq!(by_number.stdout, shown.stdout);

    // Another life, which ends as the first one did.
    let moved = cluster.run(&["dlq", "redrive", "fails", "--all", "-o", "json"]).await.ok().json();
    assert_eq!(moved["moved"], 1, "{moved}");
    dies(&cluster, &id, 2).await;
    let _ = cluster.run(&["dlq", "redrive", "fails", &id]).await.ok();
    dies(&cluster, &id, 3).await;
    let _ = cluster.run(&["invocation", "retry", &id]).await.ok();
    dies(&cluster, &id, 4).await;
    // The function is mended: what lay there is done.
    cluster.deploy("fails", &wat::environment(cluster.folder(), "works", 200), &[]).await;
    let _ = cluster.run(&["dlq", "redrive", "fails", "--all"]).await.ok();
    let waited = cluster.run(&["invocation", "wait", &id]).await.ok();
    assert!(waited.stdout.contains("HTTP_X_TEST=seven"), "{waited:?}");
    let none = cluster.run(&["dlq", "redrive", "fails", &id]).await.failed_with(8);
    assert!(none.stderr.contains("is no dead letter, it is succeeded"), "{none:?}");
    purged(&cluster).await;
}

/// What a person takes away is dropped, and its record says so.
async fn purged(cluster: &Cluster) {
    cluster.deploy("refuses", &wat::environment(cluster.folder(), "refuses", 400), &[]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(call_later(cluster, "refuses", &[]).await);
    }
    for id in &ids {
        let dead = becomes(cluster, id, "dead", SOON).await;
        assert_eq!((&dead["cause"], attempts(&dead)), (&"rejected".into(), vec![1]), "{dead}");
    }
    let asked = cluster.run(&["dlq", "purge", "refuses", &ids[0]]).await.failed_with(1);
    assert!(asked.stderr.contains("give -y"), "{asked:?}");
    let _ = cluster.run(&["dlq", "purge", "refuses", &ids[0], "-y"]).await.ok();
    assert_eq!(record(cluster, &ids[0]).await["state"], "dropped");
    let left = cluster.run(&["dlq", "list", "refuses", "-o", "name"]).await.ok();
    assert_eq!(left.stdout, format!("{}\n{}\n", ids[1], ids[2]), "the oldest first");
    let moved = cluster.run(&["dlq", "purge", "refuses", "--all", "-y", "-o", "json"]).await.ok().json();
    assert_eq!(moved["moved"], 2, "{moved}");
    assert_eq!(cluster.run(&["dlq", "list", "refuses", "-o", "json"]).await.ok().stdout.trim(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_ends() {
    let cluster = cluster(3).await;
    let sleeps = wat::command(cluster.folder(), "sleeps", wat::LONG_NAP);
    let one = ["--timeout", "15m", "--concurrency", "1", "--replicas", "1"];
    cluster.deploy("sleeps", &sleeps, &one).await;
    let running = call_later(&cluster, "sleeps", &[]).await;
    becomes(&cluster, &running, "running", SOON).await;
    // There is one place, which is taken: the second call is offered again and again, and no attempt is counted.
    let waiting = call_later(&cluster, "sleeps", &[]).await;
    let refused = within(SOON, "the second call was refused a place", async || {
        let record = record(&cluster, &waiting).await;
        let error = record["last_error"].as_str().unwrap_or_default();
        if error.is_empty() { Err(record.to_string()) } else { Ok(record) }
    })
    .await;
    assert_eq!(attempts(&refused), Vec::<u64>::new(), "{refused}");
    let _ = cluster.run(&["invocation", "cancel", &waiting]).await.ok();
    let cancelled = record(&cluster, &waiting).await;
    assert_eq!((&cancelled["state"], attempts(&cancelled)), (&"cancelled".into(), vec![]), "{cancelled}");

    assert_eq!(counted(&cluster, "sleeps", "abandoned").await.unwrap(), 0);
    let _ = cluster.run(&["invocation", "cancel", &running]).await.ok();
    within(Duration::from_secs(1), "the guest of a cancelled call has ended", async || {
        match counted(&cluster, "sleeps", "abandoned").await? {
            1 => Ok(()),
            count => Err(format!("{count} ended")),
        }
    })
    .await;
    assert_eq!(record(&cluster, &running).await["state"], "cancelled");
    let waited = cluster.run(&["invocation", "wait", &running]).await.failed_with(8);
    assert!(waited.stderr.contains("was cancelled"), "{waited:?}");
    let again = cluster.run(&["invocation", "cancel", &running]).await.failed_with(8);
    assert!(again.stderr.contains("code conflict"), "{again:?}");
    let retried = cluster.run(&["invocation", "retry", &running]).await.failed_with(8);
    assert!(retried.stderr.contains("code conflict"), "{retried:?}");
    // Its place is free again.
    let next = call_later(&cluster, "sleeps", &[]).await;
    becomes(&cluster, &next, "running", SOON).await;
    let late = cluster.run(&["invocation", "wait", &next, "--timeout", "200ms"]).await.failed_with(7);
    assert!(late.stderr.contains("has not ended after 200 ms"), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_a_place_uncounted() {
    let mut cluster = cluster(3).await;
    let naps = wat::command(cluster.folder(), "naps", wat::NAP);
    cluster.deploy("naps", &naps, &["--concurrency", "1", "--replicas", "1"]).await;
    let ids = join_all((0..20).map(|_| call_later(&cluster, "naps", &[]))).await;
    for id in &ids {
        let done = becomes(&cluster, id, "succeeded", Duration::from_secs(20)).await;
        assert_eq!(attempts(&done), [1], "a refusal was counted: {done}");
    }
    // Nobody holds it: until its replica has moved no call is made.
    let holder = cluster.holders("naps").await[0];
    cluster.nodes[holder].kill();
    let other = (holder + 1) % 3;
    let id = within(Duration::from_secs(10), "it is accepted", async || {
        let answer = post(&cluster.client, &cluster.url(other, "/naps"), "moved", "").await?;
        let accepted = answer.status == 202;
        if accepted { Ok(answer.header("coracle-invocation-id").to_owned()) } else { Err(answer.text()) }
    })
    .await;
    let done = becomes(&cluster, &id, "succeeded", AFTER_A_LOSS).await;
    assert_eq!(attempts(&done), [1], "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_it_is_said() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    let answer = post(&cluster.client, &cluster.url(0, "/hello"), "k", "").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("coracle-error")), (503, "no-store"));
    for command in [&["invoke", "hello", "--async"][..], &["invocation", "list"], &["dlq", "list"]] {
        let refused = cluster.run(command).await.failed_with(5);
        assert!(refused.stderr.contains("code no-store") && refused.stdout.is_empty(), "{refused:?}");
    }
    assert_eq!(cluster.client.get(&cluster.url(0, "/hello")).await.unwrap().status, 200);
}
