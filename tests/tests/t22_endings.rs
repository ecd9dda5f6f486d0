//! Goal: nodes end in order, by signals and by removal, and no call of others fails for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_tests::{Cluster, Load, Options, Process, eventually, guest, is_gone, wat, within};
use rustix::process::Signal;
use tokio::sync::oneshot;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// A node with a call that keeps it from ending until its drain is over.
async fn busy() -> (Cluster, tokio::task::JoinHandle<()>) {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let module = wat::command(cluster.folder(), "busy", wat::LOOP);
    cluster.deploy("busy", &module, &["--cpu-time", "60s", "--timeout", "60s"]).await;
    let (client, url) = (coracle_tests::Client::default(), cluster.url(0, "/busy"));
    let call = tokio::spawn(async move { drop(client.get(&url).await) });
    eventually("the call runs", async || {
        let status = cluster.status().await?;
        let load = &status["nodes"][0]["load"]["in_flight"];
        if load.as_u64() == Some(1) { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    (cluster, call)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_refuses_connections_and_is_not_ready() {
    let (mut cluster, call) = busy().await;
    let ready = format!("http://{}/readyz", cluster.nodes[0].admin);
    assert_eq!(cluster.client.get(&ready).await.unwrap().status, 200);
    cluster.nodes[0].signal(Process::Supervisor, Signal::TERM);
    eventually("it is not ready", async || {
        let answer = cluster.client.get(&ready).await?;
        let seen = answer.status == 503 && answer.text().contains("the node is ending");
        if seen { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    eventually("connections are refused", async || {
        match std::net::TcpStream::connect(&cluster.nodes[0].http) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(cluster.nodes[0].exit_code().is_none(), "it still waits for the call");
    call.await.unwrap();
    ends(&mut cluster).await;
    assert!(cluster.nodes[0].log().contains(CLOSED), "{}", cluster.nodes[0].log());
}

/// What a controller says last, unless it is killed.
const CLOSED: &str = "coracle_controller::app: closed";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_kills_what_is_left() {
    let (mut cluster, call) = busy().await;
    cluster.nodes[0].signal(Process::Supervisor, Signal::TERM);
    let ready = format!("http://{}/readyz", cluster.nodes[0].admin);
    eventually("it is not ready", async || {
        let answer = cluster.client.get(&ready).await?;
        if answer.status == 503 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    // The data plane waits for its call, and the controller for the data plane.
    cluster.nodes[0].signal(Process::Supervisor, Signal::INT);
    ends(&mut cluster).await;
    call.await.unwrap();
    assert!(!cluster.nodes[0].log().contains(CLOSED), "{}", cluster.nodes[0].log());
}

/// Waits until the node has ended well.
async fn ends(cluster: &mut Cluster) {
    let node = &mut cluster.nodes[0];
    let ended = within(Duration::from_secs(10), "the node ends", || {
        std::future::ready(node.exit_code().ok_or_else(|| "it runs".to_owned()))
    });
    assert_eq!(ended.await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_child_is_started_again_when_all_processes_are_told_to_end() {
    let (mut cluster, call) = busy().await;
    // As systemd does it: the whole control group at once.
    cluster.nodes[0].signal_all(Signal::TERM);
    ends(&mut cluster).await;
    call.await.unwrap();
    let starts = cluster.nodes[0].log().matches("started child=\"controller\"").count();
    assert_eq!(starts, 1, "{}", cluster.nodes[0].log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_closes_ends_a_node_in_order() {
    let mut cluster = Cluster::start(PROGRAM, 1).await;
    cluster.nodes[0].signal(Process::Supervisor, Signal::HUP);
    // Signals that are ignored stay so in children (proc(5), `SigIgn`): under `nohup` a node outlives the terminal.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = own.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    if u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1 {
        println!("SIGHUP is ignored where this test runs");
        cluster.wait_alive(1).await;
        return;
    }
    ends(&mut cluster).await;
    assert!(cluster.nodes[0].log().contains("ending"), "{}", cluster.nodes[0].log());
}

/// Longer than a removal takes on any machine; it ends the load.
const LOAD_MAX: usize = 20_000;

/// The node holds a replica and serves calls while it is removed: none fails, for its replicas move first.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_removed_stays_away() {
    let mut cluster = Cluster::start(PROGRAM, 4).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "3"]).await;
    let leader = cluster.leader().await;
    let holders = cluster.holders("hello-min").await;
    let leaving = *holders.iter().find(|node| **node != leader).expect("three holders");
    let id = cluster.id_of(leaving).await;
    // A gateway without a replica asks all holders in turn; the others have one at home.
    let idle = (0..4).find(|node| !holders.contains(node)).expect("three of four hold it");
    cluster.answers(idle, "/hello-min").await;
    let sent = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = oneshot::channel();
    let load = Load::gets(LOAD_MAX, 100, vec![cluster.url(idle, "/hello-min")]);
    let load = tokio::spawn(load.run_until(sent.clone(), stopped));
    within(Duration::from_secs(5), "the load has begun", async || match sent.load(Ordering::SeqCst) {
        count if count >= 200 => Ok(()),
        count => Err(format!("{count} sent")),
    })
    .await;
    let pids = children(&cluster, leaving);
    let removed = cluster.run(&["node", "remove", &id.to_string(), "-y", "-o", "json"]).await.ok().json();
    assert_eq!(
        (&removed["name"], &removed["outcome"]),
        (&id.to_string().into(), &"removed".into()),
        "{removed}"
    );
    let status = cluster.status().await.unwrap();
    assert!(
        status["nodes"].as_array().unwrap().iter().all(|node| node["id"].as_u64() != Some(id)),
        "{status}"
    );
    eventually("three replicas are ready elsewhere", async || {
        let function = cluster.status().await?["functions"][0].clone();
        if function["ready"] == 3 { Ok(()) } else { Err(function.to_string()) }
    })
    .await;
    ends_as_removed(&mut cluster, leaving, &pids).await;
    stop.send(()).expect("the load outlasts the node");
    let report = load.await.unwrap();
    println!("{report}");
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.by_node().contains_key(&id.to_string()), "it served nothing before: {report}");
    // Its folder brings it back no more.
    cluster.nodes[leaving].terminate();
    cluster.nodes[leaving].start();
    ends_as_removed(&mut cluster, leaving, &[]).await;
}

/// A node without a controller hears of its removal too, and ends though it seemed well.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_removed_ends() {
    let roles = vec!["controller,worker,gateway", "worker,gateway"];
    let mut cluster = Cluster::with(PROGRAM, Options { nodes: 2, roles, ..Options::default() }).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    cluster.answers(1, "/hello-min").await;
    let id = cluster.id_of(1).await;
    let pids = [cluster.nodes[1].pid(Process::DataPlane).unwrap()];
    let removed = cluster.run(&["node", "remove", &id.to_string(), "-y", "-o", "name"]).await.ok();
    assert_eq!(removed.stdout, format!("{id}\n"));
    ends_as_removed(&mut cluster, 1, &pids).await;
    cluster.answers(0, "/hello-min").await;
}

/// The processes of a node with all roles, beside its supervisor.
fn children(cluster: &Cluster, node: usize) -> [i32; 2] {
    [Process::Controller, Process::DataPlane].map(|process| cluster.nodes[node].pid(process).unwrap())
}

/// Waits until a node has ended and checks what it said, and that none of its children that ran before outlived it.
async fn ends_as_removed(cluster: &mut Cluster, node: usize, pids: &[i32]) {
    let ended = eventually("the node has ended", || {
        let code = cluster.nodes[node].exit_code();
        std::future::ready(code.ok_or_else(|| cluster.nodes[node].log()))
    });
    assert_eq!(ended.await, 78);
    assert!(pids.iter().all(|pid| is_gone(*pid)), "a process outlived its node");
    let log = cluster.nodes[node].log();
    assert!(log.contains("error: node ") && log.contains("code node-removed"), "{log}");
}
