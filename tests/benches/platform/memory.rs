//! Memory of a function that is deployed and idle, and its first call after the data plane was started anew.

use std::cell::Cell;
use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Process, eventually, guest, is_gone};
use rustix::process::Signal;

/// Functions deployed between the looks.
const FUNCTIONS: usize = 100;
/// Functions before them.
const FIRST: usize = 5;
/// What a process that does nothing still moves by.
const FLAT_KIB: u64 = 256;

/// Deploys many different functions and looks at the node's resident memory before and after, and again when each
/// has been called once and is idle.
pub(crate) async fn run() {
    println!("\n== memory: {FUNCTIONS} idle functions with different artifacts on one node");
    let cluster = Cluster::start(crate::PROGRAM, 1).await;
    let folder = tempfile::TempDir::new().unwrap();
    let original = std::fs::read(guest("rust-http-wasip2crate.component.wasm")).unwrap();
    let deploy = async |number: usize| {
        // A custom section of its own makes each artifact a different one.
        let mut bytes = original.clone();
        let note = format!("{number:08}");
        bytes.extend_from_slice(&[0, 11, 2, b'i', b'd']);
        bytes.extend_from_slice(note.as_bytes());
        let file = folder.path().join(format!("f{number}.wasm"));
        std::fs::write(&file, bytes).unwrap();
        let done = cluster.run(&["deploy", &format!("f{number}"), &file.display().to_string()]).await;
        assert_eq!(done.code, 0, "{}", done.stderr);
        number
    };
    let call = async |number: usize| {
        let answer = cluster.client.get(&cluster.url(0, &format!("/f{number}"))).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    // What the first deploys and calls cost is the node's, not a function's.
    for number in 0..FIRST {
        call(deploy(number).await).await;
    }
    let before = resident(&cluster).await;
    for number in FIRST..FIRST + FUNCTIONS {
        deploy(number).await;
    }
    print("deployed, never called", before, resident(&cluster).await);
    for number in FIRST..FIRST + FUNCTIONS {
        call(number).await;
    }
    print("called once, idle", before, resident(&cluster).await);
    cold_starts(&cluster).await;
}

/// First calls after the data plane was started anew, one after the other: their code is ready, in the page cache, and not
/// mapped. Beside them second calls by the same client.
async fn cold_starts(cluster: &Cluster) {
    let node = &cluster.nodes[0];
    let old = node.pid(Process::DataPlane).unwrap();
    node.signal(Process::DataPlane, Signal::KILL);
    eventually("another data plane runs", async || {
        let pid = node.pid(Process::DataPlane)?;
        if pid == old || !is_gone(old) { Err(format!("{pid}")) } else { Ok(()) }
    })
    .await;
    cluster.answers(0, "/f0").await;
    for start in ["cold", "warm"] {
        let mut took = Vec::new();
        for number in FIRST..FIRST + FUNCTIONS {
            let answer = cluster.client.get(&cluster.url(0, &format!("/f{number}"))).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.header("coracle-start")), (200, start), "f{number}");
            took.push(answer.elapsed);
        }
        took.sort_unstable();
        let (p50, p99) = (took[FUNCTIONS / 2], took[FUNCTIONS - 1 - FUNCTIONS / 100]);
        println!("{start} calls of {FUNCTIONS} functions: p50 {p50:.2?}, p99 {p99:.2?}");
    }
}

fn print(what: &str, before: [u64; 2], after: [u64; 2]) {
    let each = |index: usize| (after[index] as f64 - before[index] as f64) / FUNCTIONS as f64;
    println!(
        "{what:<24} data plane {} -> {} KiB: {:.1} KiB a function; controller {} -> {} KiB: {:.1} KiB a function",
        before[0],
        after[0],
        each(0),
        before[1],
        after[1],
        each(1)
    );
}

/// Resident memory of data plane and controller, in KiB, once it changes no more.
async fn resident(cluster: &Cluster) -> [u64; 2] {
    let look = || {
        [Process::DataPlane, Process::Controller].map(|process| {
            let pid = cluster.nodes[0].pid(process).unwrap();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap()
        })
    };
    let last = Cell::new((look(), Instant::now()));
    eventually("resident memory is flat for a second", async || {
        let now = look();
        if now.iter().zip(last.get().0).any(|(now, last)| now.abs_diff(last) > FLAT_KIB) {
            last.set((now, Instant::now()));
        }
        if last.get().1.elapsed() > Duration::from_secs(1) { Ok(now) } else { Err(format!("{now:?} KiB")) }
    })
    .await
}
