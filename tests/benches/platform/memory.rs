//! Memory of functions that are deployed and idle, and first calls after the data plane was started anew.

use std::cell::Cell;
use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Process, eventually, guest, is_gone};
use futures::{StreamExt as _, stream};
use rustix::process::Signal;

/// Functions deployed between the looks, unless `CORACLE_FUNCTIONS` says otherwise.
const FUNCTIONS: usize = 2000;
/// Functions before them.
const FIRST: usize = 5;
/// Commands that deploy at once, and callers at once where many call.
const AT_ONCE: usize = 8;
const CALLERS: usize = 16;
/// First calls that come one after the other.
const ONE_BY_ONE: usize = 300;
/// Fewer are lost in what a node moves by anyway.
const FUNCTIONS_MIN: usize = 10;
/// What a node that does nothing still moves by, of any of the fields.
const FLAT_KIB_MIN: u64 = 256;
/// Where functions are many, they may move by a tenth of a KiB each: what is told of one has no more digits.
const FLAT_FUNCTIONS_PER_KIB: usize = 10;

struct Bench {
    cluster: Cluster,
    folder: tempfile::TempDir,
    original: Vec<u8>,
    functions: usize,
}

/// Deploys many different functions and looks at the memory of the node's processes before and after, and again when each
/// has been called once and is idle; then starts the data plane anew and calls them.
pub(crate) async fn run() {
    let functions =
        std::env::var("CORACLE_FUNCTIONS").map_or(FUNCTIONS, |text| text.parse().expect("a number"));
    assert!(
        functions >= FUNCTIONS_MIN,
        "CORACLE_FUNCTIONS is {functions}: {FUNCTIONS_MIN} or more tell anything"
    );
    println!("\n== memory: {functions} idle functions with different artifacts on one node");
    let cluster = Cluster::start(crate::PROGRAM, 1).await;
    let original = std::fs::read(guest("rust-http-wasip2crate.component.wasm")).unwrap();
    let bench = Bench { cluster, folder: tempfile::TempDir::new().unwrap(), original, functions };
    let idle = bench.memory().await;
    println!("an idle node: {idle:?} KiB");
    // What the first deploys and calls cost is the node's, not a function's.
    bench.deploy_all(0..FIRST).await;
    bench.call_all(0..FIRST, "").await;
    let before = bench.memory().await;
    let begun = Instant::now();
    bench.deploy_all(FIRST..FIRST + functions).await;
    println!("deployed in {:.0?}, {AT_ONCE} at once", begun.elapsed());
    print("deployed, never called", functions, &before, &bench.memory().await);
    bench.call_all(FIRST..FIRST + functions, "").await;
    print("called once, idle", functions, &before, &bench.memory().await);
    bench.cold_starts().await;
}

impl Bench {
    async fn memory(&self) -> [Memory; 3] {
        memory(&self.cluster, flat_kib(self.functions)).await
    }

    async fn deploy(&self, number: usize) {
        // A custom section of its own makes each artifact a different one.
        let mut bytes = self.original.clone();
        let note = format!("{number:08}");
        bytes.extend_from_slice(&[0, 11, 2, b'i', b'd']);
        bytes.extend_from_slice(note.as_bytes());
        let file = self.folder.path().join(format!("f{number}.wasm"));
        std::fs::write(&file, bytes).unwrap();
        let done = self.cluster.run(&["deploy", &format!("f{number}"), &file.display().to_string()]).await;
        assert_eq!(done.code, 0, "{}", done.stderr);
        std::fs::remove_file(file).unwrap();
    }

    async fn deploy_all(&self, numbers: std::ops::Range<usize>) {
        stream::iter(numbers).for_each_concurrent(AT_ONCE, |number| self.deploy(number)).await;
    }

    /// How long a call took, which is to begin as `start` says, if it says anything.
    async fn call(&self, number: usize, start: &str) -> Duration {
        let answer = self.cluster.client.get(&self.cluster.url(0, &format!("/f{number}"))).await.unwrap();
        assert_eq!(answer.status, 200, "f{number}: {}", answer.text());
        assert!(start.is_empty() || answer.header("coracle-start") == start, "f{number} is not {start}");
        answer.elapsed
    }

    async fn call_all(&self, numbers: std::ops::Range<usize>, start: &str) -> Vec<Duration> {
        stream::iter(numbers).map(|number| self.call(number, start)).buffer_unordered(CALLERS).collect().await
    }

    /// First calls after the data plane was started anew: the code is ready, in the page cache, and not mapped. Beside them
    /// second calls by the same client.
    async fn cold_starts(&self) {
        let node = &self.cluster.nodes[0];
        let old = node.pid(Process::DataPlane).unwrap();
        node.signal(Process::DataPlane, Signal::KILL);
        eventually("another data plane runs", async || {
            let pid = node.pid(Process::DataPlane)?;
            if pid == old || !is_gone(old) { Err(format!("{pid}")) } else { Ok(()) }
        })
        .await;
        self.cluster.answers(0, "/f0").await;
        let one_by_one = FIRST..FIRST + ONE_BY_ONE.min(self.functions / 2);
        let rest = one_by_one.end..FIRST + self.functions;
        for start in ["cold", "warm"] {
            let mut took = Vec::new();
            for number in one_by_one.clone() {
                took.push(self.call(number, start).await);
            }
            println!("{start} calls of {} functions, one by one: {}", took.len(), middle(&mut took));
            let begun = Instant::now();
            let mut took = self.call_all(rest.clone(), start).await;
            let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
            let (count, took) = (took.len(), middle(&mut took));
            println!("{start} calls of {count} functions, {CALLERS} callers: {rate:.0} a second, {took}");
        }
    }
}

fn middle(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() - 1 - took.len() / 100]);
    format!("p50 {p50:.2?}, p99 {p99:.2?}")
}

/// Memory of a process, KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// Its part of what it shares, and all that it does not.
    pss: u64,
    /// What is of no file.
    anonymous: u64,
}

const PROCESSES: [Process; 3] = [Process::Supervisor, Process::Controller, Process::DataPlane];

fn print(what: &str, functions: usize, before: &[Memory; 3], after: &[Memory; 3]) {
    for (index, process) in PROCESSES.iter().enumerate() {
        let (before, after) = (before[index], after[index]);
        let each = |before: u64, after: u64| (after as f64 - before as f64) / functions as f64;
        println!(
            "{what:<24} {process:?}: PSS {} -> {} KiB, {:.1} KiB a function; anonymous {} -> {} KiB, {:.1}",
            before.pss,
            after.pss,
            each(before.pss, after.pss),
            before.anonymous,
            after.anonymous,
            each(before.anonymous, after.anonymous),
        );
    }
}

/// By so much memory may move and still be flat, where so many functions are looked at.
fn flat_kib(functions: usize) -> u64 {
    FLAT_KIB_MIN.max((functions / FLAT_FUNCTIONS_PER_KIB) as u64)
}

impl Memory {
    /// Whether none of it has moved by more than that.
    const fn is_near(self, other: Self, kib: u64) -> bool {
        self.pss.abs_diff(other.pss) <= kib && self.anonymous.abs_diff(other.anonymous) <= kib
    }
}

/// The memory of the node's processes, once it changes no more: by no more than `flat_kib`.
async fn memory(cluster: &Cluster, flat_kib: u64) -> [Memory; 3] {
    let look = || {
        PROCESSES.map(|process| {
            let pid = cluster.nodes[0].pid(process).unwrap();
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let field = |name: &str| -> u64 {
                let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim().trim_end_matches(" kB").trim().parse().unwrap()
            };
            Memory { pss: field("Pss:"), anonymous: field("Anonymous:") }
        })
    };
    let last = Cell::new((look(), Instant::now()));
    eventually("memory is flat for a second", async || {
        let now = look();
        if now.iter().zip(last.get().0).any(|(now, last)| !now.is_near(last, flat_kib)) {
            last.set((now, Instant::now()));
        }
        if last.get().1.elapsed() > Duration::from_secs(1) { Ok(now) } else { Err(format!("{now:?} KiB")) }
    })
    .await
}
