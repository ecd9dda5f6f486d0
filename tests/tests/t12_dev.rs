//! Goal: `coracle dev` deploys what changes, ends whole, comes back with its data, and leaves the dead alone.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use coracle_tests::{Client, Live, eventually, guest, is_gone, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// From the first process to a cluster that takes changes.
const START: Duration = Duration::from_secs(15);
/// From a change to its version.
const DEPLOY: Duration = Duration::from_secs(10);

/// Of each node: `dev` leaves none out.
const PROCESSES: [&str; 4] = ["supervisor", "controller", "store", "data"];

/// A folder with a manifest of one function, the cluster's data and a home.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(TempDir::new().unwrap());
        std::fs::write(project.manifest(), "[function.hello]\ncomponent = 'hello.wasm'\n").unwrap();
        project.build("hello-min.component.wasm");
        project
    }

    fn manifest(&self) -> PathBuf {
        self.0.path().join("coracle.toml")
    }

    /// Puts another component into the place of the old one, as compilers do.
    fn build(&self, name: &str) {
        let new = self.0.path().join("new");
        std::fs::copy(guest(name), &new).unwrap();
        std::fs::rename(new, self.0.path().join("hello.wasm")).unwrap();
    }

    fn home(&self) -> Vec<(String, String)> {
        vec![("XDG_CONFIG_HOME".to_owned(), self.0.path().join("config").display().to_string())]
    }

    fn dev(&self, arguments: &[&str]) -> Live {
        let mut command = Command::new(PROGRAM);
        command.args(["dev", "--ports", "free", "--data-dir"]).arg(self.0.path().join("data"));
        command.args(arguments).envs(self.home());
        Live::start(command)
    }

    /// The same, once the supervisors have told of their processes.
    async fn status_with_pids(&self) -> Value {
        eventually("the processes are told", async || {
            let status = self.status().await;
            let nodes = status["nodes"].as_array().unwrap();
            let told = nodes.iter().all(|node| PROCESSES.iter().all(|name| node["pids"][name].is_u64()));
            if told { Ok(status) } else { Err(status.to_string()) }
        })
        .await
    }

    /// The status of the cluster that `dev` made the one that all commands use.
    async fn status(&self) -> Value {
        run(Path::new(PROGRAM), &["status", "-o", "json"], &self.home(), "").await.ok().json()
    }
}

fn pids(status: &Value) -> Vec<i32> {
    let nodes = status["nodes"].as_array().unwrap().iter();
    let of = |node: &Value| PROCESSES.map(|name| node["pids"][name].as_i64().unwrap());
    nodes.flat_map(of).map(|pid| i32::try_from(pid).unwrap()).collect()
}

async fn gone(pids: &[i32]) {
    eventually("no process is left", async || {
        let left: Vec<_> = pids.iter().filter(|pid| !is_gone(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_deployed_and_the_same_command_brings_the_cluster_back() {
    let (project, client) = (Project::new(), Client::default());
    let manifest = project.manifest().display().to_string();
    let mut dev = project.dev(&[&manifest]);
    let first = dev.wait_for("hello@1  http://", START).await;
    let url = first.split_whitespace().next_back().unwrap().to_owned();
    assert!(client.get(&url).await.unwrap().text().contains("Hello, world!"));

    dev.wait_for("watching for changes", DEPLOY).await;
    project.build("c-http.component.wasm");
    dev.wait_for("hello.wasm changed", DEPLOY).await;
    dev.wait_for("hello@2  http://", DEPLOY).await;
    assert!(client.get(&url).await.unwrap().text().contains("hello from C"));

    dev.wait_for("watching for changes", DEPLOY).await;
    std::fs::write(project.0.path().join("hello.wasm"), "no wasm").unwrap();
    dev.wait_for("not-wasm", DEPLOY).await;
    assert_eq!(client.get(&url).await.unwrap().status, 200, "a build that fails takes nothing away");
    dev.wait_for("watching for changes", DEPLOY).await;
    std::fs::write(project.manifest(), "[function.hello]\ncomponent = 'hello.wasm'\nmemroy = 1\n").unwrap();
    dev.wait_for("did you mean 'memory'?", DEPLOY).await;

    let before = project.status_with_pids().await;
    dev.interrupt().await;
    gone(&pids(&before)).await;
    assert!(client.get(&url).await.is_err());

    std::fs::write(project.manifest(), "[function.hello]\ncomponent = 'hello.wasm'\n").unwrap();
    project.build("c-http.component.wasm");
    let mut again = project.dev(&[&manifest]);
    let line = again.wait_for("hello@2 (unchanged)", START).await;
    assert!(line.ends_with(&url), "the ports are kept: {line}");
    assert!(client.get(&url).await.unwrap().text().contains("hello from C"));
    let after = project.status().await;
    assert_eq!(
        (&after["cluster"], &after["nodes"][0]["id"]),
        (&before["cluster"], &before["nodes"][0]["id"])
    );
    again.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_stays_dead_and_the_others_go_on() {
    let project = Project::new();
    let mut dev = project.dev(&["--nodes", "2"]);
    dev.wait_for("ready; Ctrl-C", START).await;
    let status = project.status_with_pids().await;
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2);
    let all = pids(&status);
    let second = status["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "n2").unwrap();
    let pid = i32::try_from(second["pids"]["supervisor"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    dev.wait_for("node n2 died", DEPLOY).await;
    let how = dev.wait_for("coracle server --data-dir", DEPLOY).await;
    assert!(how.contains("/data/n2 --name n2 ") && !how.contains("--parent"), "{how}");

    // What it says brings the node back, with its id.
    let words: Vec<_> = how.split_whitespace().skip(1).collect();
    let mut server = Command::new(PROGRAM);
    server.args(words).envs(project.home());
    let back = Live::start(server);
    let id = second["id"].clone();
    eventually("the node is back", async || {
        let now = project.status().await;
        let node = now["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).unwrap().clone();
        let new = node["pids"]["supervisor"] == back.pid();
        if new && node["state"] == "alive" { Ok(()) } else { Err(node.to_string()) }
    })
    .await;
    // The end of the cluster is its end too; it is this test's own process, so only its children are looked for.
    let now = pids(&project.status_with_pids().await);
    dev.interrupt().await;
    gone(&all).await;
    gone(&now.into_iter().filter(|pid| u32::try_from(*pid).unwrap() != back.pid()).collect::<Vec<_>>()).await;
    drop(back);
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_gives_back_what_it_took_and_keeps_its_folders_to_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new();
    let config = project.0.path().join("config/coracle");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("contexts.toml"), "current = 'prod'\n[context.prod]\naddresses = ['p:1']\n")
        .unwrap();
    let context = async |arguments: &[&str]| {
        let all = [&["context"], arguments].concat();
        run(Path::new(PROGRAM), &all, &project.home(), "").await.ok()
    };
    let mut dev = project.dev(&["--nodes", "2", "--log-format", "json"]);
    dev.wait_for("ready; Ctrl-C", START).await;
    let listed = context(&["list"]).await.stdout;
    assert!(listed.lines().any(|line| line.starts_with("dev ") && line.contains(" yes ")), "{listed}");
    let data = project.0.path().join("data");
    let mode = std::fs::metadata(data.join("n1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
    assert!(
        std::fs::read_to_string(data.join("n1.log")).unwrap().starts_with('{'),
        "the format is passed on"
    );
    // A second cluster has a name of its own, and the first one's is left alone.
    let other = Project::new();
    let mut command = Command::new(PROGRAM);
    command.args(["dev", "--ports", "free", "--data-dir"]).arg(other.0.path().join("data"));
    command.envs(project.home());
    let mut second = Live::start(command);
    second.wait_for("this one is the context 'dev-2'", START).await;
    second.wait_for("ready; Ctrl-C", START).await;
    let listed = context(&["list"]).await.stdout;
    assert!(listed.lines().any(|line| line.starts_with("dev-2 ") && line.contains(" yes ")), "{listed}");
    second.interrupt().await;
    let listed = context(&["list"]).await.stdout;
    assert!(listed.lines().any(|line| line.starts_with("dev ") && line.contains(" yes ")), "{listed}");
    dev.interrupt().await;
    let listed = context(&["list", "-o", "json"]).await.json();
    let current: Vec<_> = listed.as_array().unwrap().iter().filter(|it| it["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["name"], "prod", "{listed}");
    let _ = context(&["use", "dev"]).await;
    assert!(
        context(&["list"])
            .await
            .stdout
            .lines()
            .any(|line| line.starts_with("dev ") && line.contains(" yes "))
    );

    // A cluster of two cannot go on with one.
    let data = data.display().to_string();
    let fewer =
        run(Path::new(PROGRAM), &["dev", "--ports", "free", "--data-dir", &data], &project.home(), "").await;
    let fewer = fewer.failed_with(1);
    assert!(
        fewer.stderr.contains("holds a cluster of 2 nodes") && fewer.stderr.contains("--nodes 2"),
        "{fewer:?}"
    );
}

/// Its folder stays, and looks like that of a node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_removed_is_named_until_its_folder_is_deleted() {
    let project = Project::new();
    let mut dev = project.dev(&["--nodes", "2"]);
    dev.wait_for("ready; Ctrl-C", START).await;
    let _ = run(Path::new(PROGRAM), &["node", "remove", "2", "-y"], &project.home(), "").await.ok();
    dev.wait_for("node n2 ended for good", DEPLOY).await;
    dev.interrupt().await;
    let data = project.0.path().join("data");
    let folder = data.display().to_string();
    let again = ["dev", "--ports", "free", "--nodes", "2", "--data-dir", &folder];
    let again = run(Path::new(PROGRAM), &again, &project.home(), "").await.failed_with(1);
    let (named, second) = ("node n2 was removed: delete ", data.join("n2"));
    assert!(again.stderr.contains(&format!("{named}{}", second.display())), "{}", again.stderr);
    std::fs::remove_dir_all(second).unwrap();
    let mut dev = project.dev(&[]);
    dev.wait_for("ready; Ctrl-C", START).await;
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_before_anything_starts() {
    // Whoever holds it, it is in use.
    let held = TcpListener::bind("127.0.0.1:7401");
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let done = run(Path::new(PROGRAM), &["dev", "--data-dir", &data], &[], "").await.failed_with(1);
    assert!(done.stderr.contains("is in use by another program"), "{}", done.stderr);
    assert!(done.stderr.contains("port 740") && done.stderr.contains("--ports free"), "{}", done.stderr);
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was started");
    drop(held);
}
