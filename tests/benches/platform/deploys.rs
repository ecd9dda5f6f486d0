//! From the start of `coracle deploy` to a version that is ready on its nodes, three nodes.

use std::time::{Duration, Instant};

use coracle_tests::{Cluster, guest};

/// Deploys of each kind.
const ROUNDS: usize = 10;

/// Deploys the same artifact anew with another environment, and each time another artifact.
pub(crate) async fn run() {
    println!("\n== deploys: whole command, upload to ready on two of three nodes");
    let cluster = Cluster::start(crate::PROGRAM, 3).await;
    let folder = tempfile::TempDir::new().unwrap();
    let original = guest("rust-http-wasip2crate.component.wasm");
    let bytes = std::fs::read(&original).unwrap();
    let mut fresh = Vec::new();
    let mut known = Vec::new();
    for round in 0..ROUNDS {
        let file = folder.path().join(format!("r{round}.wasm"));
        let mut changed = bytes.clone();
        changed.extend_from_slice(&[0, 4, 2, b'i', b'd', u8::try_from(round).unwrap()]);
        std::fs::write(&file, changed).unwrap();
        let begin = Instant::now();
        cluster.deploy("fresh", &file, &[]).await;
        fresh.push(begin.elapsed());
        let begin = Instant::now();
        cluster.deploy("known", &original, &["--env", &format!("ROUND={round}")]).await;
        known.push(begin.elapsed());
    }
    print("new artifact of 46 KB", &mut fresh);
    print("known artifact", &mut known);
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    println!("{what:<24} p50 {:?}, max {:?}", times[times.len() / 2], times[times.len() - 1]);
}
