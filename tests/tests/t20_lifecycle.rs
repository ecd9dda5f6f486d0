//! Goal: restarts of any process lose nothing, and a data plane needs no controller to serve.

use std::time::Duration;

use coracle_tests::{Cluster, Process, eventually, guest, wat, within};
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Waits until a node's gateway answers a function.
async fn answers(cluster: &Cluster, node: usize, path: &str) {
    eventually(&format!("node {node} answers {path}"), async || {
        let answer = cluster.client.get(&cluster.url(node, path)).await?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_killed_comes_back_with_everything() {
    let mut cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let before = cluster.run(&["function", "list", "-o", "json"]).await.ok().json();
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    answers(&cluster, 0, "/hello-min").await;
    cluster.wait_alive(1).await;
    assert_eq!(
        cluster.run(&["function", "list", "-o", "json"]).await.ok().json()[0]["version"],
        before[0]["version"]
    );
    cluster.deploy("second", &guest("c-http.component.wasm"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_come_back_with_everything() {
    let mut cluster = Cluster::start(PROGRAM, 3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let id = cluster.status().await.unwrap()["cluster"].clone();
    cluster.nodes.iter_mut().for_each(coracle_tests::Node::kill);
    cluster.nodes.iter_mut().for_each(coracle_tests::Node::start);
    for node in 0..3 {
        answers(&cluster, node, "/hello-min").await;
    }
    cluster.wait_alive(3).await;
    let status = cluster.status().await.unwrap();
    assert_eq!(status["cluster"], id);
    assert_eq!(status["functions"][0]["name"], "hello-min");
    cluster.deploy("second", &guest("c-http.component.wasm"), &[]).await;
    answers(&cluster, 1, "/second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_child_killed_alone_is_back_within_a_second() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let node = &cluster.nodes[0];

    let (controller, data) = (node.pid(Process::Controller).unwrap(), node.pid(Process::DataPlane).unwrap());
    node.signal(Process::Controller, Signal::KILL);
    for _ in 0..50 {
        let answer = cluster.client.get(&cluster.url(0, "/hello-min")).await.unwrap();
        assert_eq!(answer.status, 200, "the data plane noticed: {}", answer.text());
    }
    within(Duration::from_secs(1), "the controller runs again", async || {
        match node.pid(Process::Controller) {
            Ok(pid) if pid != controller => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(node.pid(Process::DataPlane).unwrap(), data);
    cluster.wait_alive(1).await;

    node.signal(Process::DataPlane, Signal::KILL);
    within(Duration::from_secs(1), "the data plane serves again", async || {
        if node.pid(Process::DataPlane)? == data {
            return Err("not restarted".into());
        }
        let answer = cluster.client.get(&cluster.url(0, "/hello-min")).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_their_supervisor() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let node = &cluster.nodes[0];
    let pids = [node.pid(Process::Controller).unwrap(), node.pid(Process::DataPlane).unwrap()];
    node.signal(Process::Supervisor, Signal::KILL);
    eventually("both children are gone", async || {
        let left: Vec<_> =
            pids.iter().filter(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_controller_a_restarted_data_plane_serves() {
    let mut cluster = Cluster::start(PROGRAM, 3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "2"]).await;
    for node in 0..3 {
        answers(&cluster, node, "/hello-min").await;
    }
    let detail = cluster.run(&["function", "get", "hello-min", "-o", "json"]).await.ok().json();
    let holders: Vec<u64> =
        detail["replicas"].as_array().unwrap().iter().map(|it| it["node"].as_u64().unwrap()).collect();
    let mut without = 0;
    for node in 0..3 {
        if !holders.contains(&cluster.id_of(node).await) {
            without = node;
        }
    }
    // With two of three nodes dead and the last one's controller stopped for good there is nobody to ask.
    let holder = (0..3).find(|node| *node != without).unwrap();
    let other = (0..3).find(|node| *node != without && *node != holder).unwrap();
    cluster.nodes[other].kill();
    for node in [without, holder] {
        cluster.nodes[node].signal(Process::Controller, Signal::STOP);
    }
    for node in [without, holder] {
        eventually("its view is on disk", async || {
            let files = std::fs::read_dir(cluster.nodes[node].folder.join("view"))
                .map_err(|error| error.to_string())?;
            // The gateway's tells where replicas are; the worker's own tells a holder that it is one.
            let wanted = if node == holder { 2 } else { 1 };
            let texts = files.flatten().map(|file| std::fs::read(file.path()).unwrap_or_default());
            let found = texts
                .filter(|bytes| bytes.windows(25).any(|part| part == b"replica/default/hello-min"))
                .count();
            if found >= wanted { Ok(()) } else { Err(format!("a replica in {found} of {wanted} views")) }
        })
        .await;
        let before = cluster.nodes[node].pid(Process::DataPlane).unwrap();
        cluster.nodes[node].signal(Process::DataPlane, Signal::KILL);
        eventually("a new data plane", async || match cluster.nodes[node].pid(Process::DataPlane) {
            Ok(pid) if pid != before => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    answers(&cluster, holder, "/hello-min").await;
    // This one holds no replica: it calls the other, by the view that it kept on disk.
    answers(&cluster, without, "/hello-min").await;
    // The command line needs no controller for a call either: told a gateway, or from a context that knows one.
    let called = cluster.run(&["invoke", "hello-min", "--gateway", &cluster.nodes[holder].http]).await.ok();
    assert!(called.stderr.contains("node "), "{}", called.stderr);
    let contexts = format!(
        "[context.boat]\naddresses = ['127.0.0.1:1']\ngateways = ['{}']\n",
        cluster.nodes[without].http
    );
    std::fs::create_dir_all(cluster.folder().join("coracle")).unwrap();
    std::fs::write(cluster.folder().join("coracle/contexts.toml"), contexts).unwrap();
    let called = cluster.run(&["invoke", "hello-min", "--context", "boat"]).await.ok();
    assert!(called.stderr.contains("cannot connect to 127.0.0.1:1"), "{}", called.stderr);
    let nobody = cluster.run(&["invoke", "hello-min", "--address", "127.0.0.1:1"]).await.failed_with(2);
    assert!(nobody.stderr.contains("--gateway HOST:PORT"), "{}", nobody.stderr);
    for node in [without, holder] {
        cluster.nodes[node].signal(Process::Controller, Signal::CONT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_removed_stays_away() {
    let mut cluster = Cluster::start(PROGRAM, 4).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "3"]).await;
    let id = cluster.id_of(3).await;
    let _ = cluster.run(&["node", "remove", &id.to_string(), "-y"]).await.ok();
    let status = cluster.status().await.unwrap();
    assert!(
        status["nodes"].as_array().unwrap().iter().all(|node| node["id"].as_u64() != Some(id)),
        "{status}"
    );
    assert_eq!(status["functions"][0]["ready"], 3);
    cluster.nodes[3].terminate();
    cluster.nodes[3].start();
    eventually("it says that it was removed", async || {
        let log = cluster.nodes[3].log();
        if log.contains("node-removed") || log.contains("was removed") { Ok(()) } else { Err(log) }
    })
    .await;
    cluster.nodes[3].kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_copy_appears_when_the_third_node_is_back() {
    let mut cluster = Cluster::start(PROGRAM, 3).await;
    cluster.nodes[2].kill();
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let stored = |node: &coracle_tests::Node| {
        let folder = node.folder.join("artifacts/sha256");
        let files = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .flat_map(|it| std::fs::read_dir(it.path()).into_iter().flatten());
        files.flatten().filter(|it| it.path().extension().is_some_and(|end| end == "wasm")).count()
    };
    assert_eq!((stored(&cluster.nodes[0]), stored(&cluster.nodes[1])), (1, 1));
    cluster.nodes[2].start();
    within(Duration::from_secs(15), "the third copy", async || match stored(&cluster.nodes[2]) {
        1 => Ok(()),
        other => Err(format!("{other} artifacts")),
    })
    .await;
}

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
