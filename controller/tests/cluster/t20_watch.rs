//! Goal: followers of the watch get a snapshot, then changes; they resume by revision; soft state passes in the same stream.

use crate::running::{Running, WAIT, found, let_in, own_record, start, until};
use coracle_proto::codec::node_to_wire;
use coracle_proto::pb::{
    AllScope, Freshness, GatewayScope, JoinRequest, NodeStatus, ReplicaPhase, ReplicaStatus, Scope,
    WatchFrame, WatchRequest, scope, watch_frame::Body,
};
use coracle_proto::status::{Code, Refusal};
use tonic::Streaming;

fn gateway() -> scope::Kind {
    scope::Kind::Gateway(GatewayScope {})
}

async fn follow(node: &Running, scope: scope::Kind, revision: u64) -> Streaming<WatchFrame> {
    let asked = WatchRequest {
        cluster_id: node.identity.cluster.to_wire(),
        scope: Some(Scope { kind: Some(scope) }),
        revision,
    };
    node.control().watch(asked).await.unwrap().into_inner()
}

async fn next(frames: &mut Streaming<WatchFrame>) -> WatchFrame {
    tokio::time::timeout(WAIT, frames.message()).await.expect("a frame in time").unwrap().expect("no end")
}

async fn next_hard(frames: &mut Streaming<WatchFrame>) -> WatchFrame {
    loop {
        let frame = next(frames).await;
        if !matches!(frame.body, Some(Body::Soft(_))) {
            return frame;
        }
    }
}

async fn add_worker(node: &Running, request: u8) {
    let asked = JoinRequest {
        node: Some(node_to_wire(&own_record("worker"))),
        request_id: vec![request; 16].into(),
        ..JoinRequest::default()
    };
    node.control().join(asked).await.unwrap();
}

async fn one() -> (tempfile::TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a cluster", async || node.status().await.filter(|it| it.quorum && it.nodes.len() == 1)).await;
    (dir, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_resumes_where_it_was() {
    let (_dir, node) = one().await;
    let mut frames = follow(&node, gateway(), 0).await;
    let first = next_hard(&mut frames).await;
    let Some(Body::Snapshot(snapshot)) = &first.body else { panic!("{first:?}") };
    assert!(snapshot.last);
    assert!(
        snapshot.records.iter().all(|record| !record.key.starts_with("request/")),
        "no gateway needs them"
    );
    assert!(first.revision > 0 && first.state_hash.len() == 16);
    drop(frames);

    add_worker(&node, 1).await;
    add_worker(&node, 2).await;
    let mut resumed = follow(&node, gateway(), first.revision).await;
    let mut seen = first.revision;
    let mut added = 0;
    while added < 2 {
        let frame = next_hard(&mut resumed).await;
        assert!(frame.revision > seen, "a view never goes back");
        seen = frame.revision;
        let Some(Body::Changes(changes)) = frame.body else { panic!("no snapshot is needed") };
        added += changes.changes.iter().filter(|change| change.key.starts_with("node/")).count();
    }
    let status = node.status().await.unwrap();
    let mut ahead = follow(&node, scope::Kind::All(AllScope {}), status.revision + 1).await;
    add_worker(&node, 3).await;
    add_worker(&node, 4).await;
    let frame = next_hard(&mut ahead).await;
    assert!(frame.revision > status.revision + 1, "a follower that is ahead is given nothing older");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_show_their_part() {
    let (_dir, node) = one().await;
    add_worker(&node, 1).await;
    let mut frames = follow(&node, scope::Kind::Node(1), 0).await;
    let mut kinds = Vec::new();
    loop {
        let Some(Body::Snapshot(snapshot)) = next(&mut frames).await.body else { panic!("a snapshot first") };
        kinds.extend(snapshot.records.iter().map(|it| it.key.split('/').next().unwrap().to_owned()));
        if snapshot.last {
            break;
        }
    }
    assert_eq!(kinds, ["node", "node"]);
    let mut frames = follow(&node, scope::Kind::All(AllScope {}), 0).await;
    let Some(Body::Snapshot(snapshot)) = next_hard(&mut frames).await.body else {
        panic!("a snapshot first")
    };
    assert!(snapshot.records.iter().any(|record| record.key.starts_with("request/")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn soft_state_passes_without_a_revision() {
    let (_dir, node) = one().await;
    let statuses = node.report(&node).await;
    let mut frames = follow(&node, gateway(), 0).await;
    let hard = next_hard(&mut frames).await;
    let status = NodeStatus {
        node: 1,
        cluster_id: node.identity.cluster.to_wire(),
        incarnation: 1,
        sequence: 1,
        runtime: "pool".to_owned(),
        replicas: vec![ReplicaStatus {
            name: "a".to_owned(),
            phase: ReplicaPhase::Failed.into(),
            reason: "why".to_owned(),
            ..ReplicaStatus::default()
        }],
        ..NodeStatus::default()
    };
    statuses.send(status).await.unwrap();
    let soft = loop {
        let frame = next(&mut frames).await;
        if let Some(Body::Soft(batch)) = frame.body
            && !batch.nodes.is_empty()
        {
            assert!(frame.revision >= hard.revision);
            break batch;
        }
    };
    assert_eq!(soft.nodes[0].replicas[0].phase(), ReplicaPhase::Failed);
    let more = !soft.nodes[0].runtime.is_empty() || !soft.nodes[0].replicas[0].reason.is_empty();
    assert!(!more, "gateways are told what they route by");
    let seen = until("the report in status", async || {
        node.status().await?.nodes[0].status.clone().filter(|status| status.sequence == 1)
    })
    .await;
    assert_eq!(seen.node, 1);
    node.stop().await;
}

/// What a controller has may be old: whoever follows it is told when a leader has confirmed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_told_when_nothing_is_missing() {
    let (_dir, node) = one().await;
    add_worker(&node, 1).await;
    let committed = node.status().await.unwrap().revision;
    for seen in [0, committed] {
        let mut frames = follow(&node, gateway(), seen).await;
        let confirmed = loop {
            let frame = next(&mut frames).await;
            if frame.freshness() == Freshness::Current {
                break frame;
            }
        };
        assert!(confirmed.revision >= committed, "{} before {committed}", confirmed.revision);
    }
    node.stop().await;
}

/// Not every controller is a member of Raft's group: a data plane that waited at one that is none would be thought
/// dead by all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_the_log_does_not_reach_sends_data_planes_elsewhere() {
    let (founder_dir, founder) = one().await;
    let dir = tempfile::tempdir().unwrap();
    let mut record = own_record("late");
    record.addresses.grpc = "127.0.0.1:1".to_owned();
    let identity = let_in(&[founder.seed()], &record).await;
    founder.stop().await;
    drop(founder_dir);
    let late = start(dir.path(), identity, (std::net::Ipv4Addr::LOCALHOST, 0).into());
    let asked = WatchRequest { scope: Some(Scope { kind: Some(gateway()) }), ..WatchRequest::default() };
    let refused = late.control().watch(asked).await.map(drop).unwrap_err();
    assert_eq!(Refusal::from_status(&refused).code, Code::NoQuorum, "{refused}");
    let refused = late.control().report(tokio_stream::pending()).await.map(drop).unwrap_err();
    assert_eq!(Refusal::from_status(&refused).code, Code::NoQuorum, "{refused}");
    late.stop().await;
}
