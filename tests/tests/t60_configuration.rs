//! Goal: a node that cannot do what it is told says why and what to do; each role does its part and no other.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use coracle_tests::{
    Client, Cluster, Finished, Live, Options, Process, eventually, free_port, guest, run, within,
};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Runs a server that must end by itself, on ports that nobody has.
async fn server(folder: &Path, arguments: &[&str]) -> Finished {
    let data = folder.display().to_string();
    let mut all = vec!["server", "--data-dir", &data];
    for flag in ["--grpc", "--admin", "--data", "--http", "--store"] {
        if !arguments.contains(&flag) {
            all.extend([flag, "127.0.0.1:0"]);
        }
    }
    all.extend_from_slice(arguments);
    run(Path::new(PROGRAM), &all, &[], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_begin_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let fresh = |name: &str| folder.path().join(name);
    let unsaid = server(&fresh("unsaid"), &[]).await.failed_with(1);
    assert!(
        unsaid.stderr.contains("--bootstrap") && unsaid.stderr.contains("--join HOST:PORT"),
        "{unsaid:?}"
    );
    assert!(unsaid.stderr.contains("holds no node yet"), "{unsaid:?}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--grpc", "--admin", "--data", "--http", "--store"] {
        let done = server(&fresh("taken"), &["--bootstrap", flag, &address]).await.failed_with(1);
        let port = format!("port {} is in use", taken.local_addr().unwrap().port());
        assert!(done.stderr.contains(&port) && done.stderr.contains(flag), "{flag}: {}", done.stderr);
    }

    let open = server(&fresh("open"), &["--bootstrap", "--http", "0.0.0.0:0"]).await.failed_with(1);
    assert!(
        open.stderr.contains("--http 0.0.0.0:0") && open.stderr.contains("--insecure"),
        "{}",
        open.stderr
    );

    let far = server(&fresh("far"), &["--join", "10.255.255.1:7400"]).await.failed_with(1);
    assert!(far.stderr.contains("could not reach this one at 127.0.0.1:"), "{}", far.stderr);
    let both = server(&fresh("both"), &["--bootstrap", "--join", "127.0.0.1:1"]).await.failed_with(1);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
    let voters = server(&fresh("voters"), &["--join", "127.0.0.1:1", "--voters", "5"]).await.failed_with(1);
    assert!(
        voters.stderr.contains("--voters: ") && voters.stderr.contains("--bootstrap"),
        "{}",
        voters.stderr
    );
    let role = server(&fresh("role"), &["--bootstrap", "--role", "captain"]).await.failed_with(1);
    assert!(role.stderr.contains("controller, worker, gateway or store"), "{}", role.stderr);
    let founder = server(&fresh("founder"), &["--bootstrap", "--role", "worker"]).await.failed_with(1);
    assert!(founder.stderr.contains("controller"), "{}", founder.stderr);
    for name in ["unsaid", "taken", "open", "both", "role", "founder"] {
        assert!(!fresh(name).join("identity").exists(), "{name}: a node was made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_on_a_folder_with_a_node_is_ignored() {
    let mut cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    let before = cluster.status().await.unwrap();
    // Each start of the harness's first node has --bootstrap.
    cluster.nodes[0].terminate();
    cluster.nodes[0].start();
    cluster.wait_alive(1).await;
    let after = cluster.status().await.unwrap();
    assert_eq!(
        (&after["cluster"], &after["nodes"][0]["id"]),
        (&before["cluster"], &before["nodes"][0]["id"])
    );
    assert_eq!(after["functions"][0]["name"], "hello");

    let folder = cluster.nodes[0].folder.clone();
    let second = server(&folder, &["--bootstrap"]).await.failed_with(1);
    assert!(second.stderr.contains("another server uses the data folder"), "{}", second.stderr);
    let pid = cluster.nodes[0].pid(Process::Supervisor).unwrap();
    assert!(second.stderr.contains(&format!("supervisor = {pid}")), "{}", second.stderr);
}

/// Waits until a node shows that its controller was given up, and for which reason.
async fn given_up(cluster: &Cluster, node: usize, code: &str) {
    let url = format!("http://{}/healthz", cluster.nodes[node].admin);
    within(Duration::from_secs(5), "the controller is given up", async || {
        let answer = cluster.client.get(&url).await?;
        let health: Value = serde_json::from_str(&answer.text()).map_err(|error| error.to_string())?;
        let children = health["children"].as_array().ok_or("no children")?;
        let controller =
            children.iter().find(|child| child["name"] == "controller").ok_or("no controller")?;
        let said = controller["last_message"].as_str().unwrap_or_default();
        let seen = controller["state"] == "given-up" && controller["pid"].is_null();
        if answer.status == 200 && health["status"] == "degraded" && seen && said.contains(code) {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;
    // Calls need no controller, so the node is ready without one.
    eventually("the node is ready all the same", async || ready(cluster, node).await).await;
}

async fn ready(cluster: &Cluster, node: usize) -> Result<(), String> {
    let answer = cluster.client.get(&format!("http://{}/readyz", cluster.nodes[node].admin)).await?;
    if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_that_was_given_up_refuses_connections() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut cluster = Cluster::start(PROGRAM, 1).await;
    cluster.nodes[0].terminate();
    // Code that others could write is not run.
    let cache = cluster.folder().join("cache");
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    cluster.nodes[0].start();
    let url = format!("http://{}/readyz", cluster.nodes[0].admin);
    eventually("the data plane is given up", async || {
        let answer = cluster.client.get(&url).await?;
        let seen = answer.status == 503 && answer.text().contains("is not started again");
        if seen { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    for address in [&cluster.nodes[0].http, &cluster.nodes[0].data] {
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_to_join_says_so_at_its_admin_port() {
    let folder = TempDir::new().unwrap();
    let admin = format!("127.0.0.1:{}", free_port());
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["server", "--join", "127.0.0.1:1", "--data-dir"]).arg(folder.path().join("n"));
    for flag in ["--grpc", "--data", "--http", "--store"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command.args(["--admin", &admin]);
    let mut server = Live::start(command);
    let client = Client::default();
    eventually("it answers", async || {
        let health = client.get(&format!("http://{admin}/healthz")).await?;
        let ready = client.get(&format!("http://{admin}/readyz")).await?;
        if health.status == 200 && ready.status == 503 { Ok(()) } else { Err(ready.text()) }
    })
    .await;
    server.interrupt().await;
}

/// A node of the status, by its place in the harness.
fn of(cluster: &Cluster, status: &Value, index: usize) -> Value {
    let mut nodes = status["nodes"].as_array().unwrap().iter();
    nodes.find(|node| node["admin"] == cluster.nodes[index].admin.as_str()).expect("the node").clone()
}

/// Waits until the whole cluster knows the three processes of each node as they are.
async fn pids_are_right(cluster: &Cluster) {
    within(Duration::from_secs(15), "the pids of all nodes", async || {
        let status = cluster.status().await?;
        for index in 0..cluster.nodes.len() {
            let pid = |process| cluster.nodes[index].pid(process);
            let real = serde_json::json!({
                "supervisor": pid(Process::Supervisor)?,
                "controller": pid(Process::Controller)?,
                "data": pid(Process::DataPlane)?,
                "store": null,
            });
            let told = &of(cluster, &status, index)["pids"];
            if *told != real {
                return Err(format!("node {index}: {told} is not {real}"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_knows_the_processes_of_each_node_and_why_one_was_given_up() {
    let mut cluster = Cluster::start(PROGRAM, 3).await;
    pids_are_right(&cluster).await;
    // The data plane reports to another controller from now on; the supervisor still tells of both.
    let before = cluster.nodes[1].pid(Process::Controller).unwrap();
    cluster.nodes[1].signal(Process::Controller, Signal::KILL);
    eventually("the controller is started again", async || match cluster.nodes[1].pid(Process::Controller) {
        Ok(pid) if pid != before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    pids_are_right(&cluster).await;

    cluster.nodes[2].terminate();
    let raft = cluster.nodes[2].folder.join("raft");
    let file = log_of(&raft);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.iter_mut().filter(|byte| **byte != 0).for_each(|byte| *byte ^= 0x55);
    std::fs::write(&file, bytes).unwrap();
    cluster.nodes[2].start();
    given_up(&cluster, 2, "store-damaged").await;
    let health = cluster.client.get(&format!("http://{}/healthz", cluster.nodes[2].admin)).await.unwrap();
    let health: Value = serde_json::from_str(&health.text()).unwrap();
    let children = health["children"].as_array().unwrap();
    let words = &children.iter().find(|child| child["name"] == "controller").unwrap()["last_message"];
    let id = cluster.id_of(2).await;
    let alarm = format!(
        "child-given-up: node {id}: its controller is not started again: {}",
        words.as_str().unwrap()
    );
    within(Duration::from_secs(15), "the alarm", async || {
        let status = cluster.status().await?;
        let node = of(&cluster, &status, 2);
        let pids = &node["pids"];
        let seen = status["alarms"].as_array().ok_or("no alarms")?.iter().any(|it| *it == alarm.as_str());
        if seen && pids["controller"].is_null() && pids["data"].is_u64() && node["state"] == "alive" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let detail = cluster.run(&["node", "get", &id.to_string()]).await.ok();
    assert!(
        detail.stdout.contains(&format!("given-up; its last end: {}", words.as_str().unwrap())),
        "{detail:?}"
    );
}

/// The file of the log that has something in it.
fn log_of(raft: &Path) -> PathBuf {
    raft.join("log-meta/0000000001.wal")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_foreign_or_damaged_is_not_used() {
    let mut cluster = Cluster::start(PROGRAM, 1).await;
    let mut other = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    cluster.nodes[0].terminate();
    other.nodes[0].terminate();

    let (own, foreign) = (cluster.nodes[0].folder.join("raft"), other.nodes[0].folder.join("raft"));
    std::fs::rename(&own, own.with_extension("kept")).unwrap();
    std::fs::rename(&foreign, &own).unwrap();
    cluster.nodes[0].start();
    given_up(&cluster, 0, "store-foreign").await;
    assert!(cluster.nodes[0].log().contains("is not started again"), "{}", cluster.nodes[0].log());
    // The data plane has its own copy of everything: calls go on.
    eventually("calls are served all the same", async || {
        let answer = cluster.client.get(&cluster.url(0, "/hello")).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    cluster.nodes[0].terminate();

    std::fs::remove_dir_all(&own).unwrap();
    std::fs::rename(own.with_extension("kept"), &own).unwrap();
    let file = log_of(&own);
    let mut bytes = std::fs::read(&file).unwrap();
    let flipped = bytes.iter_mut().filter(|byte| **byte != 0);
    flipped.for_each(|byte| *byte ^= 0x55);
    std::fs::write(&file, bytes).unwrap();
    cluster.nodes[0].start();
    given_up(&cluster, 0, "store-damaged").await;

    std::fs::write(cluster.nodes[0].folder.join("identity"), "nonsense").unwrap();
    cluster.nodes[0].terminate();
    let damaged = server(&cluster.nodes[0].folder, &["--bootstrap"]).await.failed_with(78);
    assert!(damaged.stderr.contains("identity"), "{}", damaged.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_on_a_node_of_its_own() {
    let roles = vec!["controller", "worker", "gateway"];
    let mut cluster = Cluster::with(PROGRAM, Options { nodes: 3, roles, ..Options::default() }).await;
    let status = within(Duration::from_secs(10), "the processes of all", async || {
        let status = cluster.status().await?;
        let all = status["nodes"].as_array().ok_or("no nodes")?;
        let told = all.iter().all(|node| ["controller", "data"].iter().any(|it| node["pids"][it].is_u64()));
        if told { Ok(status) } else { Err(status.to_string()) }
    })
    .await;
    // In the order of the harness: which of the last two joined first is chance.
    let all = status["nodes"].as_array().unwrap();
    let [controller, worker, gateway] =
        ["n1", "n2", "n3"].map(|name| all.iter().find(|node| node["name"] == name).unwrap());
    let served = |node: &Value| ["grpc", "http"].map(|port| node[port] != "");
    assert_eq!(
        [served(controller), served(worker), served(gateway)],
        [[true, false], [false, false], [false, true]]
    );
    let runs = |node: &Value| ["supervisor", "controller", "data"].map(|name| node["pids"][name].is_u64());
    assert_eq!(
        [runs(controller), runs(worker), runs(gateway)],
        [[true, true, false], [true, false, true], [true, false, true]]
    );

    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    let detail = cluster.run(&["function", "get", "hello", "-o", "json"]).await.ok().json();
    let holders: Vec<_> = detail["replicas"].as_array().unwrap().iter().map(|it| &it["node"]).collect();
    assert_eq!(holders, [&worker["id"]]);
    let url = cluster.url(2, "/hello");
    let answer = cluster.client.get(&url).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("coracle-node"), worker["id"].to_string());
    let invoked = cluster.run(&["invoke", "hello"]).await.ok();
    assert!(invoked.stderr.contains(&format!("node {}, warm", worker["id"])), "{}", invoked.stderr);
    for node in &cluster.nodes {
        let ready = cluster.client.get(&format!("http://{}/readyz", node.admin)).await.unwrap();
        assert_eq!(ready.status, 200, "{}: {}", node.index, ready.text());
    }

    // Without the controller calls go on; each comes back alone, with its role.
    cluster.nodes[0].kill();
    assert_eq!(cluster.client.get(&url).await.unwrap().status, 200);
    for node in [1, 2] {
        ready(&cluster, node).await.expect("ready without a controller");
    }
    cluster.nodes[0].start();
    for node in [1, 2] {
        cluster.nodes[node].kill();
        cluster.nodes[node].start();
        eventually("calls are served again", async || {
            let answer = cluster.client.get(&url).await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        })
        .await;
    }
    cluster.wait_alive(3).await;
    cluster.deploy("second", &guest("c-http.component.wasm"), &[]).await;
    let answer = cluster.client.get(&cluster.url(2, "/second")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_memory_mode_serves() {
    for mode in ["pool", "on-demand"] {
        let flags = vec!["--runtime-memory".to_owned(), mode.to_owned()];
        let cluster = Cluster::with(PROGRAM, Options { nodes: 1, flags, ..Options::default() }).await;
        cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
        for _ in 0..20 {
            let answer = cluster.client.get(&cluster.url(0, "/hello")).await.unwrap();
            assert_eq!(answer.status, 200, "{mode}: {}", answer.text());
        }
        let node =
            cluster.run(&["node", "get", &cluster.id_of(0).await.to_string(), "-o", "json"]).await.ok();
        assert_eq!(node.json()["runtime"], mode, "{}", node.stdout);
    }
}

/// A line of a server's log on a terminal. The server waits for its cluster, and ends with the terminal.
async fn logged_on_a_terminal(environment: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let flags = ["--grpc", "--admin", "--data", "--http", "--store"];
    let ports = flags.map(|flag| format!("{flag} 127.0.0.1:0")).join(" ");
    let folder = folder.path().display();
    let server = format!("{PROGRAM} server --join 127.0.0.1:1 --data-dir {folder} {ports}");
    let mut script = Command::new("script");
    script.args(["-qec", &server, "/dev/null"]).envs(environment.iter().copied()).env_remove("CORACLE_LOG");
    let mut script = Live::start(script);
    script.wait_for("no controller could answer yet", Duration::from_secs(10)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_log_has_colours_for_those_who_like_it() {
    let colourful = logged_on_a_terminal(&[("NO_COLOR", "")]).await;
    assert!(colourful.contains("\x1b["), "{colourful}");
    let sober = logged_on_a_terminal(&[("NO_COLOR", "1")]).await;
    assert!(!sober.contains("\x1b["), "{sober}");
}
