//! States larger than memory: groups whose state is on the disk elect, write, read views, and send theirs to new members.

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
#[path = "harness/on_disk.rs"]
mod on_disk;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use coracle_raft::{
    GroupOptions, Host, HostOptions, Limits, OpenError, Reader as _, RecordedAddresses, Role, States,
};
use node::{eventually, id, set};
use on_disk::{
    GROUP, Node, Nodes, agreed, alone, alone_with, count, forgetful, get, host_options, leader, propose,
    whole,
};

async fn three(dir: &Path, adjust: impl Fn(&mut Limits) + Copy) -> Nodes {
    let mut nodes = Nodes::new();
    for node in 1..=3 {
        nodes.insert(node, Node::start(dir, node, None, adjust).await);
    }
    let seats: BTreeMap<_, _> = nodes.iter().map(|(node, it)| (id(*node), it.address.to_string())).collect();
    nodes[&1].raft.initialize(seats).await.unwrap();
    eventually("there is a leader", || leader(&nodes).is_some()).await;
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_agree_whoever_leads() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path(), |_| ()).await;
    for round in 0..3 {
        for key in 0..50 {
            propose(&nodes, set(format!("{round}-{key}"), key)).await;
        }
        propose(&nodes, Bytes::from(format!("-{round}-1"))).await;
        // 1 and 10 to 19 are removed.
        assert_eq!(agreed(&nodes).await.len(), 39 * (round + 1));
        let victim = leader(&nodes).unwrap();
        let address = nodes.remove(&victim).unwrap().kill().await;
        eventually("there is another leader", || leader(&nodes).is_some()).await;
        propose(&nodes, set(format!("{round}-without"), victim)).await;
        propose(&nodes, Bytes::from(format!("-{round}-without"))).await;
        nodes.insert(victim, Node::start(dir.path(), victim, Some(address), |_| ()).await);
    }
    agreed(&nodes).await;
    for node in nodes.into_values() {
        node.kill().await;
    }
}

/// A view is what it was, whatever is applied meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (host, raft) = alone(dir.path()).await;
    raft.propose(set("a", 1)).await.unwrap();
    raft.propose(set("b", 1)).await.unwrap();
    let view = raft.state();
    raft.propose(set("a", 2)).await.unwrap();
    raft.propose(Bytes::from_static(b"-b")).await.unwrap();
    raft.propose(set("c", 2)).await.unwrap();
    assert_eq!(whole(&view), BTreeMap::from([("a".to_owned(), "1".into()), ("b".to_owned(), "1".into())]));
    assert_eq!(count(&view), 2);
    assert_eq!(
        (get(&raft, "a").as_deref(), get(&raft, "b"), get(&raft, "c").as_deref()),
        (Some("2"), None, Some("2"))
    );
    host.shutdown().await;
    assert!(view.get(b"count").is_err(), "a view does not keep a store open");
    // The folder is free though the handle of the last member is still there.
    let (host, again) = alone(dir.path()).await;
    assert_eq!(get(&again, "a").as_deref(), Some("2"));
    assert_eq!(count(&again.state()), 5);
    host.shutdown().await;
}

/// A command that stops the machine stops its member, and what came before it in the same batch is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_the_future_stops_the_member_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (host, raft) = alone(dir.path()).await;
    raft.propose(set("a", 1)).await.unwrap();
    let error = raft.propose(Bytes::from_static(b"!")).await.unwrap_err().to_string();
    assert!(error.contains("upgrade this node"), "{error}");
    eventually("it stops", || raft.status().role == Role::Stopped).await;
    assert_eq!(count(&raft.state()), 1);
    host.shutdown().await;
    // The next process meets it when it has been elected, or when it starts: as soon as it knows that it is committed.
    match on_disk::open(dir.path(), 1, |_| ()).await {
        Err(error) => assert!(matches!(error, OpenError::Halted { .. }), "{error}"),
        Ok((host, raft)) => {
            eventually("it stops again", || raft.status().role == Role::Stopped).await;
            assert_eq!(count(&raft.state()), 1);
            host.shutdown().await;
        }
    }
}

/// A machine on the disk is refused by a host of states in memory, and a store is opened as it was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_one_kind_of_states() {
    let dir = tempfile::tempdir().unwrap();
    let options = HostOptions { states: States::InMemory, ..host_options(dir.path(), 1) };
    let host = Host::open(options, Arc::new(RecordedAddresses)).await.unwrap();
    let refused = on_disk::start(&host, |_| ()).await.unwrap_err().to_string();
    assert!(refused.contains("in memory"), "{refused}");
    // The other kind of machine is served by both.
    let other = host.start::<kv::Kv>(GroupOptions::new(GROUP), Arc::new(kv::Mirror::default())).await;
    other.unwrap();
    host.shutdown().await;
    let opened = Host::open(host_options(dir.path(), 1), Arc::new(RecordedAddresses)).await;
    assert!(matches!(opened, Err(OpenError::Empty { .. })), "{opened:?}");
}

/// Values of a state that takes a while to be sent.
const RECORDS: usize = 400;
const VALUE_BYTES: usize = 16_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_gets_the_state_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = Arc::new(three(dir.path(), forgetful).await);
    for key in 0..RECORDS {
        propose(&nodes, set(format!("{key:05}"), "v".repeat(VALUE_BYTES))).await;
    }
    let first = leader(&nodes).unwrap();
    eventually("the log is purged", || nodes[&first].raft.status().purged.is_some()).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = tokio::spawn({
        let (nodes, stop, written) = (Arc::clone(&nodes), Arc::clone(&stop), Arc::clone(&written));
        async move {
            for value in 1_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                propose(&nodes, set(format!("{:05}", value % 100), value)).await;
                written.store(value, Ordering::Relaxed);
            }
        }
    });
    let new = Node::start(dir.path(), 4, None, forgetful).await;
    let address = new.address.to_string();
    let added = async {
        while nodes[&leader(&nodes).unwrap_or(first)].raft.add_learner(id(4), address.as_str()).await.is_err()
        {
        }
    };
    tokio::time::timeout(node::PATIENCE, added).await.unwrap();
    eventually("it has all records", || whole(&new.raft.state()).len() == RECORDS).await;
    let before = written.load(Ordering::Relaxed);
    eventually("others write", || written.load(Ordering::Relaxed) > before + 100).await;
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    let mut nodes = Arc::into_inner(nodes).unwrap();
    nodes.insert(4, new);
    assert_eq!(agreed(&nodes).await.len(), RECORDS);
    let purged = nodes[&4].raft.status().purged;
    assert!(purged.is_some(), "it got a snapshot, not the log");
    // What was installed is there after a restart.
    let address = nodes.remove(&4).unwrap().kill().await;
    nodes.insert(4, Node::start(dir.path(), 4, Some(address), forgetful).await);
    assert_eq!(agreed(&nodes).await.len(), RECORDS);
    for node in nodes.into_values() {
        node.kill().await;
    }
}

/// So much is written, in MiB, unless the environment says otherwise under this name: a machine that has the time writes
/// two GiB.
const WRITTEN_MIB: usize = if cfg!(debug_assertions) { 256 } else { 2_048 };
const WRITTEN_MIB_BY: &str = "CORACLE_TEST_STATE_MIB";

/// What the process may grow meanwhile: caches, what is in memory before it is in tables, the log's tail, and what the
/// allocator keeps. The goal is 400 MiB with 2 GiB of data.
const GROWTH_MIB: u64 = 200;

/// What the log may keep: what is not in a synced checkpoint, and what comes while that is made.
const LOG_MIB: u64 = 96;

/// A figure of this process in MiB.
fn memory_mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn folder_mib(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    entries.sum::<u64>() >> 20
}

/// Started by the test below in a process of its own: what a process needs is only counted for all of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by another test"]
#[expect(clippy::disallowed_methods, reason = "the time of writing is measured")]
async fn process_that_writes_more_than_it_may_keep_in_memory() {
    const VALUE: usize = 32 << 10;
    const WRITERS: usize = 16;
    let dir = tempfile::tempdir().unwrap();
    let mib = std::env::var(WRITTEN_MIB_BY).ok().and_then(|mib| mib.parse().ok()).unwrap_or(WRITTEN_MIB);
    // Each value is kept twice.
    let records = (mib << 20) / VALUE / 2;
    let (host, raft) = alone_with(dir.path(), forgetful).await;
    let before = memory_mib("VmRSS");
    let begin = Instant::now();
    let longest = Arc::new(AtomicU64::new(0));
    let writers = (0..WRITERS).map(|writer| {
        let (raft, longest) = (raft.clone(), Arc::clone(&longest));
        tokio::spawn(async move {
            for record in (writer..records).step_by(WRITERS) {
                // No two values are alike, and keys do not come in order.
                let value = format!("{record:08}").repeat(VALUE / 8);
                let begin = Instant::now();
                raft.propose(set(format!("{:08x}", record.wrapping_mul(0x9e37_79b1) as u32), value))
                    .await
                    .unwrap();
                longest.fetch_max(u64::try_from(begin.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (took, peak) = (begin.elapsed(), memory_mib("VmHWM"));
    let term = raft.status().term;
    let log = folder_mib(&host_options(dir.path(), 1).dir.join("log-data"));
    let view = raft.state();
    let all = view.scan(b"left/", b"left0").map(Result::unwrap).count();
    assert_eq!(all, records);
    let read = memory_mib("VmRSS");
    writeln!(
        std::io::stdout(),
        "mib={mib} seconds={:.1} longest_ms={} before={before} peak={peak} after_reading={read} log={log} term={term}",
        took.as_secs_f64(),
        longest.load(Ordering::Relaxed),
    )
    .unwrap();
    drop(view);
    host.shutdown().await;
    let begin = Instant::now();
    let (host, again) = alone(dir.path()).await;
    assert_eq!(count(&again.state()), records as u64);
    println!("a start took {:?}", begin.elapsed());
    host.shutdown().await;
}

#[test]
fn memory_does_not_grow_with_the_state() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_that_writes_more_than_it_may_keep_in_memory", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    print!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figure = |name: &str| {
        let figure = text.split([' ', '\n']).find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        figure.unwrap().parse::<u64>().unwrap()
    };
    let grown = figure("peak").max(figure("after_reading")) - figure("before");
    assert!(grown <= GROWTH_MIB, "{grown} MiB for {} MiB of data", figure("mib"));
    assert!(figure("log") <= LOG_MIB, "the log keeps {} MiB", figure("log"));
    assert_eq!(figure("term"), 1, "the leader was too late for itself");
}

/// A thread of the engine ends where it cannot write, for as long as the process lives. Whoever has no member of the host
/// is told all the same, a member is started no more, and the next host goes on from the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_engine_has_failed_says_so_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (host, raft) = alone(dir.path()).await;
    for key in 0..50 {
        raft.propose(set(key, "written")).await.unwrap();
    }
    let tables = || {
        let keyspaces = std::fs::read_dir(dir.path().join("1/state/keyspaces")).unwrap();
        keyspaces.map(|keyspace| keyspace.unwrap().path().join("tables"))
    };
    let away = |tables: &Path| tables.with_extension("away");
    tables().for_each(|tables| std::fs::rename(&tables, away(&tables)).unwrap());
    // Its end writes tables.
    raft.shutdown().await;
    drop(raft);
    let failed = tokio::time::timeout(node::PATIENCE, host.failed()).await.unwrap();
    assert!(failed.reason.contains("writing the state failed") && !failed.taints, "{failed:?}");
    let refused = on_disk::start(&host, |_| ()).await.err().unwrap();
    assert!(refused.to_string().contains(&failed.reason), "{refused}");
    host.shutdown().await;
    tables().for_each(|tables| std::fs::rename(away(&tables), &tables).unwrap());
    let (host, raft) = alone(dir.path()).await;
    assert_eq!(whole(&raft.state()).len(), 50);
    raft.propose(set("after", "written")).await.unwrap();
    host.shutdown().await;
}
