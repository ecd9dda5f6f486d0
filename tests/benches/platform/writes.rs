//! Durable writes of the control plane: three nodes, each write acknowledged after commit and apply.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coracle_proto::pb;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_tests::{Cluster, guest};

/// Of one measurement.
const DURATION: Duration = Duration::from_secs(5);

/// Writes with one client and with sixty-four, at the leader and at a follower.
pub(crate) async fn run() {
    println!("\n== writes: a change of traffic, committed and applied, three nodes on one machine and disk");
    let cluster = Cluster::start(crate::PROGRAM, 3).await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    let leader = cluster.leader().await;
    for (what, node) in [("leader", leader), ("follower", (leader + 1) % 3)] {
        for clients in [1, 64] {
            let (rate, mean) = measure(&cluster.nodes[node].grpc, clients).await;
            println!("{what:<9} {clients:>3} clients: {rate:>7.0} writes/s, mean {mean:?}");
        }
    }
}

async fn measure(address: &str, clients: usize) -> (f64, Duration) {
    let done = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> =
        (0..clients).map(|_| tokio::spawn(write(address.to_owned(), done.clone(), begin))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rate = done.load(Ordering::SeqCst) as f64 / begin.elapsed().as_secs_f64();
    (rate, Duration::from_secs_f64(clients as f64 / rate))
}

async fn write(address: String, done: Arc<AtomicU64>, begin: Instant) {
    let mut client = AdminClient::connect(format!("http://{address}")).await.unwrap();
    let since = client.info(pb::InfoRequest {}).await.unwrap().into_inner().revision;
    let traffic = vec![pb::Weight { version: 1, weight: 1 }];
    while begin.elapsed() < DURATION {
        let request: [u8; 16] = rand::random();
        let context = pb::ChangeContext { request_id: request.to_vec().into(), since, expected: 0 };
        let change =
            pb::SetTraffic { namespace: "default".into(), name: "hello".into(), traffic: traffic.clone() };
        let request = pb::SetTrafficRequest { context: Some(context), traffic: Some(change) };
        client.set_traffic(request).await.unwrap();
        done.fetch_add(1, Ordering::SeqCst);
    }
}
