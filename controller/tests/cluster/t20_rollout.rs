//! Goal: a deploy ends when every gateway knows of it, and waits for nothing else.

use std::time::{Duration, Instant};

use coracle_proto::pb::record::Value;
use coracle_proto::pb::{Deploy, DeployRequest, RolloutEvent, RolloutRequest};
use tonic::Streaming;

use crate::running::{Running, WAIT, found, until};
use crate::worker::{Worker, gateway, worker};

/// How long a gateway that does not hear of it is waited for.
const GATEWAYS_WAIT: Duration = Duration::from_secs(2);

fn deploy(name: &str, digest: u8) -> DeployRequest {
    let deploy = Deploy { name: name.into(), digest: vec![digest; 32].into(), ..Deploy::default() };
    DeployRequest { context: None, deploy: Some(deploy) }
}

#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn now() -> Instant {
    Instant::now()
}

async fn revision(node: &Running) -> u64 {
    until("a status", async || node.status().await).await.revision
}

/// Deploys a function on both workers, which are ready at once, and waits until both are counted.
async fn comes_up(node: &Running, workers: &[Worker; 2], name: &str, digest: u8) {
    workers.iter().for_each(|worker| worker.holds(&[digest; 32], 0));
    node.admin().deploy(deploy(name, digest)).await.unwrap();
    let epochs = async || {
        let of = |value| match value {
            Value::Replica(replica) if replica.name == name => Some((replica.node, replica.epoch)),
            _ => None,
        };
        let epochs: Vec<_> = node.records().await.into_iter().filter_map(of).collect();
        (epochs.len() == 2).then_some(epochs)
    };
    for (id, epoch) in until("two assigned nodes", epochs).await {
        let worker = workers.iter().find(|worker| worker.id == id).expect("one of them");
        worker.is_ready(name, 1, epoch);
    }
    event(&mut rollout(node, name).await, |event| event.ready == 2).await;
}

async fn rollout(node: &Running, name: &str) -> Streaming<RolloutEvent> {
    let asked = RolloutRequest { name: name.into(), ..RolloutRequest::default() };
    node.admin().rollout(asked).await.unwrap().into_inner()
}

/// The first event for which something is so.
async fn event(events: &mut Streaming<RolloutEvent>, is_so: impl Fn(&RolloutEvent) -> bool) -> RolloutEvent {
    let next = async {
        loop {
            let event = events.message().await.unwrap().expect("the rollout ended");
            if is_so(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(WAIT, next).await.expect("it is never so")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_waits_for_a_gateway_that_does_not_know_of_it_and_not_for_news_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a cluster", async || node.status().await.filter(|it| it.quorum && it.nodes.len() == 1)).await;
    let workers = [gateway(&node, 101).await, worker(&node, 102).await];
    let routes_by = |revision| workers[0].says.lock().unwrap().routing_revision = revision;
    routes_by(revision(&node).await);

    comes_up(&node, &workers, "hello", 7).await;
    let begun = now();
    let mut events = rollout(&node, "hello").await;
    let ready = event(&mut events, |event| event.ready == 2).await;
    assert!(!ready.done, "the gateway does not know of it");
    let known = revision(&node).await;
    routes_by(known);
    event(&mut events, |event| event.done).await;
    let took = begun.elapsed();
    assert!(took < GATEWAYS_WAIT, "{took:?}: it did not end because the gateway knows");

    // The gateway hears nothing of another function: what it knows of this one is all there is to know.
    comes_up(&node, &workers, "other", 8).await;
    assert!(revision(&node).await > known);
    let begun = now();
    event(&mut rollout(&node, "hello").await, |event| event.done).await;
    let took = begun.elapsed();
    println!("an unchanged function: {took:.0?}");
    assert!(took < GATEWAYS_WAIT / 2, "{took:?}: it waited for what is no matter of its own");
    node.stop().await;
}
