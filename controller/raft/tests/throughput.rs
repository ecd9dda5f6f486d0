//! How many commands a second are committed: for information, started by hand with `--ignored --nocapture`.

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

use std::time::{Duration, Instant};

use coracle_raft::Raft;
use kv::Kv;
use node::{Cluster, set};

const PROPOSERS: usize = 64;
const COMMANDS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn commands_a_second() {
    for size in [1, 3] {
        let cluster = Cluster::new(size, |options| options.limits.propose = Duration::from_secs(30)).await;
        let raft = cluster.leader().await.raft.clone();
        let rate = measure(&raft).await;
        println!("{size} voters: {rate:.0} commands of 256 bytes a second, {:?}", raft.store_status().syncs);
        cluster.shutdown().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
async fn measure(raft: &Raft<Kv>) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..PROPOSERS)
        .map(|task| {
            let raft = raft.clone();
            tokio::spawn(async move {
                for round in 0..COMMANDS {
                    raft.propose(set(format!("{task}-{round}"), "v".repeat(250))).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    (PROPOSERS * COMMANDS) as f64 / start.elapsed().as_secs_f64()
}
