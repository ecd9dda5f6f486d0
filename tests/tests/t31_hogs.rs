//! Goal: whatever guests compute, their node stays in the cluster and serves others; and they share the memory that it has.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use coracle_tests::{Client, Cluster, Load, Options, guest, wat};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Calls of hogs at once: all that a node of two cores takes of one function, and more.
const CALLERS: usize = 64;
/// The goal for others is three times what they take on an idle node; tests run on busy machines.
const TIMES_MAX: u32 = 3 * 5;
/// Below it nothing is measured that a scheduler's whims do not make.
const WAIT_MIN: Duration = Duration::from_millis(20 * 5);

const FILL: &str = "(drop (memory.grow (i32.const 1900)))
    (loop $again (memory.fill (i32.const 65536) (i32.const 1) (i32.const 124518400)) (br $again))";

struct Town {
    cluster: Cluster,
    folder: TempDir,
}

impl Town {
    async fn new(nodes: usize, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let cluster = Cluster::with(PROGRAM, Options { nodes, flags, ..Options::default() }).await;
        cluster.deploy("neighbour", &guest("hello-min.component.wasm"), &[]).await;
        Self { cluster, folder: TempDir::new().unwrap() }
    }

    async fn deploy(&self, name: &str, body: &str, flags: &[&str]) {
        self.cluster.deploy(name, &wat::command(self.folder.path(), name, body), flags).await;
    }

    /// What 98 of a hundred calls of the neighbour at the first node take at most; none may fail.
    async fn neighbour(&self) -> Duration {
        let urls = vec![self.cluster.url(0, "/neighbour")];
        let report = Load::gets(200, 50, urls).run(Arc::new(AtomicUsize::new(0))).await;
        println!("{report}");
        assert_eq!(report.failed().len(), 0, "{report}");
        let mut times: Vec<_> = report.shots.iter().map(|shot| shot.elapsed).collect();
        times.sort();
        times[times.len() * 98 / 100]
    }

    /// Calls that are begun again as soon as they end, until the guard is dropped.
    fn keep_calling(&self, path: &str) -> JoinSet<()> {
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let url = self.cluster.url(0, path);
            callers.spawn(async move {
                let client = Client::new(Duration::from_secs(600));
                loop {
                    // What becomes of it is nobody's business.
                    let _ = client.get(&url).await;
                }
            });
        }
        callers
    }

    /// Looks at the nodes until it is told to stop: every time all are alive.
    async fn watch(&self, mut stop: oneshot::Receiver<()>) -> usize {
        let mut looks = 0;
        while stop.try_recv().is_err() {
            let began = Instant::now();
            let status = self.cluster.status().await.expect("a status");
            for node in status["nodes"].as_array().expect("nodes") {
                assert_eq!(node["state"], "alive", "{node}");
            }
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            looks += 1;
        }
        looks
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_full_of_hogs_stays_alive_and_serves_others() {
    let town = Town::new(1, &[]).await;
    let idle = town.neighbour().await;
    for (name, body) in [("fills", FILL), ("loops", wat::LOOP)] {
        town.deploy(name, body, &["--cpu-time", "15m", "--timeout", "15m"]).await;
        let hogs = town.keep_calling(&format!("/{name}"));
        let (done, stop) = oneshot::channel();
        let beside = async {
            // The first calls of a program teach that it is long.
            town.neighbour().await;
            let beside = town.neighbour().await;
            done.send(()).expect("it is watched");
            beside
        };
        let (beside, looks) = tokio::join!(beside, town.watch(stop));
        drop(hogs);
        println!(
            "p98 of the neighbour: {idle:?} alone, {beside:?} beside {CALLERS} calls of '{name}'; {looks} looks"
        );
        assert!(beside < (idle * TIMES_MAX).max(WAIT_MIN), "{idle:?} alone, {beside:?} beside '{name}'");
    }
}

/// Takes 64 MiB by a mebibyte at a time, and keeps it for three seconds.
const HOARD: &str = "(local $i i32)
    (loop $again (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
      (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 64))))
    (call $nap (i64.const 3000)) (call $say (i32.const 1))";

#[tokio::test(flavor = "multi_thread")]
async fn guests_share_the_memory_that_the_node_has_for_them() {
    let town = Town::new(1, &["--guests-memory", "256MiB"]).await;
    town.deploy("hoards", HOARD, &["--memory", "4GiB"]).await;
    let url = town.cluster.url(0, "/hoards");
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let (client, url) = (Client::new(Duration::from_secs(60)), url.clone());
        calls.spawn(async move { client.post(&url, "x").await.expect("an answer") });
    }
    let mut answered = 0;
    let mut refused = 0;
    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        if answer.status == 200 {
            answered += 1;
            continue;
        }
        let code = answer.header("coracle-error");
        assert!(["node-out-of-memory", "overloaded"].contains(&code), "{code}: {}", answer.text());
        assert!(answer.text().contains("256 MiB"), "the bound is not named: {}", answer.text());
        refused += 1;
    }
    println!("12 calls of 65 MiB with 256 MiB for all: {answered} answered, {refused} refused");
    assert!((1..=3).contains(&answered), "{answered}");
    town.neighbour().await;
    // What they had is there again.
    assert_eq!(town.cluster.client.post(&url, "x").await.unwrap().status, 200);
}
