//! Durable writes of the control plane: three nodes, each write acknowledged after commit and apply.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coracle_proto::pb;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_tests::{Cluster, guest};

use crate::etcd::Etcd;

/// Of one measurement.
const DURATION: Duration = Duration::from_secs(5);
/// Before the first one.
const WARM_UP: Duration = Duration::from_secs(1);
/// Pairs of measurements with etcd; the median is printed.
const ROUNDS: usize = 3;

/// Writes with one client and with sixty-four, at the leader and at a follower; beside etcd where there is one.
pub(crate) async fn run() {
    let folder = tempfile::TempDir::new().unwrap();
    println!(
        "\n== writes: a change of traffic, committed and applied, three nodes on one machine and disk ({})",
        file_system(folder.path())
    );
    let cluster = Cluster::start(crate::PROGRAM, 3).await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    let etcd = Etcd::start(folder.path()).await;
    if etcd.is_none() {
        println!("etcd is not measured: CORACLE_ETCD names no folder with `etcd` and its `benchmark`");
    }
    let leader = cluster.leader().await;
    let _ = measure(&cluster.nodes[leader].grpc, 64, WARM_UP).await;
    for clients in [1, 64] {
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            let ours = measure(&cluster.nodes[leader].grpc, clients, DURATION).await;
            pairs.push((ours, etcd.as_ref().map(|etcd| etcd.put(clients, ours, DURATION))));
        }
        pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (ours, theirs) = pairs[ROUNDS / 2];
        print("leader", clients, ours, theirs);
        let follower = &cluster.nodes[(leader + 1) % 3].grpc;
        print("follower", clients, measure(follower, clients, DURATION).await, None);
    }
}

fn print(what: &str, clients: usize, ours: f64, theirs: Option<f64>) {
    let mean = Duration::from_secs_f64(clients as f64 / ours);
    let beside = theirs.map_or_else(String::new, |theirs| {
        format!("; etcd puts at its leader: {theirs:.0}/s, ratio {:.2}", ours / theirs)
    });
    println!("{what:<9} {clients:>3} clients: {ours:>7.0} writes/s, mean {mean:.2?}{beside}");
}

/// The type of the file system that holds a folder: on one in memory nothing is durable.
fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut longest = (0, "unknown");
    for mount in mounts.lines() {
        let mut fields = mount.split(' ').skip(1);
        if let (Some(at), Some(kind)) = (fields.next(), fields.next())
            && folder.starts_with(at)
            && at.len() > longest.0
        {
            longest = (at.len(), kind);
        }
    }
    longest.1.to_owned()
}

/// Writes a second.
async fn measure(address: &str, clients: usize, duration: Duration) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| tokio::spawn(write(address.to_owned(), done.clone(), begin, duration)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    done.load(Ordering::SeqCst) as f64 / begin.elapsed().as_secs_f64()
}

async fn write(address: String, done: Arc<AtomicU64>, begin: Instant, duration: Duration) {
    let mut client = AdminClient::connect(format!("http://{address}")).await.unwrap();
    let since = client.info(pb::InfoRequest {}).await.unwrap().into_inner().revision;
    let traffic = vec![pb::Weight { version: 1, weight: 1 }];
    while begin.elapsed() < duration {
        let request: [u8; 16] = rand::random();
        let context = pb::ChangeContext { request_id: request.to_vec().into(), since, expected: 0 };
        let change =
            pb::SetTraffic { namespace: "default".into(), name: "hello".into(), traffic: traffic.clone() };
        let request = pb::SetTrafficRequest { context: Some(context), traffic: Some(change) };
        client.set_traffic(request).await.unwrap();
        done.fetch_add(1, Ordering::SeqCst);
    }
}
