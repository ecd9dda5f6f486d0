//! Goal: values of a data group behave as if there were one copy of them, whoever dies, is stopped, or comes back.

use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Options, Process, within};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[path = "t38_registers/clients.rs"]
mod clients;

use clients::{Client, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const CLIENTS: u32 = 6;
const KEYS: usize = 5;
/// So many operations are seen between two faults.
const BETWEEN: usize = 300;
/// A leader that is stopped for so long has been replaced, and does not know.
const STOPPED: Duration = Duration::from_secs(3);

/// Waits until there is so much more.
async fn more(world: &World) {
    let wanted = world.count() + BETWEEN;
    within(Duration::from_secs(20), &format!("{wanted} operations are seen"), async || match world.count() {
        count if count < wanted => Err(count.to_string()),
        _ => Ok(()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_as_one_copy_of_them_would_be() {
    let mut cluster = Cluster::with(PROGRAM, Options { nodes: 3, stores: true, ..Options::default() }).await;
    let _ = cluster.leading_store(3).await;
    let (world, stop) = (World::of(&cluster).await, CancellationToken::new());
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client::new(&world, number, seed, KEYS, Duration::ZERO);
        clients.spawn(client.run(stop.clone()));
    }
    for round in 0..2 {
        more(&world).await;
        // A leader that was stopped and has been replaced does not tell what it has for what there is.
        let leader = cluster.leading_store(3).await;
        cluster.nodes[leader].signal(Process::Store, Signal::STOP);
        tokio::time::sleep(STOPPED).await; // a bounded poll: it is how long the process stands still
        cluster.nodes[leader].signal(Process::Store, Signal::CONT);
        more(&world).await;
        let leader = cluster.leading_store(3).await;
        cluster.nodes[leader].signal(Process::Store, Signal::KILL);
        more(&world).await;
        let leader = cluster.leading_store(3).await;
        let follower = (leader + 1 + round) % 3;
        cluster.nodes[follower].signal_all(Signal::KILL);
        cluster.nodes[follower].kill();
        more(&world).await;
        cluster.nodes[follower].start();
        cluster.wait_alive(3).await;
    }
    // All at once, as a power cut of the room.
    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    more(&world).await;
    stop.cancel();
    clients.join_all().await;
    let history = world.history.lock().expect("nobody panics with it");
    let (count, open) = history.counts();
    let begun = Instant::now();
    let checked = history.check();
    println!("{count} operations, of which {open} may be done or not, checked in {:?}", begun.elapsed());
    assert_eq!(checked, Ok(()), "seed {seed}");
}
