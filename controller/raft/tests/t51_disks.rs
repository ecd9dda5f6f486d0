//! Disks that are slow and disks that fail: a slow one silences nobody, a failed one is not believed again.
#![cfg(feature = "faults")]
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

use std::path::PathBuf;
use std::time::{Duration, Instant};

use coracle_raft::{OpenError, Options, ProposeError, Role, Timing, faults};
use node::{Cluster, get, open, open_single, options, set, until};

fn ill(cluster: &Cluster, node: u64) -> PathBuf {
    options(cluster.dir.path(), node).dir.join("log-meta").join(faults::ILL)
}

/// A silent leader is replaced after 3 to 4 s: longer than a busy machine makes one wait for a processor.
const PATIENT: Timing = Timing {
    heartbeat: Duration::from_millis(250),
    election_min: Duration::from_millis(1_000),
    election_max: Duration::from_millis(2_000),
};

/// A leader that waited for one sync would be replaced.
const SYNC: Duration = Duration::from_secs(6);

/// Some of these syncs.
const ILL_FOR: Duration = Duration::from_secs(15);

/// Each sync of the leader takes seconds: the other two decide without it, and nobody takes it for dead.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the time of a write is measured")]
async fn a_leader_whose_disk_is_slow_goes_on_leading() {
    let cluster = Cluster::new(3, |options| options.timing = PATIENT).await;
    cluster.propose(set("before", 1)).await;
    let leader = cluster.leader().await;
    let term = leader.raft.status().term;
    std::fs::write(ill(&cluster, leader.id), SYNC.as_millis().to_string()).unwrap();
    let (mut writes, mut longest) = (0_u32, Duration::ZERO);
    let writing = tokio::time::timeout(ILL_FOR, async {
        loop {
            let begin = Instant::now();
            match leader.raft.propose(set("key", writes)).await {
                Ok(_) => writes += 1,
                Err(error) => println!("{error}"),
            }
            longest = longest.max(begin.elapsed());
        }
    });
    assert!(writing.await.is_err());
    let syncs = leader.raft.store_status().syncs;
    println!("{writes} writes, the longest took {longest:?}, syncs {syncs:?}");
    assert!(syncs.buckets[10] >= 2, "the disk was not slow: {syncs:?}");
    assert_eq!(leader.raft.status().term, term, "there was an election");
    assert!(longest < SYNC / 2, "{longest:?}: writes wait for the slow disk");
    assert!(writes > 50, "{writes} writes");
    std::fs::remove_file(ill(&cluster, leader.id)).unwrap();
    cluster.propose(set("after", 1)).await;
    for node in cluster.nodes.keys() {
        cluster.caught_up(*node).await;
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_sync_failed_ends_and_does_not_come_back() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    cluster.propose(set("before", 1)).await;
    let sick = cluster.leader().await.id;
    std::fs::write(ill(&cluster, sick), "fail").unwrap();
    let raft = cluster.nodes[&sick].raft.clone();
    let refused = raft.propose(set("sick", 1)).await.unwrap_err();
    assert!(!matches!(refused, ProposeError::NotLeader { .. }), "the fault did not bite: {refused}");
    let status = until(&raft, "it stops", |status| status.role == Role::Stopped).await;
    assert!(status.tainted, "{status:#?}");
    assert!(status.stopped.as_ref().unwrap().contains("a sync of the log failed"), "{status:#?}");
    drop(raft);
    cluster.kill(sick).await;
    // The disk is well again, and that says nothing of what it holds.
    std::fs::remove_file(ill(&cluster, sick)).unwrap();
    let error = open(options(cluster.dir.path(), sick)).await.err().unwrap();
    assert!(matches!(&error, OpenError::Tainted { reason, .. } if reason.contains("sync")), "{error:?}");
    // Two others have counted on it: the risk is not this node's to take.
    let accepted = Options { accept_taint: true, ..options(cluster.dir.path(), sick) };
    let error = open(accepted).await.err().unwrap().to_string();
    assert!(error.contains("votes too") && error.contains("rejoin as a new node"), "{error}");
    assert!(options(cluster.dir.path(), sick).dir.join("tainted").exists());
    cluster.propose(set("after", 1)).await;
    let other = *cluster.nodes.keys().next().unwrap();
    assert_eq!(get(&cluster.caught_up(other).await.raft, "before").as_deref(), Some("1"));
    cluster.shutdown().await;
}

/// The sync of a segment that is full, and those of one that is made: after these too nothing is believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_failed_between_two_segments_is_remembered() {
    for what in ["a full segment of the log", "a new segment of the log"] {
        let dir = tempfile::tempdir().unwrap();
        let raft = open_single(dir.path()).await;
        let ill = options(dir.path(), 1).dir.join("log-meta").join(faults::ILL);
        std::fs::write(&ill, format!("fail {what}")).unwrap();
        // More than two segments.
        let large = "v".repeat(coracle_raft::COMMAND_BYTES_MAX - 100);
        for key in 0..20 {
            if raft.propose(set(key, &large)).await.is_err() {
                break;
            }
        }
        let status = until(&raft, "it stops", |status| status.role == Role::Stopped).await;
        assert!(status.tainted && status.stopped.as_ref().unwrap().contains(what), "{status:#?}");
        raft.shutdown().await;
        drop(raft);
        std::fs::remove_file(&ill).unwrap();
        let error = open(options(dir.path(), 1)).await.err().unwrap();
        assert!(matches!(&error, OpenError::Tainted { reason, .. } if reason.contains(what)), "{error:?}");
    }
}

/// Whoever opens a store that is in use takes nothing away from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let living = open_single(dir.path()).await;
    let theirs = ["tainted", "snapshot-0-7.tmp"].map(|name| options(dir.path(), 1).dir.join(name));
    for file in &theirs {
        std::fs::write(file, "of the living process").unwrap();
    }
    let accepted = Options { accept_taint: true, ..options(dir.path(), 1) };
    let error = open(accepted).await.err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(theirs.iter().all(|file| file.exists()));
    living.shutdown().await;
}
