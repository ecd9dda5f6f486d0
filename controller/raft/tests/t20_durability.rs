//! A process that is killed under load has kept everything that it acknowledged; a command costs what it changes.

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
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use coracle_raft::Raft;
use kv::Kv;
use node::{get, open, open_single, options, set};

/// Proposers of the process that is killed.
const PROPOSERS: usize = 16;

/// Each round kills it after so many acknowledgements.
const ROUNDS: [usize; 3] = [150, 700, 1_500];

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_lost_no_acknowledged_command() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for (round, kill_after) in ROUNDS.into_iter().enumerate() {
        for (key, value) in killed_after(kill_after, dir.path()) {
            let newest = acknowledged.entry(key).or_default();
            *newest = value.max(*newest);
        }
        let raft = open_single(dir.path()).await;
        raft.read_barrier().await.unwrap();
        for (key, value) in &acknowledged {
            let kept: u64 = get(&raft, key).and_then(|kept| kept.parse().ok()).unwrap_or(0);
            assert!(kept >= *value, "round {round}: {key} was {value} when acknowledged, is {kept}");
        }
        raft.shutdown().await;
    }
    let count: usize = ROUNDS.iter().sum();
    assert_eq!(acknowledged.len(), PROPOSERS * ROUNDS.len());
    println!("{count} acknowledged commands survived {} kills", ROUNDS.len());
}

/// Runs a writing process, kills it, and returns what it had acknowledged.
fn killed_after(acknowledgements: usize, dir: &Path) -> Vec<(String, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged = |line: String| {
        let (key, value) = line.strip_prefix("ack ")?.split_once('=')?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    let mut seen: Vec<_> = lines.by_ref().filter_map(acknowledged).take(acknowledgements).collect();
    assert_eq!(seen.len(), acknowledgements, "the process was writing when it was killed");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had still written to the pipe was acknowledged too; a last line may be cut off.
    let rest: Vec<_> = lines.filter_map(acknowledged).collect();
    seen.extend(rest.split_last().map(|(_, rest)| rest).unwrap_or_default().iter().cloned());
    seen
}

/// Not a test by itself: the process that the test above starts, in its folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started and killed by another test"]
async fn process_that_writes_until_it_is_killed() {
    let here = std::env::current_dir().unwrap();
    if here.join("Cargo.toml").exists() {
        return;
    }
    let raft = Arc::new(open_single(&here).await);
    let process = std::process::id();
    let proposers: Vec<_> = (0..PROPOSERS)
        .map(|proposer| {
            let raft = Arc::clone(&raft);
            tokio::spawn(async move {
                for value in 1_u64.. {
                    let key = format!("{process}-{proposer}");
                    raft.propose(set(&key, value)).await.unwrap();
                    writeln!(std::io::stdout(), "ack {key}={value}").unwrap();
                }
            })
        })
        .collect();
    for proposer in proposers {
        proposer.await.unwrap();
    }
}

/// Bytes that this process has handed to the system, in any file.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

async fn fill(raft: &Arc<Raft<Kv>>, keys: std::ops::Range<usize>) {
    let tasks: Vec<_> = (0..64)
        .map(|part| {
            let (raft, keys) = (Arc::clone(raft), keys.clone());
            tokio::spawn(async move {
                for key in keys.skip(part).step_by(64) {
                    raft.propose(set(format!("{key:08}"), "v".repeat(200))).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Started by the test below in a process of its own: what a process writes is only counted for all of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by another test"]
async fn process_that_measures_what_a_command_writes() {
    const SAMPLE: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), 1);
    options.limits.snapshot_every = 1_000_000;
    let raft = open(options).await.unwrap();
    raft.initialize([(node::id(1), "127.0.0.1:1".to_owned())].into()).await.unwrap();
    node::until(&raft, "it leads", |status| status.role == coracle_raft::Role::Leader).await;
    let raft = Arc::new(raft);
    let mut filled = 0;
    for keys in [10, 1_000, 10_000] {
        fill(&raft, filled..keys).await;
        filled = keys;
        let before = written_bytes();
        for round in 0..SAMPLE {
            // Spread over the keys, as commands are.
            let key = round * 7_919 % keys;
            raft.propose(set(format!("{key:08}"), "w".repeat(200))).await.unwrap();
        }
        let bytes = (written_bytes() - before) / SAMPLE as u64;
        writeln!(std::io::stdout(), "keys={keys} bytes={bytes}").unwrap();
    }
    raft.shutdown().await;
}

/// A leaf of sled's tree has about so many bytes at most.
const PAGE_BYTES: u64 = 4096;

#[test]
fn what_a_command_writes_does_not_grow_with_the_state() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_that_measures_what_a_command_writes", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    print!("{text}");
    let bytes: Vec<u64> =
        text.lines().filter_map(|line| line.split_once("bytes=")?.1.trim().parse().ok()).collect();
    let [small, medium, large] = bytes[..] else { panic!("no measurement: {text}") };
    // A page of the store's tree is rewritten now and then, once there is more than one; beyond that ten times the records
    // must not show, and a thousand times neither.
    assert!(large < 2 * medium, "{medium} bytes a command with 1,000 keys, {large} with 10,000");
    assert!(large < small + PAGE_BYTES, "{small} bytes a command with 10 keys, {large} with 10,000");
}

/// Started by the test below.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by another test, ends by crashing"]
async fn process_that_crashes_between_commit_and_answer() {
    let here = std::env::current_dir().unwrap();
    if here.join("Cargo.toml").exists() {
        return;
    }
    let raft = open_single(&here).await;
    let trigger = here.join("fault");
    coracle_raft::faults::arm(coracle_raft::faults::APPLIED_BEFORE_ANSWER, &trigger);
    raft.propose(set("before", 1)).await.unwrap();
    std::fs::write(&trigger, "between").unwrap();
    raft.propose(set("another", 1)).await.unwrap();
    let _ = raft.propose(set("between", 1)).await;
    println!("it was answered");
}

/// Runs a process in a folder until it aborts at the moment that it has chosen.
#[cfg(feature = "faults")]
fn crashed(process: &str, dir: &Path) {
    use std::os::unix::process::ExitStatusExt as _;

    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", process, "--ignored", "--nocapture"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(6), "it crashed: {output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("it was answered"));
    assert!(!dir.join("fault").exists(), "the trigger is taken away before the crash");
}

#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_committed_and_not_answered_is_there() {
    let dir = tempfile::tempdir().unwrap();
    crashed("process_that_crashes_between_commit_and_answer", dir.path());
    let raft = open_single(dir.path()).await;
    raft.read_barrier().await.unwrap();
    assert_eq!(get(&raft, "between").as_deref(), Some("1"));
    assert_eq!(get(&raft, "another").as_deref(), Some("1"), "it crashed at the command that was meant");
    raft.shutdown().await;
}

/// Started by the test below.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by another test, ends by crashing"]
async fn process_that_crashes_between_sync_and_callback() {
    let here = std::env::current_dir().unwrap();
    if here.join("Cargo.toml").exists() {
        return;
    }
    let raft = open_single(&here).await;
    let trigger = here.join("fault");
    coracle_raft::faults::arm(coracle_raft::faults::FLUSHED_BEFORE_CALLBACK, &trigger);
    raft.propose(set("before", 1)).await.unwrap();
    std::fs::write(&trigger, "").unwrap();
    let _ = raft.propose(set("synced", 1)).await;
    println!("it was answered");
}

/// What is durable is not taken back, whether Raft was told of it or not: the mark may be behind, never ahead.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_synced_and_not_told_of_is_there() {
    let dir = tempfile::tempdir().unwrap();
    crashed("process_that_crashes_between_sync_and_callback", dir.path());
    let raft = open_single(dir.path()).await;
    raft.read_barrier().await.unwrap();
    assert_eq!(get(&raft, "before").as_deref(), Some("1"));
    assert_eq!(get(&raft, "synced").as_deref(), Some("1"));
    raft.shutdown().await;
}

/// Started by the test below: a member that is sent a snapshot.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by another test, ends by crashing"]
async fn process_that_crashes_while_it_installs_a_snapshot() {
    let here = std::env::current_dir().unwrap();
    if here.join("Cargo.toml").exists() {
        return;
    }
    let raft = open(options(&here, 2)).await.unwrap();
    let trigger = here.join("fault");
    coracle_raft::faults::arm(coracle_raft::faults::SNAPSHOT_BEFORE_STATE, &trigger);
    std::fs::write(&trigger, "").unwrap();
    let (address, _server) = node::serve(&raft, None).await;
    writeln!(std::io::stdout(), "\nat {address}").unwrap();
    node::until(&raft, "the crash", |status| status.role == coracle_raft::Role::Stopped).await;
}

#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_installation_was_cut_off_is_installed_at_the_next_start() {
    use std::os::unix::process::ExitStatusExt as _;

    let mut cluster = node::Cluster::new(1, |options| {
        (options.limits.snapshot_every, options.limits.keep_entries) = (50, 5);
    })
    .await;
    for key in 0..120 {
        cluster.propose(set(key, key)).await;
    }
    node::until(&cluster.nodes[&1].raft, "the log is purged", |status| status.purged.is_some()).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_that_crashes_while_it_installs_a_snapshot", "--ignored", "--nocapture"])
        .current_dir(cluster.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("at ").map(str::to_owned)).unwrap();
    cluster.at_leader(async |leader| leader.add_learner(node::id(2), address.as_str()).await).await;
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(ended.signal(), Some(6), "it crashed: {ended:?}");
    // Nobody reaches it now: what it has is from its disk, the old state whole, and nothing of the new one.
    let alone = open(options(cluster.dir.path(), 2)).await.unwrap();
    assert_eq!((get(&alone, 0), alone.status().applied), (None, None));
    alone.shutdown().await;
    cluster.start(2, Some(address.parse().unwrap())).await;
    assert_eq!(cluster.caught_up(2).await.raft.state(), cluster.caught_up(1).await.raft.state());
    cluster.shutdown().await;
}
