//! Goal: a deploy takes no calls away before its version is ready, and says what waits.

use std::collections::BTreeMap;

use coracle_proto::pb::record::Value;
use coracle_proto::pb::{
    Deploy, DeployRequest, FunctionDetail, GetFunctionRequest, RollbackRequest, RolloutRequest,
};

use crate::running::{Running, WAIT, found, until};
use crate::worker::{Worker, worker};

const DIGESTS: [[u8; 32]; 2] = [[7; 32], [8; 32]];

fn deploy(digest: [u8; 32]) -> DeployRequest {
    let deploy = Deploy { name: "hello".into(), digest: digest.to_vec().into(), ..Deploy::default() };
    DeployRequest { context: None, deploy: Some(deploy) }
}

async fn detail(node: &Running) -> FunctionDetail {
    let asked = GetFunctionRequest { name: "hello".into(), ..GetFunctionRequest::default() };
    node.admin().get_function(asked).await.unwrap().into_inner()
}

/// Versions that take calls, and those that wait for them.
async fn traffic(node: &Running) -> (Vec<u64>, Vec<u64>) {
    let function = detail(node).await.function.unwrap();
    let numbers = |parts: Vec<coracle_proto::pb::Weight>| parts.iter().map(|part| part.version).collect();
    (numbers(function.traffic), numbers(function.next))
}

/// The epochs of a version's replicas, by node.
async fn epochs(node: &Running, version: u64) -> BTreeMap<u64, u64> {
    let replica = |value| match value {
        Value::Replica(replica) if replica.version == version => Some((replica.node, replica.epoch)),
        _ => None,
    };
    node.records().await.into_iter().filter_map(replica).collect()
}

async fn placed(node: &Running, version: u64) -> BTreeMap<u64, u64> {
    until("two nodes hold it", async || Some(epochs(node, version).await).filter(|held| held.len() == 2))
        .await
}

fn make_ready(workers: &[Worker], version: u64, held: &BTreeMap<u64, u64>) {
    for worker in workers {
        if let Some(epoch) = held.get(&worker.id) {
            worker.is_ready("hello", version, *epoch);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_version_that_does_not_get_ready_takes_no_calls() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a cluster", async || node.status().await.filter(|it| it.quorum && it.nodes.len() == 1)).await;
    let workers = [worker(&node, 101).await, worker(&node, 102).await];
    for worker in &workers {
        DIGESTS.iter().for_each(|digest| worker.holds(digest, 0));
    }
    node.admin().deploy(deploy(DIGESTS[0])).await.unwrap();
    assert_eq!(traffic(&node).await, (vec![1], vec![]), "the first version has nothing to wait behind");
    let first = placed(&node, 1).await;
    make_ready(&workers, 1, &first);

    node.admin().deploy(deploy(DIGESTS[1])).await.unwrap();
    let second = placed(&node, 2).await;
    assert_eq!(epochs(&node, 1).await, first, "the version before is held on");
    assert_eq!(traffic(&node).await, (vec![1], vec![2]));
    let listed = node.status().await.unwrap().functions.remove(0);
    assert_eq!((listed.version, listed.pending), (1, 2));
    let rollout = RolloutRequest { name: "hello".into(), ..RolloutRequest::default() };
    let mut events = node.admin().rollout(rollout).await.unwrap().into_inner();
    let event = tokio::time::timeout(WAIT, events.message()).await.unwrap().unwrap().unwrap();
    assert!(!event.done, "whoever waits for the deploy waits: {event:?}");

    // Given up: nothing has to get ready for that.
    let back = RollbackRequest { name: "hello".into(), ..RollbackRequest::default() };
    assert_eq!(node.admin().rollback(back).await.unwrap().into_inner().version, 1);
    assert_eq!(traffic(&node).await, (vec![1], vec![]));
    until("what nobody wants ends", async || epochs(&node, 2).await.is_empty().then_some(())).await;

    node.admin().deploy(deploy(DIGESTS[1])).await.unwrap();
    let third = traffic(&node).await.1.first().copied().unwrap_or(2);
    let held = placed(&node, third).await;
    assert!(held.values().min() > second.values().max(), "assigned anew");
    make_ready(&workers, third, &held);
    until("its calls", async || (traffic(&node).await == (vec![third], vec![])).then_some(())).await;
    until("the one before ends", async || epochs(&node, 1).await.is_empty().then_some(())).await;
    assert_eq!(node.status().await.unwrap().functions[0].pending, 0);
    node.stop().await;
}
