//! A leader that is gone, seen by too few: they ask each other at a measured pace.
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

use node::{Cluster, listen, set};

/// So many questions are waited for: a hot loop asks them within a tenth of a second.
const QUESTIONS: u32 = 30;
/// Between two questions of the witness there is as much; elections and what is sent at once ask some more.
const PACE: Duration = Duration::from_millis(100);
const OTHERS: u32 = 3;

/// Two of three are gone. The third one asks the second one, whose port takes calls and ends them, for as long as that lasts.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the pace of questions is measured")]
async fn who_has_no_majority_asks_at_a_measured_pace() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    cluster.propose(set("before", 1)).await;
    let leader = cluster.leader().await.id;
    let other = cluster.followers(leader)[0];
    let address = cluster.kill(other).await;
    let asked = listen(Some(address)).await;
    let _ = cluster.kill(leader).await;
    let began = Instant::now();
    for _ in 0..QUESTIONS {
        let accepted = tokio::time::timeout(node::PATIENCE, asked.accept()).await;
        drop(accepted.expect("it goes on asking").unwrap());
    }
    let lasted = began.elapsed();
    println!("{QUESTIONS} questions in {lasted:?}");
    assert!(lasted > PACE * QUESTIONS / OTHERS, "{QUESTIONS} questions in {lasted:?}");
    cluster.shutdown().await;
}
