//! A disk that is full: it ends whoever writes to it, for as long as that lasts, and nothing that was acknowledged is lost.
//! Takes root, for a small disk.
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
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use coracle_raft::{ProposeError, Role};
use node::{Cluster, id, options, set, until};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Room for two logs of two segments, some more of them, and the state.
const SMALL_MIB: usize = 128;
/// The disk is filled so often, each time but for some of this.
const ROUNDS: usize = 6;
const LEFT_BYTES_MAX: usize = 12 << 20;
const KEYS: usize = 20;
const VALUE_BYTES_MAX: usize = 100 << 10;
/// More than what fits: an end comes before.
const WRITES_MAX: usize = 2_000;

/// A file system in memory over a folder.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mib: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "it takes root");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes what is left but for so many bytes.
    fn fill(&self, left: usize) {
        let mut file = File::create(self.ballast()).unwrap();
        let (mut taken, mut block) = (0_u64, 1 << 20);
        while block > 0 {
            match file.write(&vec![1; block]) {
                Ok(written) if written > 0 => taken += written as u64,
                _ => block /= 2,
            }
        }
        file.set_len(taken.saturating_sub(left as u64)).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// What may stand in each key: more than one value after a write whose outcome nobody was told.
#[derive(Default)]
struct Expected(BTreeMap<usize, Vec<Option<String>>>);

impl Expected {
    /// Writes until that is refused.
    async fn write(
        &mut self,
        luck: &mut SmallRng,
        propose: impl AsyncFn(Bytes) -> Result<Bytes, ProposeError>,
    ) {
        for number in 0..WRITES_MAX {
            let (key, length) = (luck.random_range(0..KEYS), luck.random_range(0..VALUE_BYTES_MAX));
            let value = format!("{}-{}", luck.random::<u64>(), "v".repeat(length));
            let may = self.0.entry(key).or_insert_with(|| vec![None]);
            match propose(set(key, &value)).await {
                Ok(_) => *may = vec![Some(value)],
                Err(error) => {
                    println!("after {number} writes: {error}");
                    return may.push(Some(value));
                }
            }
        }
        panic!("the disk was never full");
    }

    /// What was acknowledged is there.
    fn check(&mut self, get: impl Fn(usize) -> Option<String>) {
        for (key, may) in &mut self.0 {
            let found = get(*key);
            let length = found.as_ref().map(String::len);
            assert!(may.contains(&found), "key {key} has {length:?} bytes, of {} values", may.len());
            *may = vec![found];
        }
    }
}

/// What the next process finds: sled may not let go of its files in this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_memory_goes_on_when_its_disk_has_room_again() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut luck = SmallRng::seed_from_u64(seed);
    for _ in 0..ROUNDS {
        let (disk, mut expected) = (SmallDisk::mount(SMALL_MIB), Expected::default());
        let raft = node::open_single(disk.path()).await;
        disk.fill(luck.random_range(0..LEFT_BYTES_MAX));
        expected.write(&mut luck, async |command| raft.propose(command).await).await;
        let status = node::until(&raft, "it stops", |status| status.role == Role::Stopped).await;
        assert!(!status.tainted, "{status:#?}");
        tokio::time::timeout(node::PATIENCE, raft.shutdown()).await.expect("it ends");
        drop(raft);
        let refused = node::open(node::options(disk.path(), 1)).await.err().unwrap();
        assert!(!refused.is_configuration() && refused.to_string().contains("bytes left"), "{refused}");
        let next = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(disk.path().join("node-1")).arg(next.path()).status();
        assert!(copied.unwrap().success());
        let raft = node::open_single(next.path()).await;
        raft.read_barrier().await.unwrap();
        expected.check(|key| node::get(&raft, key));
        raft.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_on_the_disk_goes_on_when_that_has_room_again() {
    let (disk, mut expected) = (SmallDisk::mount(SMALL_MIB), Expected::default());
    let seed = rand::random();
    println!("seed {seed}");
    let mut luck = SmallRng::seed_from_u64(seed);
    for _ in 0..ROUNDS {
        let (host, raft) = on_disk::alone(disk.path()).await;
        expected.check(|key| on_disk::get(&raft, key));
        disk.fill(luck.random_range(0..LEFT_BYTES_MAX));
        expected.write(&mut luck, async |command| raft.propose(command).await).await;
        let failed = tokio::time::timeout(node::PATIENCE, host.failed()).await.unwrap();
        assert!(!failed.taints, "{failed:?}");
        drop(raft);
        host.shutdown().await;
        match on_disk::open(disk.path(), 1, |_| ()).await {
            Ok((host, _)) => host.shutdown().await,
            Err(error) => assert!(!error.is_configuration(), "{error}"),
        }
        disk.empty();
    }
    let (host, raft) = on_disk::alone(disk.path()).await;
    expected.check(|key| on_disk::get(&raft, key));
    host.shutdown().await;
}

/// A snapshot is written at once, however large: a state of 40 MiB finds more room than the least that is always asked for
/// once its file has come, and less than twice its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_too_large_for_the_disk_is_refused_before_it_is_written() {
    let disk = SmallDisk::mount(256);
    let small = disk.path().to_owned();
    let mut cluster = Cluster::new(1, move |given| {
        (given.limits.snapshot_every, given.limits.keep_entries) = (10, 1);
        if given.identity.node == id(2) {
            given.dir = options(&small, 2).dir;
        }
    })
    .await;
    let value = "v".repeat(1_000_000);
    for key in 0..42 {
        cluster.propose(set(key, &value)).await;
    }
    until(&cluster.nodes[&1].raft, "the log is purged", |status| status.purged.is_some()).await;
    let address = cluster.start(2, None).await.address;
    let seat = address.to_string();
    disk.fill(111 << 20);
    let raft = cluster.nodes[&2].raft.clone();
    cluster.at_leader_of(&[1], async |leader| leader.add_learner(id(2), seat.as_str()).await).await;
    let status = until(&raft, "it stops", |status| status.role == Role::Stopped).await;
    let reason = status.stopped.clone().unwrap_or_default();
    assert!(!status.tainted && reason.contains("bytes left"), "{status:#?}");
    drop(raft);
    cluster.kill(2).await;
    disk.empty();
    cluster.start(2, Some(address)).await;
    assert_eq!(cluster.caught_up(2).await.raft.state(), cluster.nodes[&1].raft.state());
    cluster.shutdown().await;
}
