//! Goal: what is deployed is placed, comes up, moves when its node dies; artifacts are copied and removed on order.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::pb::{
    ChangeContext, Deploy, DeployRequest, GetFunctionRequest, LogsRequest, RemoveNodeRequest,
    RollbackRequest, RolloutRequest, UploadChunk, logs_event, record::Value, upload_event,
};
use coracle_proto::status::{Code, Refusal};

use crate::running::{Running, WAIT, found, join, until};
use crate::worker::{Worker, freezes, worker};

const DIGEST: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];
/// A worker that takes an upload and falls silent is noticed within this.
const SILENT_MAX: Duration = Duration::from_secs(5);

fn hello() -> DeployRequest {
    let deploy = Deploy { name: "hello".into(), digest: DIGEST.to_vec().into(), ..Deploy::default() };
    DeployRequest { context: None, deploy: Some(deploy) }
}

/// The assigned nodes with their epochs.
async fn assigned(node: &Running) -> BTreeMap<u64, u64> {
    let replica = |value| match value {
        Value::Replica(replica) => Some((replica.node, replica.epoch)),
        _ => None,
    };
    node.records().await.into_iter().filter_map(replica).collect()
}

async fn two_on(node: &Running, but: u64) -> BTreeMap<u64, u64> {
    until("two assigned nodes", async || {
        Some(assigned(node).await).filter(|nodes| nodes.len() == 2 && !nodes.contains_key(&but))
    })
    .await
}

async fn founded() -> (tempfile::TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a cluster", async || node.status().await.filter(|it| it.quorum && it.nodes.len() == 1)).await;
    (dir, node)
}

async fn workers(to: &Running) -> Vec<Worker> {
    let mut workers = Vec::new();
    for request in 101..104 {
        workers.push(worker(to, request).await);
    }
    workers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_is_placed_comes_up_and_moves() {
    let (_dir, node) = founded().await;
    let workers = workers(&node).await;
    let refused = node.admin().deploy(hello()).await.unwrap_err();
    assert_eq!(Refusal::from_status(&refused).code, Code::ArtifactMissing);
    workers[0].holds(&DIGEST, 0);
    let refused = node.admin().deploy(hello()).await.unwrap_err();
    assert_eq!(Refusal::from_status(&refused).code, Code::ArtifactMissing, "one copy is too few");
    workers[1].holds(&DIGEST, 0);
    let deployed = node.admin().deploy(hello()).await.unwrap().into_inner();
    assert_eq!((deployed.version, deployed.unchanged), (1, false));

    let rollout = RolloutRequest { name: "hello".into(), ..RolloutRequest::default() };
    let mut events = node.admin().rollout(rollout).await.unwrap().into_inner();
    let first = two_on(&node, 1).await;
    for worker in workers.iter().filter(|worker| first.contains_key(&worker.id)) {
        worker.is_ready("hello", 1, first[&worker.id]);
    }
    let last = async {
        let mut last = None;
        while let Some(event) = events.message().await.unwrap() {
            last = Some(event);
        }
        last.unwrap()
    };
    let last = tokio::time::timeout(WAIT, last).await.expect("the rollout ends");
    assert!(last.done && last.ready == 2, "{last:?}");

    let third = workers.iter().find(|worker| !first.contains_key(&worker.id)).unwrap();
    let dead = workers.iter().find(|worker| first.contains_key(&worker.id)).unwrap();
    let hold = async || Some(workers[2].orders()).filter(|orders| orders.hold == [DIGEST.to_vec()]);
    let orders = until("an order for the third copy", hold).await;
    assert!(!orders.sources.is_empty(), "from somewhere");
    dead.falls_silent();
    let epoch = until("a replacement", async || assigned(&node).await.get(&third.id).copied()).await;
    // Only when it is ready does the old assignment end.
    third.is_ready("hello", 1, epoch);
    let moved = two_on(&node, dead.id).await;
    let kept = moved.iter().filter(|(node, epoch)| first.get(node) == Some(epoch)).count();
    assert_eq!(kept, 1, "what stands stays: {first:?} then {moved:?}");
    assert!(moved.contains_key(&third.id));
    let asked = LogsRequest { name: "hello".into(), ..LogsRequest::default() };
    let mut logs = node.admin().logs(asked).await.unwrap().into_inner();
    let mut gaps = Vec::new();
    while let Some(event) = logs.message().await.unwrap() {
        let Some(logs_event::Kind::Gap(gap)) = event.kind else { panic!("no record was written") };
        gaps.push(gap.node);
    }
    gaps.sort_unstable();
    assert_eq!(gaps, [2, 3, 4], "who cannot answer is named");
    let asked = GetFunctionRequest { name: "hello".into(), ..GetFunctionRequest::default() };
    let detail = node.admin().get_function(asked).await.unwrap().into_inner();
    assert_eq!((detail.versions.len(), detail.replicas.len()), (1, 2));
    node.stop().await;
}

/// A holder that died a moment ago still counts as live: a deploy waits until it is back, or is known to be gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deploy_waits_for_a_worker_that_does_not_answer() {
    let (_dir, node) = founded().await;
    let workers = [worker(&node, 101).await, worker(&node, 102).await];
    for worker in &workers {
        worker.holds(&DIGEST, 0);
    }
    let reported = |worker: &Worker| worker.orders().interval_ms > 0;
    until("both have reported", async || workers.iter().all(reported).then_some(())).await;
    let before = workers[1].says.lock().unwrap().asked;
    workers[1].says.lock().unwrap().unanswered = 1;
    node.admin().deploy(hello()).await.unwrap();
    let asked = workers[1].says.lock().unwrap().asked - before;
    assert!(asked >= 2, "asked {asked} times: it did not answer at first");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn orders_reach_workers_that_report_to_a_follower() {
    let (_dir, leader) = founded().await;
    let dir = tempfile::tempdir().unwrap();
    let follower = join(dir.path(), &[leader.seed()]).await;
    until("a follower", async || follower.status().await.filter(|it| it.quorum && it.leader == 1)).await;
    let worker = worker(&follower, 101).await;
    worker.holds(&OTHER, 700_000);
    worker.holds(&DIGEST, 1);
    let removal =
        until("an order to remove what no version names", async || worker.orders().remove.first().cloned())
            .await;
    assert_eq!(removal.digest, OTHER.to_vec());
    assert!(removal.revision > 0 && removal.older_than_ms == 600_000);
    assert_eq!(worker.orders().remove.len(), 1, "the grace of the other one has not passed");
    follower.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_goes_past_a_worker_that_is_frozen() {
    let (_dir, node) = founded().await;
    // The first by its number: it would be chosen.
    let ((frozen, _), worker) = (freezes(&node, 101, true).await, worker(&node, 102).await);
    assert!(frozen.id < worker.id);
    for _ in 0..2 {
        let chunk = UploadChunk { data: vec![1; 1000].into(), ..UploadChunk::default() };
        let upload = async {
            let events = node.admin().upload(tokio_stream::iter([chunk])).await.unwrap();
            events.into_inner().message().await.unwrap().unwrap().kind
        };
        let end = tokio::time::timeout(Duration::from_secs(10), upload).await.expect("no wait for it");
        assert!(matches!(end, Some(upload_event::Kind::Stored(_))), "{end:?}");
    }
    assert_eq!(worker.says.lock().unwrap().uploads_ended, 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_goes_to_the_worker_with_the_least_to_compile() {
    let (_dir, node) = founded().await;
    let workers = workers(&node).await;
    for (worker, bytes) in workers.iter().zip([48 << 20, 12 << 20, 24 << 20]) {
        worker.says.lock().unwrap().compile_bytes = bytes;
    }
    let upload = async || {
        let chunk = UploadChunk { data: vec![1; 1000].into(), ..UploadChunk::default() };
        let events = node.admin().upload(tokio_stream::iter([chunk])).await.unwrap();
        events.into_inner().message().await.unwrap().unwrap();
        workers.iter().map(|worker| worker.says.lock().unwrap().uploads_ended).collect::<Vec<_>>()
    };
    assert_eq!(upload().await, [0, 1, 0]);
    workers[1].says.lock().unwrap().compile_bytes = 36 << 20;
    assert_eq!(upload().await, [0, 1, 1]);
    node.stop().await;
}

/// It would wait for its whole time, and hold a place of the few that there are for uploads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_ends_when_its_worker_freezes() {
    let (_dir, node) = founded().await;
    let (worker, freeze) = freezes(&node, 101, false).await;
    let (sender, queue) = tokio::sync::mpsc::channel(1);
    let mut upload = node.admin().upload(tokio_stream::wrappers::ReceiverStream::new(queue)).await.unwrap();
    let chunk = || UploadChunk { data: vec![1; 200_000].into(), ..UploadChunk::default() };
    sender.send(chunk()).await.unwrap();
    let received = async || (worker.says.lock().unwrap().received == 200_000).then_some(());
    until("the first chunk arrives", received).await;
    freeze.send_replace(true);
    sender.send(chunk()).await.unwrap();
    let end = tokio::time::timeout(5 * SILENT_MAX, upload.get_mut().message()).await.expect("no wait for it");
    let refused = Refusal::from_status(&end.unwrap_err());
    assert_eq!(refused.code, Code::NoWorker, "{refused}");
    assert!(refused.message.contains("upload it again"), "{refused}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uploads_are_passed_on_and_end_on_both_sides() {
    let (_dir, node) = founded().await;
    let worker = worker(&node, 101).await;
    let chunk = || UploadChunk { data: vec![1; 200_000].into(), ..UploadChunk::default() };
    let chunks = tokio_stream::iter(std::iter::repeat_with(chunk).take(20));
    let mut events = node.admin().upload(chunks).await.unwrap().into_inner();
    let Some(upload_event::Kind::Stored(stored)) = events.message().await.unwrap().unwrap().kind else {
        panic!("the worker's answer comes back")
    };
    assert_eq!(stored.size, 4_000_000);

    let (sender, queue) = tokio::sync::mpsc::channel(1);
    let left = node.admin().upload(tokio_stream::wrappers::ReceiverStream::new(queue)).await.unwrap();
    sender.send(chunk()).await.unwrap();
    let says = || worker.says.lock().unwrap().clone();
    until("the first chunk arrives", async || (says().received == 200_000).then_some(())).await;
    drop((left, sender));
    until("the worker's side ends too", async || (says().uploads_ended == 2).then_some(())).await;
    node.stop().await;
}

/// A client whose answer was lost asks again, and what it asked for has changed the cluster meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeated_request_is_answered_as_it_was_at_first() {
    let (_dir, node) = founded().await;
    let workers = workers(&node).await;
    for worker in &workers[..2] {
        worker.holds(&DIGEST, 0);
        worker.holds(&OTHER, 0);
    }
    node.admin().deploy(hello()).await.unwrap();
    let context =
        |request: u8| Some(ChangeContext { request_id: vec![request; 16].into(), since: 1, expected: 0 });
    let second = |request| {
        let deploy = Deploy { name: "hello".into(), digest: OTHER.to_vec().into(), ..Deploy::default() };
        DeployRequest { context: context(request), deploy: Some(deploy) }
    };
    let deployed = node.admin().deploy(second(1)).await.unwrap().into_inner();
    assert_eq!(deployed.version, 2);
    workers[0].says.lock().unwrap().artifacts.clear();
    assert_eq!(node.admin().deploy(second(1)).await.unwrap().into_inner(), deployed);
    let refused = node.admin().deploy(second(2)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&refused).code, Code::ArtifactMissing, "a new one needs its copies");

    let back = RollbackRequest { context: context(3), name: "hello".into(), ..RollbackRequest::default() };
    let rolled = node.admin().rollback(back.clone()).await.unwrap().into_inner();
    assert_eq!(rolled.version, 1);
    assert_eq!(
        node.admin().rollback(back).await.unwrap().into_inner(),
        rolled,
        "not one version further back"
    );

    let asked = |request| RemoveNodeRequest { context: context(request), node: workers[2].id, force: true };
    node.admin().remove_node(asked(4)).await.unwrap();
    node.admin().remove_node(asked(4)).await.unwrap();
    let refused = node.admin().remove_node(asked(5)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&refused).code, Code::NodeNotFound);
    node.stop().await;
}

/// The one that is removed by force lives on, as a worker and as a voter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_are_alive_can_be_removed_by_force() {
    let (_dir, node) = founded().await;
    let dir = tempfile::tempdir().unwrap();
    let voter = join(dir.path(), &[node.seed()]).await;
    let worker = worker(&node, 101).await;
    until("two voters", async || {
        node.status().await.filter(|it| it.nodes.iter().filter(|node| node.voter).count() == 2)
    })
    .await;
    for id in [worker.id, voter.id.get()] {
        let asked = RemoveNodeRequest { context: None, node: id, force: true };
        node.admin().remove_node(asked).await.unwrap();
        let left = node.status().await.unwrap().nodes;
        assert!(left.iter().all(|detail| detail.node.as_ref().unwrap().id != id), "{left:?}");
    }
    let ended = voter.ended().await.unwrap_err();
    assert_eq!(ended.code(), Some(Code::NodeRemoved), "it is told while it runs: {ended}");
    node.stop().await;
}
