//! Durable writes of the control plane beside etcd's: three nodes each, each write acknowledged after commit (and, here,
//! apply), on the same machine and disk, in turn.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::pb;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_tests::{Client, Cluster, guest, within};
use rustix::process::Signal;
use tokio::sync::Mutex;

use crate::etcd::Etcd;

/// Of one measurement.
const DURATION: Duration = Duration::from_secs(5);
/// Before the first one.
const WARM_UP: Duration = Duration::from_secs(1);
/// Pairs of measurements with etcd; the median is printed.
const ROUNDS: usize = 3;
const CLIENTS: [usize; 3] = [1, 64, 256];
/// Functions whose traffic is changed in turn.
const FUNCTIONS: usize = 8;
/// Of a change: two versions share the traffic, and each change gives another share, so that the record is another one.
const WEIGHTS: u32 = 1_000;
/// Time without writes is measured so often.
const KILLS: usize = 3;

/// What a load came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Syncs of all three nodes for each write.
    pub(crate) syncs: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, p50, p99, syncs } = self;
        write!(f, "{rate:>7.0}/s p50 {p50:>8.2?} p99 {p99:>8.2?} {syncs:.2} syncs")
    }
}

/// Where writes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Leader,
    Follower,
}

/// Writes with one client and with many, at the leader and at a follower; beside etcd where there is one.
pub(crate) async fn run() {
    let folder = tempfile::TempDir::new().unwrap();
    let kind = file_system(folder.path());
    println!("\n== writes: three nodes on one machine and disk ({kind}); ours change a function's traffic");
    let mut cluster = Cluster::start(crate::PROGRAM, 3).await;
    for function in 0..FUNCTIONS {
        for value in ["A=1", "A=2"] {
            let flags = ["--env", value];
            cluster.deploy(&format!("f{function}"), &guest("hello-min.component.wasm"), &flags).await;
        }
    }
    let etcd = Etcd::start(folder.path()).await;
    if etcd.is_none() {
        println!("etcd is not measured: CORACLE_ETCD names no folder with `etcd` and its `benchmark`");
    }
    let leader = cluster.leader().await;
    let _ = ours(&cluster, leader, 64, WARM_UP).await;
    for clients in CLIENTS {
        for to in [To::Leader, To::Follower] {
            let node = if to == To::Leader { leader } else { (leader + 1) % 3 };
            let mut pairs = Vec::new();
            for _ in 0..ROUNDS {
                let ours = ours(&cluster, node, clients, DURATION).await;
                let theirs = match &etcd {
                    Some(etcd) => Some(etcd.put(to, clients, ours.rate, DURATION).await),
                    None => None,
                };
                pairs.push((ours, theirs));
            }
            pairs.sort_by(|one, other| one.0.rate.total_cmp(&other.0.rate));
            print(to, clients, pairs[ROUNDS / 2]);
        }
    }
    gaps(&mut cluster, etcd).await;
}

fn print(to: To, clients: usize, (ours, theirs): (Figures, Option<Figures>)) {
    println!("{to:?}, {clients} clients");
    println!("  coracle {ours}");
    if let Some(theirs) = theirs {
        println!("  etcd    {theirs}");
        let of = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        let (rate, p50) = (ours.rate / theirs.rate, of(ours.p50, theirs.p50));
        println!("  ratio   rate {rate:.2}, p50 {p50:.2}, p99 {:.2}", of(ours.p99, theirs.p99));
    }
}

/// The type of the file system that holds a folder: on one in memory nothing is durable.
pub(crate) fn file_system(folder: &Path) -> String {
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

/// A counter that the pages of metrics have, summed over them.
pub(crate) async fn counted(pages: &[String], name: &str) -> f64 {
    let client = Client::new(Duration::from_secs(5));
    let mut sum = 0.0;
    for page in pages {
        let text = client.get(page).await.unwrap().text();
        let lines = text.lines().filter(|line| line.starts_with(name));
        sum += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    sum
}

/// A load on one of our nodes.
async fn ours(cluster: &Cluster, node: usize, clients: usize, duration: Duration) -> Figures {
    let pages: Vec<_> = cluster.nodes.iter().map(|node| format!("http://{}/metrics", node.admin)).collect();
    let name = "coracle_raft_fsync_seconds_count";
    let before = counted(&pages, name).await;
    let took = Arc::new(Mutex::new(Vec::new()));
    let begin = Instant::now();
    let address = &cluster.nodes[node].grpc;
    let tasks: Vec<_> = (0..clients)
        .map(|client| tokio::spawn(write(address.clone(), client, Arc::clone(&took), begin + duration)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let elapsed = begin.elapsed();
    let syncs = counted(&pages, name).await - before;
    let mut took = std::mem::take(&mut *took.lock().await);
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let writes = took.len() as f64;
    Figures { rate: writes / elapsed.as_secs_f64(), p50: at(0.5), p99: at(0.99), syncs: syncs / writes }
}

fn change(function: usize, weight: u32, since: u64) -> pb::SetTrafficRequest {
    let request: [u8; 16] = rand::random();
    let context = pb::ChangeContext { request_id: request.to_vec().into(), since, expected: 0 };
    let traffic = [(1, weight), (2, WEIGHTS)];
    let traffic = traffic.map(|(version, weight)| pb::Weight { version, weight }).to_vec();
    let change = pb::SetTraffic { namespace: "default".into(), name: format!("f{function}"), traffic };
    pb::SetTrafficRequest { context: Some(context), traffic: Some(change) }
}

/// One client: its next write follows the answer to the last one, and is another value.
async fn write(address: String, client: usize, took: Arc<Mutex<Vec<Duration>>>, until: Instant) {
    let mut admin = AdminClient::connect(format!("http://{address}")).await.unwrap();
    let since = admin.info(pb::InfoRequest {}).await.unwrap().into_inner().revision;
    let (mut own, mut weight) = (Vec::new(), rand::random_range(1..WEIGHTS));
    loop {
        let begin = Instant::now();
        if begin >= until {
            break;
        }
        weight = weight % WEIGHTS + 1;
        admin.set_traffic(change(client % FUNCTIONS, weight, since)).await.unwrap();
        own.push(begin.elapsed());
    }
    took.lock().await.extend(own);
}

/// How long nobody takes a write after the leader was killed.
async fn gaps(cluster: &mut Cluster, etcd: Option<Etcd>) {
    let mut ours = Vec::new();
    for _ in 0..KILLS {
        let leader = cluster.leader().await;
        let others = [(leader + 1) % 3, (leader + 2) % 3].map(|node| cluster.nodes[node].grpc.clone());
        cluster.nodes[leader].signal_all(Signal::KILL);
        ours.push(gap(&others).await);
        cluster.nodes[leader].kill();
        cluster.nodes[leader].start();
        cluster.wait_alive(3).await;
        // One more change by each node: all of them have what the others have.
        for node in 0..3 {
            let address = &cluster.nodes[node].grpc;
            within(Duration::from_secs(10), "it takes a change", async || ours_once(address).await).await;
        }
    }
    ours.sort_unstable();
    println!("without writes after the leader's death: {ours:.0?}");
    let Some(mut etcd) = etcd else { return };
    let mut theirs = Vec::new();
    for _ in 0..KILLS {
        theirs.push(etcd.gap().await);
    }
    theirs.sort_unstable();
    let ratio = ours[KILLS / 2].as_secs_f64() / theirs[KILLS / 2].as_secs_f64();
    println!("the same of etcd: {theirs:.0?}, ratio of the medians {ratio:.2}");
}

/// One change, if it is taken.
async fn ours_once(address: &str) -> Result<(), String> {
    let connected = AdminClient::connect(format!("http://{address}")).await;
    let mut admin = connected.map_err(|error| error.to_string())?;
    let info = admin.info(pb::InfoRequest {}).await.map_err(|status| status.to_string())?;
    let asked = change(0, rand::random_range(1..WEIGHTS), info.into_inner().revision);
    admin.set_traffic(asked).await.map(drop).map_err(|status| status.to_string())
}

/// Until a change is taken, sent by each of these nodes again and again.
async fn gap(addresses: &[String; 2]) -> Duration {
    let begin = Instant::now();
    let mut tries = tokio::task::JoinSet::new();
    for address in addresses.clone() {
        tries.spawn(async move {
            let mut admin = AdminClient::connect(format!("http://{address}")).await.unwrap();
            let since = admin.info(pb::InfoRequest {}).await.unwrap().into_inner().revision;
            let mut weight = 0;
            loop {
                weight += 1;
                if admin.set_traffic(change(0, weight % WEIGHTS + 1, since)).await.is_ok() {
                    return;
                }
            }
        });
    }
    tries.join_next().await.unwrap().unwrap();
    begin.elapsed()
}
