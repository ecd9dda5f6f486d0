//! Memory of a function that is deployed and idle.

use coracle_tests::{Cluster, Process, guest};

/// Functions deployed between the two looks.
const FUNCTIONS: usize = 100;

/// Deploys many different functions and looks at the data plane's resident memory before and after.
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
    };
    for number in 0..5 {
        deploy(number).await;
    }
    let before = resident(&cluster);
    for number in 5..5 + FUNCTIONS {
        deploy(number).await;
    }
    let after = resident(&cluster);
    println!(
        "data plane {before} KiB -> {after} KiB: {:.1} KiB a function",
        (after as f64 - before as f64) / FUNCTIONS as f64
    );
}

fn resident(cluster: &Cluster) -> u64 {
    let pid = cluster.nodes[0].pid(Process::DataPlane).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
