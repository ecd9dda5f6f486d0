//! Goal: a function is deployed anew and rolled back under load: no call fails, and each is answered by the version that it should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Load, Report, guest, within};
use tokio::sync::oneshot;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// The goal from the command to the last gateway.
const QUICK: Duration = Duration::from_millis(40);
/// Longer than the test takes on any machine; it ends the load.
const CALLS_MAX: usize = 40_000;
const RATE: u32 = 200;
/// Calls before the deploy, between its end and the rollback, and after that.
const PHASE: usize = 400;

/// Waits until so many calls more have left.
async fn more(sent: &AtomicUsize, count: usize) {
    let wanted = sent.load(Ordering::SeqCst) + count;
    within(Duration::from_secs(10), &format!("{count} more calls"), async || {
        match sent.load(Ordering::SeqCst) {
            sent if sent >= wanted => Ok(()),
            sent => Err(format!("{sent} of {wanted}")),
        }
    })
    .await;
}

/// Which versions answered calls that left after one moment and were answered before the other; each at least once.
fn versions(report: &Report, from: Instant, to: Option<Instant>) -> Vec<String> {
    let [from, to] = [Some(from), to].map(|at| at.map(|at| at.saturating_duration_since(report.begin)));
    let inside = report
        .shots
        .iter()
        .filter(|shot| from.is_none_or(|from| shot.left >= from) && to.is_none_or(|to| shot.ended() <= to));
    let mut found: Vec<_> =
        inside.filter_map(|shot| shot.outcome.as_ref().ok()).map(|ran| ran.version.clone()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Where nothing else changes, each step of a deploy follows the one before at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_of_what_is_compiled_is_quick() {
    let cluster = Cluster::start(PROGRAM, 3).await;
    let file = guest("hello-min.component.wasm");
    cluster.deploy("quick", &file, &["--env", "ROUND=first"]).await;
    let begun = Instant::now();
    let _ = cluster.run(&["version"]).await.ok();
    let program = begun.elapsed();
    let mut times = Vec::new();
    for round in 0..10 {
        let begun = Instant::now();
        cluster.deploy("quick", &file, &["--env", &format!("ROUND={round}")]).await;
        times.push(begun.elapsed());
        // So that each finds the cluster at rest.
        tokio::time::sleep(Duration::from_millis(700)).await; // a bounded poll
    }
    times.sort();
    println!(
        "a deploy of known code: median {:?}, slowest {:?}; starting the program {program:?}",
        times[5], times[9]
    );
    // A waiting bound: what a build without optimization takes on a busy machine says little about the goal.
    assert!(times[5] < program + QUICK * 50, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_function_is_deployed_anew_and_rolled_back() {
    let cluster = Cluster::start(PROGRAM, 3).await;
    let file = guest("rust-http-wasip1.component.wasm");
    let deploy = async |who: &str| {
        // Two of three hold it: each gateway answers itself, or has to ask.
        let flags = ["--env", who, "--route", "/who", "--replicas", "2"];
        cluster.deploy("who", &file, &flags).await;
    };
    deploy("WHO=first").await;
    for node in 0..3 {
        cluster.answers(node, "/who").await;
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let urls = (0..3).map(|node| cluster.url(node, "/who")).collect();
    let begin = Instant::now();
    let (stop, stopped) = oneshot::channel();
    let load = Load::gets(CALLS_MAX, RATE, urls).run_until(sent.clone(), stopped);
    let load = tokio::spawn(load);
    more(&sent, PHASE).await;
    let deploying = Instant::now();
    deploy("WHO=second").await;
    let deployed = Instant::now();
    more(&sent, PHASE).await;
    let rolling = Instant::now();
    let _ = cluster.run(&["function", "rollback", "who", "-y"]).await.ok();
    let rolled = Instant::now();
    more(&sent, PHASE).await;
    stop.send(()).expect("the load goes on");
    let report = load.await.expect("the load runs to its end");
    println!("{report}");
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(versions(&report, begin, Some(deploying)), ["1"]);
    assert_eq!(versions(&report, deployed, Some(rolling)), ["2"]);
    assert_eq!(versions(&report, rolled, None), ["1"]);
    assert_eq!(versions(&report, begin, None), ["1", "2"]);
}
