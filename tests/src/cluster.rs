//! A cluster of real nodes on this machine.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::node::Node;
use crate::{Client, within};

/// What a cluster is made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Nodes with all roles.
    pub nodes: usize,
    /// Further flags of `server`, for all nodes.
    pub flags: Vec<String>,
    /// Environment of all nodes and of the command line.
    pub environment: Vec<(String, String)>,
}

/// Nodes, a client and the command line.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order in which they joined.
    pub nodes: Vec<Node>,
    /// A client for everything that is no load.
    pub client: Client,
    program: PathBuf,
    environment: Vec<(String, String)>,
    base: Option<TempDir>,
}

/// What a command of the command line came to.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// Results.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Finished {
    /// The output of a command that must have worked.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Its stdout as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Cluster {
    /// Starts nodes and waits until all are alive and the first three vote.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start(program: &str, nodes: usize) -> Self {
        Self::with(program, Options { nodes, ..Options::default() }).await
    }

    /// [`Self::start`] with all options.
    ///
    /// # Panics
    /// When the nodes do not come up.
    pub async fn with(program: &str, options: Options) -> Self {
        let base = tempfile::Builder::new().prefix("coracle-test-").tempdir().expect("a temporary folder");
        let mut flags = options.flags.clone();
        if !flags.iter().any(|flag| flag == "--cache-dir") {
            flags.extend(["--cache-dir".into(), base.path().join("cache").display().to_string()]);
        }
        let program = PathBuf::from(program);
        let mut cluster = Self {
            nodes: Vec::new(),
            client: Client::default(),
            program,
            environment: options.environment,
            base: Some(base),
        };
        for index in 0..options.nodes {
            let first = cluster.nodes.first().map(|node| node.grpc.clone());
            let mut node = Node::new(&cluster.program, cluster.folder(), index, first.as_deref(), &flags);
            node.set_environment(&cluster.environment);
            node.start();
            cluster.nodes.push(node);
            if index == 0 {
                cluster.wait_alive(1).await;
            }
        }
        cluster.wait_alive(options.nodes).await;
        cluster
    }

    fn folder(&self) -> &Path {
        self.base.as_ref().expect("kept until the end").path()
    }

    /// Waits until so many nodes are alive, and as many of them vote as should.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn wait_alive(&self, count: usize) {
        within(Duration::from_secs(10), &format!("{count} nodes alive"), async || {
            let status = self.status().await?;
            let nodes = status["nodes"].as_array().ok_or("no nodes")?;
            let alive = nodes.iter().filter(|node| node["state"] == "alive").count();
            let voters = nodes.iter().filter(|node| node["voter"] == true).count();
            if alive == count && voters >= count.min(3) && status["leader"].is_u64() {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
    }

    /// `coracle status -o json`, from any node that runs.
    ///
    /// # Errors
    /// What the command said.
    pub async fn status(&self) -> Result<Value, String> {
        let done = self.run(&["status", "-o", "json", "--wait-timeout", "5s"]).await;
        if done.code != 0 {
            return Err(done.stderr);
        }
        serde_json::from_str(&done.stdout).map_err(|error| format!("{error}: {}", done.stdout))
    }

    /// Runs the command line against the nodes that run.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, "").await
    }

    /// [`Self::run`] with something on stdin.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub async fn run_with(&self, arguments: &[&str], stdin: &str) -> Finished {
        use tokio::io::AsyncWriteExt as _;
        let addresses: Vec<_> =
            self.nodes.iter().filter(|node| node.runs()).map(|node| node.grpc.clone()).collect();
        let mut child = tokio::process::Command::new(&self.program)
            .args(arguments)
            .env("CORACLE_ADDRESS", addresses.join(","))
            .env("XDG_CONFIG_HOME", self.folder())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program under test starts");
        if let Some(mut pipe) = child.stdin.take() {
            // A command that reads nothing closes its end first.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        }
        let waited = tokio::time::timeout(Duration::from_secs(300), child.wait_with_output()).await;
        waited.expect("the command ends within 5 minutes").expect("output").into()
    }

    /// Deploys a file and waits until it is ready.
    ///
    /// # Panics
    /// When it does not work.
    pub async fn deploy(&self, name: &str, file: &Path, flags: &[&str]) -> Finished {
        let file = file.display().to_string();
        let mut arguments = vec!["deploy", name, file.as_str()];
        arguments.extend_from_slice(flags);
        let begin = Instant::now();
        let done = self.run(&arguments).await.ok();
        println!("deployed {name}: {:?}", begin.elapsed());
        done
    }

    /// The URL of a path at a node's gateway.
    #[must_use]
    pub fn url(&self, node: usize, path: &str) -> String {
        format!("http://{}{path}", self.nodes[node].http)
    }

    /// Which of the nodes leads.
    ///
    /// # Panics
    /// When none does for too long.
    pub async fn leader(&self) -> usize {
        within(Duration::from_secs(5), "a leader", async || {
            let status = self.status().await?;
            let id = status["leader"].as_u64().ok_or("no leader")?;
            self.index_of(&status, id).ok_or(format!("leader {id} is not ours"))
        })
        .await
    }

    /// The place in [`Self::nodes`] of a node's id.
    #[must_use]
    pub fn index_of(&self, status: &Value, id: u64) -> Option<usize> {
        let node = status["nodes"].as_array()?.iter().find(|node| node["id"] == id)?;
        self.nodes.iter().position(|mine| node["grpc"] == mine.grpc.as_str())
    }

    /// The id of one of the nodes.
    ///
    /// # Panics
    /// When the cluster does not know it.
    pub async fn id_of(&self, index: usize) -> u64 {
        let status = self.status().await.expect("a status");
        let nodes = status["nodes"].as_array().expect("nodes");
        let found = nodes.iter().find(|node| node["grpc"] == self.nodes[index].grpc.as_str());
        found.and_then(|node| node["id"].as_u64()).expect("the node is known")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.nodes.iter_mut().for_each(Node::kill);
        if let Some(base) = self.base.take() {
            eprintln!("logs and data are kept in {}", base.keep().display());
        }
    }
}
