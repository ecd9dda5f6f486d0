//! A cluster of real nodes on this machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{self, Finished, Live};
use crate::disk::SmallDisk;
use crate::network::Network;
use crate::node::Node;
use crate::{Client, eventually, within};

/// What a node of a test is unless it is told: most tests keep nothing.
const WITHOUT_STORE: &str = "controller,worker,gateway";
/// The roles of a node that was not told any.
const WITH_STORE: &str = "controller,worker,gateway,store";

/// What a cluster is made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How many.
    pub nodes: usize,
    /// The roles of each node, as `--role` takes them; where none are given all but `store`, unless `stores` says so.
    pub roles: Vec<&'static str>,
    /// Whether each node has a store too: a process more, and a data group that has to begin.
    pub stores: bool,
    /// Further flags of `server`, for all nodes.
    pub flags: Vec<String>,
    /// Whether each node has a clock of its own, which [`Node::shift_clock`] moves; needs Debian's `faketime`.
    pub clocks: bool,
    /// Whether each node has a network of its own, which [`Cluster::network`] cuts; needs root and Debian's `iproute2`.
    pub network: bool,
    /// Whose store has a disk of its own, which [`Cluster::disk`] fills, and how many MiB it has; needs root.
    pub small_disk: Option<(usize, usize)>,
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
    // In the order in which they end, after the nodes.
    network: Option<Network>,
    disk: Option<SmallDisk>,
    base: Option<TempDir>,
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
        if options.network {
            // Its addresses are no loopback ones; nobody else reaches them.
            flags.push("--insecure".into());
        }
        let program = PathBuf::from(program);
        let mut cluster = Self {
            nodes: Vec::new(),
            client: Client::default(),
            program,
            environment: options.environment,
            network: options.network.then(|| Network::new(options.nodes)),
            disk: None,
            base: Some(base),
        };
        for index in 0..options.nodes {
            let first = cluster.nodes.first().map(|node| node.grpc.clone());
            let host = cluster.network.as_ref().map_or("127.0.0.1".into(), |it| it.address(index));
            let (program, base) = (&cluster.program, cluster.folder());
            let mut node = Node::new(program, base, index, first.as_deref(), &flags, &host);
            if let Some(network) = &cluster.network {
                node.set_before(network.within(index));
            }
            if let Some((_, mebibytes)) = options.small_disk.filter(|(whose, _)| *whose == index) {
                cluster.disk = Some(SmallDisk::mount(&node.folder.join("store"), mebibytes));
            }
            node.set_environment(&cluster.environment);
            if options.clocks {
                node.give_clock();
            }
            let unless_given = if options.stores { WITH_STORE } else { WITHOUT_STORE };
            node.set_roles(options.roles.get(index).copied().unwrap_or(unless_given));
            node.start();
            cluster.nodes.push(node);
            if index == 0 {
                cluster.wait_alive(1).await;
            }
        }
        cluster.wait_alive(options.nodes).await;
        cluster
    }

    /// Where the nodes' folders and logs lie.
    ///
    /// # Panics
    /// Never: it is kept until the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.base.as_ref().expect("kept until the end").path()
    }

    /// What passes between nodes, where [`Options::network`] was asked for.
    ///
    /// # Panics
    /// When it was not.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the nodes have networks of their own")
    }

    /// The disk of [`Options::small_disk`].
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("a store has a disk of its own")
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
            let controllers = self.nodes.iter().filter(|node| node.is_controller()).count();
            if alive == count && voters >= count.min(controllers).min(3) && status["leader"].is_u64() {
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
        command::run(&self.program, arguments, &self.command_environment(), stdin).await
    }

    /// Starts a command against the nodes that run, which goes on.
    #[must_use]
    pub fn start_command(&self, arguments: &[&str]) -> Live {
        let mut command = std::process::Command::new(&self.program);
        command.args(arguments).envs(self.command_environment());
        Live::start(command)
    }

    /// Addresses of all controllers that run, and a home of its own.
    fn command_environment(&self) -> Vec<(String, String)> {
        let running = self.nodes.iter().filter(|node| node.runs() && node.is_controller());
        let addresses: Vec<_> = running.map(|node| node.grpc.clone()).collect();
        let own = [
            ("CORACLE_ADDRESS", addresses.join(",")),
            ("XDG_CONFIG_HOME", self.folder().display().to_string()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        own.into_iter().chain(self.environment.iter().cloned()).collect()
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

    /// Waits until a node's gateway answers `path` with 200.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn answers(&self, node: usize, path: &str) {
        eventually(&format!("node {node} answers {path}"), async || {
            let answer = self.client.get(&self.url(node, path)).await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        })
        .await;
    }

    /// Which of the nodes leads.
    ///
    /// # Panics
    /// When none does for too long.
    pub async fn leader(&self) -> usize {
        within(Duration::from_secs(5), "a leader", async || {
            let status = self.status().await?;
            let id = status["leader"].as_u64().ok_or("no leader")?;
            self.index_of(&status, id).ok_or_else(|| format!("leader {id} is not ours"))
        })
        .await
    }

    /// Which of the nodes leads the data group, once so many replicas of it vote.
    ///
    /// # Panics
    /// When that lasts too long.
    pub async fn leading_store(&self, replicas: usize) -> usize {
        within(Duration::from_secs(20), "the data group has its leader", async || {
            let listed = self.run(&["cluster", "groups", "-o", "json", "--wait-timeout", "5s"]).await;
            let Ok(listed) = serde_json::from_str::<Value>(&listed.stdout) else { return Err(listed.stderr) };
            let all = listed.as_array().ok_or("no list")?;
            let leader = all.iter().find(|replica| replica["state"] == "leader").ok_or("no leader")?;
            let voting = all.iter().filter(|replica| replica["state"] == "voter").count() + 1;
            let status = self.status().await?;
            let place = leader["node"].as_u64().and_then(|id| self.index_of(&status, id));
            place.filter(|_| voting == replicas).ok_or_else(|| listed.to_string())
        })
        .await
    }

    /// The place in [`Self::nodes`] of a node's id.
    #[must_use]
    pub fn index_of(&self, status: &Value, id: u64) -> Option<usize> {
        let node = status["nodes"].as_array()?.iter().find(|node| node["id"] == id)?;
        self.nodes.iter().position(|mine| node["admin"] == mine.admin.as_str())
    }

    /// The id of one of the nodes.
    ///
    /// # Panics
    /// When the cluster does not know it for too long.
    pub async fn id_of(&self, index: usize) -> u64 {
        let admin = self.nodes[index].admin.as_str();
        within(Duration::from_secs(5), "the node is known", async || {
            let status = self.status().await?;
            let nodes = status["nodes"].as_array().ok_or("no nodes")?;
            let found = nodes.iter().find(|node| node["admin"] == admin);
            found.and_then(|node| node["id"].as_u64()).ok_or_else(|| status.to_string())
        })
        .await
    }

    /// The places in [`Self::nodes`] of those that hold a replica of a function.
    ///
    /// # Panics
    /// When the cluster does not know the function, or one of the nodes.
    pub async fn holders(&self, function: &str) -> Vec<usize> {
        let detail = self.run(&["function", "get", function, "-o", "json"]).await.ok().json();
        let status = self.status().await.expect("a status");
        let replicas = detail["replicas"].as_array().expect("replicas").iter();
        let ids = replicas.map(|replica| replica["node"].as_u64().expect("a node's id"));
        let mut holders: Vec<_> =
            ids.map(|id| self.index_of(&status, id).expect("a node of this cluster")).collect();
        holders.sort_unstable();
        holders
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
