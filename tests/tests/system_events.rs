//! Goal: what was accepted is kept and what is read is true, whatever happens to networks, processes and disks: messages that are
//! published and run, and values, all at once through cut networks, stopped and killed nodes, and a full disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_tests::deliveries::Deliveries;
use coracle_tests::{Client as Http, Cluster, Options, Process, guest, within};
use http::Method;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[path = "t38_registers/clients.rs"]
mod clients;

use clients::{Client, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// Clients of values, and the keys that they share: a history of each key is some hundred operations, which are searched in seconds.
const CLIENTS: u32 = 6;
const KEYS: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);
/// Publishers, and how fast each of them is.
const PUBLISHERS: usize = 3;
const EACH: Duration = Duration::from_millis(100);
/// The longest a publisher waits for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Of the node whose disk is small: larger than all that is ever written there.
const SMALL: usize = 2;
const SMALL_MIB: usize = 384;
/// How long a fault lasts: longer than an election, and than claims without their node.
const LASTS: Duration = Duration::from_secs(6);
/// Entries that a replica lacks which cannot keep up.
const BEHIND: u64 = 20;
/// A store that ended again and again on its full disk is started within half a minute of there being room.
const RECOVERS: Duration = Duration::from_secs(45);
/// Of what is written to fill a log, a message.
const MUCH_BYTES: usize = 60 << 10;
/// Between two faults so many operations and messages are answered.
const OPERATIONS: usize = 200;
const MESSAGES: usize = 20;
/// All that was accepted has ended by then.
const ENDED: Duration = Duration::from_secs(60);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The leading store's node hears neither of the others, and clients hear all three.
    LeaderCut,
    /// Two nodes do not hear each other; one of them leads, and the third one hears both.
    PairCut,
    /// The leading store stands still.
    StoreStopped,
    /// All processes of the leading store's node stand still.
    NodeStopped,
    /// All processes of the leading store's node are killed.
    NodeKilled,
    /// The small disk is full.
    DiskFull,
}

/// Each happens so often.
const FAULTS: [(Fault, usize); 6] = [
    (Fault::LeaderCut, 2),
    (Fault::PairCut, 1),
    (Fault::StoreStopped, 1),
    (Fault::NodeStopped, 1),
    (Fault::NodeKilled, 2),
    (Fault::DiskFull, 2),
];

/// Publishes until it is told to stop: each message until it is accepted. The invocations.
async fn publishes(
    urls: Vec<String>,
    number: usize,
    accepted: Arc<AtomicUsize>,
    stop: CancellationToken,
) -> BTreeSet<String> {
    let (client, mut invocations) = (Http::new(ANSWER_MAX), BTreeSet::new());
    let mut ticks = tokio::time::interval(EACH);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut turn = number;
    while !stop.is_cancelled() {
        let _ = ticks.tick().await;
        let id = format!("{number}-{}", invocations.len());
        let headers = [("ce-specversion", "1.0"), ("ce-id", &id), ("ce-source", "/test"), ("ce-type", "t")];
        // Without an end: what was not answered may be kept all the same, and is asked for until it is known.
        loop {
            let url = &urls[turn % urls.len()];
            let answer = client.send(Method::POST, url, &headers, id.clone().into()).await;
            if let Some(answer) = answer.ok().filter(|answer| answer.status == 202) {
                let body: Value = serde_json::from_str(&answer.text()).expect("JSON");
                let invocation = body["messages"][0]["invocation"].as_str().expect("an id");
                assert!(invocations.insert(invocation.to_owned()), "{id} has the invocation of another one");
                accepted.fetch_add(1, Ordering::SeqCst);
                break;
            }
            turn += 1;
            let _ = ticks.tick().await;
        }
    }
    invocations
}

/// Nothing was lost, nothing was run in vain, and each is run to its end.
async fn settled(cluster: &Cluster, sent: BTreeSet<String>) {
    let count = sent.len();
    let records = within(ENDED, &format!("{count} messages have ended"), async || {
        let list = ["invocation", "list", "--function", "wc", "--limit", "100000", "-o", "json"];
        let all = cluster.run(&list).await.ok().json().as_array().expect("a list").clone();
        let open =
            all.iter().filter(|it| ["waiting", "running"].map(Value::from).contains(&it["state"])).count();
        if open == 0 && all.len() >= count {
            Ok(all)
        } else {
            Err(format!("{open} of {} are open", all.len()))
        }
    })
    .await;
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut again = 0;
    for record in &records {
        *states.entry(record["state"].as_str().expect("a state")).or_default() += 1;
        again += usize::from(record["attempts"].as_u64() > Some(1));
    }
    println!("{count} messages: {states:?}, {again} of them tried more than once");
    let queue = cluster.run(&["queue", "get", "jobs", "-o", "json"]).await.ok().json();
    let all = Deliveries { sent, records, runs: Vec::new(), queue };
    assert_eq!(all.wrong(), Vec::<String>::new());
}

/// Waits until so much more was answered, of both kinds, and says how long that took.
async fn goes_on(world: &World, accepted: &AtomicUsize, when: &str) {
    let wanted = (world.count() + OPERATIONS, accepted.load(Ordering::SeqCst) + MESSAGES);
    within(Duration::from_secs(15), &format!("{when}: values and messages go on"), async || {
        let now = (world.count(), accepted.load(Ordering::SeqCst));
        if now.0 >= wanted.0 && now.1 >= wanted.1 { Ok(()) } else { Err(format!("{now:?} of {wanted:?}")) }
    })
    .await;
}

/// Waits until a node's replica is not where others are.
async fn behind(cluster: &Cluster, node: usize) {
    let id = cluster.id_of(node).await;
    within(Duration::from_secs(10), &format!("the replica of node {node} is behind"), async || {
        let (keeps_up, replica) = keeps_up(cluster, id).await?;
        if keeps_up { Err(replica) } else { Ok(()) }
    })
    .await;
}

/// Waits until it is again.
async fn recovers(cluster: &Cluster, node: usize) {
    let id = cluster.id_of(node).await;
    within(RECOVERS, &format!("the replica of node {node} keeps up"), async || {
        let (keeps_up, replica) = keeps_up(cluster, id).await?;
        if keeps_up { Ok(()) } else { Err(replica) }
    })
    .await;
}

/// Whether a node's replica leads or has nearly all that the leader has; and what is told of it.
async fn keeps_up(cluster: &Cluster, id: u64) -> Result<(bool, String), String> {
    let listed = cluster.run(&["cluster", "groups", "-o", "json", "--wait-timeout", "5s"]).await;
    let all: Vec<Value> = serde_json::from_str(&listed.stdout).map_err(|_| listed.stderr)?;
    let replica = all.iter().find(|replica| replica["node"] == id).ok_or("it has none")?;
    let keeps_up = replica["state"] == "leader" || replica["lag"].as_u64().is_some_and(|lag| lag < BEHIND);
    Ok((keeps_up, replica.to_string()))
}

/// Writes to logs what nobody reads, without an end: a store has taken room for its log before the disk was full.
async fn writes_much(cluster: &Cluster) {
    let (client, body) = (Http::new(ANSWER_MAX), Bytes::from(vec![b'x'; MUCH_BYTES]));
    loop {
        let send = |node: usize| {
            let url = cluster.url(node, "/.coracle/publish/nobody");
            let (client, body) = (client.clone(), body.clone());
            // What is refused, or not answered, is as good.
            async move { client.send(Method::POST, &url, &[], body).await.is_ok() }
        };
        let healthy = (0..3).filter(|node| *node != SMALL);
        let _ = futures::future::join_all(healthy.flat_map(|node| [send(node), send(node)])).await;
    }
}

/// One fault, from its begin to its end, seen to bite.
async fn happens(cluster: &mut Cluster, fault: Fault, luck: &mut SmallRng) {
    let leader = cluster.leading_store(3).await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let lasts = || tokio::time::sleep(LASTS); // a bounded poll: so long it lasts
    match fault {
        Fault::LeaderCut => {
            others.iter().for_each(|other| cluster.network().cut(leader, *other));
            lasts().await;
            cluster.network().heal();
        }
        Fault::PairCut => {
            let other = others[luck.random_range(0..2)];
            println!("nodes {leader} and {other} do not hear each other");
            cluster.network().cut(leader, other);
            lasts().await;
            behind(cluster, other).await;
            cluster.network().heal();
        }
        Fault::StoreStopped => {
            cluster.nodes[leader].signal(Process::Store, Signal::STOP);
            lasts().await;
            cluster.nodes[leader].signal(Process::Store, Signal::CONT);
        }
        Fault::NodeStopped => {
            cluster.nodes[leader].signal_all(Signal::STOP);
            lasts().await;
            cluster.nodes[leader].signal_all(Signal::CONT);
        }
        Fault::NodeKilled => {
            cluster.nodes[leader].signal_all(Signal::KILL);
            lasts().await;
            cluster.nodes[leader].kill();
            cluster.nodes[leader].start();
        }
        Fault::DiskFull => {
            let taken = cluster.disk().fill();
            println!("the disk of node {SMALL} is full by {taken} bytes; node {leader} leads");
            assert!(taken > 0, "there was room to take");
            lasts().await;
            tokio::select! {
                () = behind(cluster, SMALL) => {}
                () = writes_much(cluster) => {}
            }
            cluster.disk().empty();
            recovers(cluster, SMALL).await;
        }
    }
    cluster.wait_alive(3).await;
    let now = cluster.leading_store(3).await;
    let replaced =
        [Fault::LeaderCut, Fault::StoreStopped, Fault::NodeStopped, Fault::NodeKilled].contains(&fault);
    println!("{fault:?}: node {leader} led, node {now} does");
    assert!(!replaced || now != leader, "{fault:?} did not bite: node {leader} still leads");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_through_cut_networks_stopped_and_killed_nodes_and_a_full_disk() {
    let seed = std::env::var("CORACLE_TEST_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse().expect("a seed"));
    println!("seed {seed} (CORACLE_TEST_SEED)");
    let mut luck = SmallRng::seed_from_u64(seed);
    let options = Options {
        nodes: 3,
        stores: true,
        network: true,
        small_disk: Some((SMALL, SMALL_MIB)),
        ..Options::default()
    };
    let mut cluster = Cluster::with(PROGRAM, options).await;
    let _ = cluster.leading_store(3).await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    let _ = cluster.run(&["queue", "create", "jobs", "--function", "wc", "--attempts", "20"]).await.ok();
    let _ = cluster.run(&["topic", "create", "nobody"]).await.ok();
    let (world, accepted, stop) =
        (World::of(&cluster).await, Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let (mut clients, mut publishers) = (JoinSet::new(), JoinSet::new());
    for number in 0..CLIENTS {
        clients.spawn(Client::new(&world, number, seed, KEYS, PAUSE).run(stop.clone()));
    }
    let urls: Vec<_> = (0..3).map(|node| cluster.url(node, "/.coracle/publish/jobs")).collect();
    for number in 0..PUBLISHERS {
        publishers.spawn(publishes(urls.clone(), number, Arc::clone(&accepted), stop.clone()));
    }

    let mut faults: Vec<_> = FAULTS.iter().flat_map(|(fault, times)| vec![*fault; *times]).collect();
    faults.shuffle(&mut luck);
    goes_on(&world, &accepted, "at first").await;
    for fault in faults {
        happens(&mut cluster, fault, &mut luck).await;
        goes_on(&world, &accepted, &format!("after {fault:?}")).await;
    }
    stop.cancel();
    let _ = clients.join_all().await;
    settled(&cluster, publishers.join_all().await.into_iter().flatten().collect()).await;

    let history = world.history.lock().expect("nobody panics with it");
    let (count, open) = history.counts();
    println!("{count} operations, of which {open} may be done or not");
    assert_eq!(history.check(), Ok(()), "seed {seed}");
}
