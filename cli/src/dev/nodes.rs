//! The servers of `coracle dev`: real ones, each a process of its own. One that dies stays dead.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use clap::ValueEnum as _;
use coracle_proto::status::Code;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::process::{Child, Command};

use super::ports::Plan;
use super::{Args, report};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::ground::{ADDRESSES_FILE, Addresses, PIDS, Signals};
use crate::os;
use crate::say;
use crate::server::{GUESTS_MEMORY, LOCK, machine};
use crate::telemetry::Log;

/// From the first process to a cluster that takes changes: seconds, unless the machine is very busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at something that another process writes.
const POLL: Duration = Duration::from_millis(100);
/// Lines of a log that are shown when a node could not start.
const TAIL_LINES: usize = 8;
/// Of the options, those that tie a node to this process stand first: flag and value.
const PARENT_OPTIONS: usize = 2;
/// Longer than a server needs for its children in turn.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// A process that was killed is gone within milliseconds, unless the disk is slow.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// All servers.
#[derive(Debug)]
pub(super) struct Nodes {
    options: Vec<String>,
    nodes: Vec<Node>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Node {
    /// What it was told.
    pub(super) plan: Plan,
    /// What it bound.
    pub(super) bound: Addresses,
    /// What it writes to stderr.
    pub(super) log: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// Its processes, as the file in its folder names them: supervisor, controller, store, data plane.
    pub(super) fn pids(&self) -> Vec<String> {
        let text = fs::read_to_string(self.plan.folder.join(PIDS)).unwrap_or_default();
        text.lines().filter_map(|line| line.split_once(" = ")).map(|(_, pid)| pid.to_owned()).collect()
    }

    /// Whether any process of it runs, also one that was started by hand: each holds the folder's lock.
    fn runs(&self) -> bool {
        let lock = self.plan.folder.join(LOCK);
        self.process.is_some() || (lock.exists() && matches!(os::lock(&lock), Ok(None)))
    }

    /// Its supervisor, if any process of it runs.
    fn supervisor(&self) -> Option<u32> {
        let own = self.process.as_ref().and_then(Child::id);
        own.or_else(|| self.pids().first()?.parse().ok().filter(|pid| self.runs() && self.is_served_by(*pid)))
    }

    /// Whether a process is a server of this folder: the number may have been another's for long.
    fn is_served_by(&self, pid: u32) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        let folder = self.plan.folder.as_os_str().as_encoded_bytes();
        words.contains(&b"server".as_slice()) && words.contains(&folder)
    }
}

impl Nodes {
    /// None yet; all will have these options.
    pub(super) fn new(base: &Path, args: &Args, log: &Log) -> Self {
        let mut options = vec!["--parent".to_owned(), std::process::id().to_string()];
        options.extend(["--cache-dir".to_owned(), base.join("cache").display().to_string()]);
        options.extend(["--cluster-name".to_owned(), "dev".to_owned()]);
        // They share one machine.
        if std::env::var_os(GUESTS_MEMORY).is_none() {
            let each = machine::guest_memory_bytes() / u64::from(args.nodes.max(1));
            options.extend(["--guests-memory".to_owned(), each.to_string()]);
        }
        options.extend(args.enable_wasip3.then(|| "--enable-wasip3".to_owned()));
        options.extend(args.otlp.iter().flat_map(|url| ["--otlp".to_owned(), url.clone()]));
        options.extend(log.filter.iter().flat_map(|filter| ["--log".to_owned(), filter.clone()]));
        let format = log.format.to_possible_value().map(|value| value.get_name().to_owned());
        options.extend(format.into_iter().flat_map(|format| ["--log-format".to_owned(), format]));
        Self { options, nodes: Vec::new() }
    }

    /// What starts a node again: as it was, but not tied to this process.
    fn start_again(&self, node: &Node) -> String {
        let folder = node.plan.folder.display().to_string();
        let words = ["coracle", "server", "--data-dir", &folder, "--name", &node.plan.name];
        let options = self.options.get(PARENT_OPTIONS..).unwrap_or_default();
        let words = words.into_iter().chain(options.iter().map(String::as_str));
        words.map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Starts them: the first one makes the cluster, the others join it. Answers with their API addresses.
    pub(super) async fn start(&mut self, plans: &[Plan]) -> Result<Vec<Address>, Failure> {
        let mut cluster = Vec::new();
        for plan in plans {
            let begin = match cluster.first() {
                None => vec!["--bootstrap".to_owned()],
                Some(first) => vec!["--join".to_owned(), format!("{first}")],
            };
            let node = self.spawn(plan, &begin).map_err(|error| Failure::local(&plan.name, error))?;
            self.nodes.push(node);
            let bound = self.bound(plan).await?;
            if let Some(node) = self.nodes.last_mut() {
                node.bound = bound;
            }
            let grpc: SocketAddr =
                bound.grpc.ok_or_else(|| Failure::local(&plan.name, "it serves no API"))?;
            cluster.push(grpc.to_string().parse().map_err(|error| Failure::local(&plan.name, error))?);
        }
        Ok(cluster)
    }

    fn spawn(&self, plan: &Plan, begin: &[String]) -> io::Result<Node> {
        DirBuilder::new().recursive(true).mode(0o700).create(&plan.folder)?;
        let log = plan.folder.with_extension("log");
        let stderr = OpenOptions::new().create(true).append(true).open(&log)?;
        let flags = &plan.addresses;
        let addresses = [
            ("--grpc", flags.grpc),
            ("--admin", flags.admin),
            ("--data", flags.data),
            ("--http", flags.http),
            ("--store", flags.store),
        ];
        let mut command = Command::new("/proc/self/exe");
        command.arg0("coracle").arg("server").arg("--data-dir").arg(&plan.folder);
        command.args(["--name", &plan.name]).args(&self.options).args(begin);
        for (flag, address) in addresses {
            command.args(address.iter().flat_map(|address| [flag.to_owned(), address.to_string()]));
        }
        // A group of its own: Ctrl-C in the terminal comes to this process alone, which ends them in order.
        let process =
            command.stdin(std::process::Stdio::null()).stdout(File::create("/dev/null")?).stderr(stderr);
        let process = process.process_group(0).kill_on_drop(true).spawn()?;
        Ok(Node { plan: plan.clone(), bound: Addresses::default(), log, process: Some(process) })
    }

    /// Where functions are called.
    pub(super) fn gateways(&self) -> Vec<SocketAddr> {
        self.nodes.iter().filter_map(|node| node.bound.http).collect()
    }

    /// Waits until the node has written what it bound.
    async fn bound(&mut self, plan: &Plan) -> Result<Addresses, Failure> {
        let written = async {
            loop {
                if plan.folder.join(ADDRESSES_FILE).exists() {
                    let bound = Addresses::load(&plan.folder)?;
                    if plan.is_met_by(&bound) {
                        return Ok(bound);
                    }
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            written = tokio::time::timeout(START_TIMEOUT, written) => {
                written.unwrap_or_else(|_| Err(Failure::new(Exit::TimedOut, format!("{} does not start", plan.name))))
            }
            failure = self.died_early() => Err(failure),
        }
    }

    /// Waits until all nodes are alive and as many of them vote as should.
    pub(super) async fn wait_ready(&mut self, cluster: &[Address]) -> Result<(), Failure> {
        let count = self.nodes.len();
        let ready = report::wait_alive(cluster, count);
        tokio::select! {
            ready = tokio::time::timeout(START_TIMEOUT, ready) => ready.map_err(|_| {
                let waited = START_TIMEOUT.as_secs();
                Failure::new(Exit::TimedOut, format!("not all of the {count} nodes were alive after {waited} s"))
            }),
            failure = self.died_early() => Err(failure),
        }
    }

    /// Tells of each node that dies; ends when none is left.
    pub(super) async fn watch(&mut self) -> Failure {
        while let Some((index, status)) = self.next_end().await {
            if let Some(node) = self.nodes.get_mut(index) {
                node.process = None;
            }
            let Some(node) = self.nodes.get(index) else { continue };
            let (name, log) = (&node.plan.name, node.log.display());
            if status.code() == Some(Exit::Config as i32) {
                // It was removed, say: started again it would end again.
                say(&format!(
                    "node {name} ended for good ({status}); the others go on. Its log {log} says why"
                ));
                continue;
            }
            say(&format!(
                "node {name} died ({status}); the others go on. Its log is {log}. Start it again with:"
            ));
            say(&format!("  {}", self.start_again(node)));
        }
        Failure::new(Exit::Server, "all nodes have died")
    }

    /// Waits for the first node to die while the cluster starts.
    async fn died_early(&mut self) -> Failure {
        let Some((index, status)) = self.next_end().await else { return std::future::pending().await };
        let Some(node) = self.nodes.get_mut(index) else { return std::future::pending().await };
        node.process = None;
        ended_early(&node.plan, status, &tail(&node.log))
    }

    /// The next node to die; `None` when none runs.
    async fn next_end(&mut self) -> Option<(usize, ExitStatus)> {
        let running = self
            .nodes
            .iter_mut()
            .enumerate()
            .filter_map(|(index, node)| Some((index, node.process.as_mut()?)));
        let mut ends: FuturesUnordered<_> =
            running.map(async |(index, process)| (index, process.wait().await.unwrap_or_default())).collect();
        ends.next().await
    }

    /// Ends all at once, also those that were started again by hand, and waits for them; a signal, or a long wait,
    /// kills what is left.
    pub(super) async fn end(&mut self, signals: &mut Signals) {
        self.each_pid(os::terminate);
        let orderly = tokio::select! {
            ended = tokio::time::timeout(END_TIMEOUT, self.ended()) => ended.is_ok(),
            () = signals.next() => false,
        };
        if !orderly {
            // The children of a killed server follow it; until they have, their data is not deleted under them.
            self.each_pid(os::kill);
            if tokio::time::timeout(KILL_TIMEOUT, self.ended()).await.is_err() {
                say("warning: not all processes of the nodes have ended");
            }
        }
    }

    /// Waits until no process of any node runs.
    async fn ended(&mut self) {
        while let Some((index, _)) = self.next_end().await {
            if let Some(node) = self.nodes.get_mut(index) {
                node.process = None;
            }
        }
        while self.nodes.iter().any(Node::runs) {
            tokio::time::sleep(POLL).await;
        }
    }

    fn each_pid(&self, act: impl Fn(u32) -> io::Result<()>) {
        for pid in self.nodes.iter().filter_map(Node::supervisor) {
            if let Err(error) = act(pid) {
                say(&format!("warning: process {pid}: {error}"));
            }
        }
    }
}

/// Why a node ended at its start. One that was removed left a folder that looks like a node's.
fn ended_early(plan: &Plan, status: ExitStatus, tail: &str) -> Failure {
    let name = &plan.name;
    let removed = status.code() == Some(Exit::Config as i32) && tail.contains(Code::NodeRemoved.name());
    if removed {
        return Failure::usage(format!("node {name} was removed: delete {}", plan.folder.display()));
    }
    Failure::new(Exit::Server, format!("node {name} ended at its start ({status}):\n{tail}"))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-./:=,@%+".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_no_server_of_this_folder_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("n1");
        fs::create_dir(&folder).unwrap();
        let plan = Plan { name: "n1".to_owned(), folder: folder.clone(), addresses: Addresses::default() };
        let log = base.path().join("n1.log");
        let node = Node { plan, bound: Addresses::default(), log, process: None };
        // Something of the node runs, and the number that its file names is another program's by now.
        let _lock = os::lock(&folder.join(LOCK)).unwrap().unwrap();
        fs::write(folder.join(PIDS), format!("supervisor = {}\n", std::process::id())).unwrap();
        assert!(node.runs());
        assert_eq!(node.supervisor(), None);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("--log=info,coracle_node=debug"), "--log=info,coracle_node=debug");
        assert_eq!(quoted("/data/a b/d"), "'/data/a b/d'");
        assert_eq!(quoted("it's $1"), r"'it'\''s $1'");
        assert_eq!(quoted(""), "''");
    }
}
