//! States larger than memory, and processes that are killed, power cuts and damage: nothing acknowledged is lost, and each
//! command is there whole or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "harness/files.rs"]
#[expect(dead_code, reason = "nothing is flipped here")]
mod files;
#[path = "harness/kv.rs"]
mod kv;
#[path = "harness/node.rs"]
mod node;
#[path = "harness/on_disk.rs"]
mod on_disk;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coracle_raft::{OpenError, Raft, View};
use files::copy_dir;
use node::{eventually, set};
use on_disk::{alone, alone_with, count, forgetful, get, host_options, open, whole};

/// Writers of the process that is killed.
const WRITERS: usize = 8;

/// Each round kills it after so many acknowledgements: before the first sync of the engine, and after some.
const ROUNDS: [usize; 3] = [100, 1_500, 2_500];

/// So that a round fills segments of the log, after which the engine is synced.
const VALUE_BYTES: usize = 8_000;

fn value(number: u64) -> String {
    format!("{number:08}").repeat(VALUE_BYTES / 8)
}

fn number(value: &str) -> u64 {
    let number = value[..8].parse().unwrap();
    assert!(value == self::value(number), "the value is not one that was written");
    number
}

/// Starts a test of this file that is a process of another one.
fn process(name: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a writing process, kills it, and adds what it had acknowledged.
fn killed_after(acknowledgements: usize, dir: &Path, acknowledged: &mut BTreeMap<String, u64>) {
    let mut child = process("process_that_writes_until_it_is_killed", dir);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = 0;
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let ["ack", key, value, "."] = words[..] else { continue };
        let newest = acknowledged.entry(key.to_owned()).or_default();
        *newest = value.parse::<u64>().unwrap().max(*newest);
        seen += 1;
        if seen == acknowledgements {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= acknowledgements, "the process ended by itself after {seen}");
}

/// Not a test by itself: the process that other tests start, in a folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started and killed by another test"]
async fn process_that_writes_until_it_is_killed() {
    let here = std::env::current_dir().unwrap();
    if here.join("Cargo.toml").exists() {
        return;
    }
    let (_host, raft) = alone(&here).await;
    let process = std::process::id();
    let writers = (0..WRITERS).map(|writer| {
        let raft = raft.clone();
        tokio::spawn(async move {
            for number in 1_u64.. {
                raft.propose(set(format!("{process}-{writer}"), value(number))).await.unwrap();
                // The point says that the line is whole.
                writeln!(std::io::stdout(), "ack {process}-{writer} {number} .").unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

fn check(raft: &Raft<View>, acknowledged: &BTreeMap<String, u64>, what: &str) {
    let state = whole(&raft.state());
    let mut commands = 0;
    for (key, value) in &state {
        let kept = number(std::str::from_utf8(value).unwrap());
        let wanted = acknowledged.get(key).copied().unwrap_or(0);
        assert!(kept >= wanted, "{what}: {key} was {wanted} when acknowledged, is {kept}");
        commands += kept;
    }
    let missing = acknowledged.keys().find(|key| !state.contains_key(*key));
    assert!(missing.is_none(), "{what}: {missing:?} was acknowledged and is not there");
    assert_eq!(count(&raft.state()), commands, "{what}: each command was applied once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_lost_no_acknowledged_command_and_kept_none_by_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for (round, kill_after) in ROUNDS.into_iter().enumerate() {
        killed_after(kill_after, dir.path(), &mut acknowledged);
        let (host, raft) = alone(dir.path()).await;
        check(&raft, &acknowledged, &format!("round {round}"));
        host.shutdown().await;
    }
    assert_eq!(acknowledged.len(), WRITERS * ROUNDS.len());
}

fn state_dir(dir: &Path) -> PathBuf {
    host_options(dir, 1).dir.join("state")
}

/// Tables of the group, and of fjall itself.
fn tables(state: &Path) -> usize {
    let keyspaces = fs::read_dir(state.join("keyspaces")).into_iter().flatten().flatten();
    keyspaces.map(|keyspace| fs::read_dir(keyspace.path().join("tables")).unwrap().count()).sum()
}

/// A number of no use but to be spread.
fn spread(seed: u64, below: usize) -> usize {
    let spread = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    usize::try_from(spread).unwrap() % below
}

/// The engine's files as the power cut left them: what fjall synced stays, and of its journal some of the pages.
fn cut_power(state: &Path, seed: u64) {
    let journals = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    for path in journals.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")) {
        let mut journal = fs::read(&path).unwrap();
        let end = journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        match seed % 4 {
            0 => journal.clear(),
            1 => journal.truncate(spread(seed, end.max(1))),
            // Pages that were not written are zeros, before some that were.
            _ => {
                for page in 0..end / 4_096 {
                    if spread(seed ^ (page as u64) << 8, 3) == 0 {
                        journal[page * 4_096..(page + 1) * 4_096].fill(0);
                    }
                }
            }
        }
        fs::write(path, journal).unwrap();
    }
}

/// Power cuts, each after the same process.
const CUTS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    killed_after(2_500, dir.path(), &mut acknowledged);
    assert!(tables(&state_dir(dir.path())) > 1, "the engine was synced at least once");
    for seed in 0..CUTS {
        let cut = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), cut.path());
        cut_power(&state_dir(cut.path()), seed);
        let (host, raft) = alone(cut.path()).await;
        check(&raft, &acknowledged, &format!("power cut {seed}"));
        host.shutdown().await;
    }
}

/// Puts the engine's files of another moment in the place of those that there are.
fn go_back(dir: &Path, old: &Path) {
    fs::remove_dir_all(state_dir(dir)).unwrap();
    copy_dir(old, &state_dir(dir));
}

/// The state of an earlier sync, whole: the log brings it up again, or knows that it cannot.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_went_back_is_brought_up_or_refused() {
    let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (host, raft) = alone_with(dir.path(), forgetful).await;
    raft.propose(set("a", 1)).await.unwrap();
    host.shutdown().await;
    copy_dir(&state_dir(dir.path()), old.path());
    let (host, raft) = alone_with(dir.path(), forgetful).await;
    raft.propose(set("a", 2)).await.unwrap();
    host.shutdown().await;
    go_back(dir.path(), old.path());
    let (host, raft) = alone_with(dir.path(), forgetful).await;
    assert_eq!(get(&raft, "a").as_deref(), Some("2"), "the log has it");
    // Some segments of the log, of which the oldest go.
    let large = "v".repeat(coracle_raft::COMMAND_BYTES_MAX - 100);
    let log = host_options(dir.path(), 1).dir.join("log-data");
    let segments = || fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let before = segments();
    let released =
        || before.iter().any(|path| path.extension().is_some_and(|kind| kind != "tmp") && !path.exists());
    for key in 0..200 {
        raft.propose(set(key % 20, &large)).await.unwrap();
        if released() {
            break;
        }
    }
    eventually("the log is released", released).await;
    host.shutdown().await;
    go_back(dir.path(), old.path());
    let error = open(dir.path(), 1, |_| ()).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Damaged { reason, .. } if reason.contains("the state was at")),
        "{error}"
    );
}

/// What is closed is synced: nothing of the log is needed by the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_closed_has_its_state_in_tables() {
    let dir = tempfile::tempdir().unwrap();
    let (host, raft) = alone(dir.path()).await;
    raft.propose(set("a", 1)).await.unwrap();
    let applied = raft.status().applied;
    host.shutdown().await;
    cut_power(&state_dir(dir.path()), 0);
    let (host, raft) = open(dir.path(), 1, |_| ()).await.unwrap();
    assert!(raft.status().applied >= applied, "{:#?}", raft.status());
    assert_eq!(get(&raft, "a").as_deref(), Some("1"));
    host.shutdown().await;
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
    let (host, raft) = open(&here, 2, |_| ()).await.unwrap();
    let trigger = here.join("fault");
    coracle_raft::faults::arm(coracle_raft::faults::SNAPSHOT_BEFORE_STATE, &trigger);
    fs::write(&trigger, "").unwrap();
    let listener = node::listen(None).await;
    let address = listener.local_addr().unwrap();
    let _server = on_disk::serve(&host, listener);
    writeln!(std::io::stdout(), "\nat {address}").unwrap();
    eventually("the crash", || raft.status().role == coracle_raft::Role::Stopped).await;
}

#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_installation_was_cut_off_is_installed_at_the_next_start() {
    use std::os::unix::process::ExitStatusExt as _;

    use on_disk::{Node, Nodes, agreed};

    let dir = tempfile::tempdir().unwrap();
    let first = Node::start(dir.path(), 1, None, forgetful).await;
    first.raft.initialize(BTreeMap::from([(node::id(1), first.address.to_string())])).await.unwrap();
    eventually("it leads", || first.raft.status().role == coracle_raft::Role::Leader).await;
    for key in 0..120 {
        first.raft.propose(set(key, value(key))).await.unwrap();
    }
    eventually("the log is purged", || first.raft.status().purged.is_some()).await;
    let mut child = process("process_that_crashes_while_it_installs_a_snapshot", dir.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("at ").map(str::to_owned)).unwrap();
    first.raft.add_learner(node::id(2), address.as_str()).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(ended.signal(), Some(6), "it crashed: {ended:?}");
    // Nobody reaches it now: what it has is from its disk, the old state whole, and nothing of the new one.
    let (host, alone) = open(dir.path(), 2, forgetful).await.unwrap();
    assert_eq!((whole(&alone.state()).len(), alone.status().applied), (0, None));
    host.shutdown().await;
    let second = Node::start(dir.path(), 2, Some(address.parse().unwrap()), forgetful).await;
    let nodes = Nodes::from([(1, first), (2, second)]);
    assert_eq!(agreed(&nodes).await.len(), 120);
    for node in nodes.into_values() {
        node.kill().await;
    }
}
