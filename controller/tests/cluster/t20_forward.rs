//! Goal: what a follower passes on goes together, is stamped by the leader, and is never a leader's own decision.

use std::collections::BTreeSet;

use crate::running::{Running, found, join, own_record, until};
use crate::t20_three_nodes::three;
use coracle_controller::model::COMMAND_FORMAT;
use coracle_proto::codec::node_to_wire;
use coracle_proto::pb::process_client::ProcessClient;
use coracle_proto::pb::{self, InspectRequest, JoinRequest, ProposeRequest, command, record};
use coracle_proto::status::{Code, Refusal};
use futures::future::join_all;
use prost::Message as _;

/// Two controllers, and the one of them that leads.
async fn two() -> (Vec<tempfile::TempDir>, Running, Running) {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let leader = found(dirs[0].path());
    let follower = join(dirs[1].path(), &[leader.seed()]).await;
    for node in [&leader, &follower] {
        until("two voters", async || {
            let status = node.status().await.filter(|status| status.quorum && status.leader == 1)?;
            (status.nodes.iter().filter(|node| node.voter).count() == 2).then_some(())
        })
        .await;
    }
    (dirs, leader, follower)
}

async fn counted(node: &Running, name: &str) -> u64 {
    let inspected = ProcessClient::new(node.channel()).inspect(InspectRequest { metrics: true }).await;
    let text = inspected.unwrap().into_inner().metrics;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("coracle_{name}_total ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

fn joining(request: u8) -> JoinRequest {
    JoinRequest {
        node: Some(node_to_wire(&own_record("worker"))),
        request_id: vec![request; 16].into(),
        ..JoinRequest::default()
    }
}

/// The id of one that joins by way of this node. On a busy machine a leader may miss its majority for a while: who is told
/// so asks again, as every client does.
async fn joined(node: &Running, request: u8) -> u64 {
    let joined = until("an id", async || match node.control().join(joining(request)).await {
        Ok(reply) => Some(reply.into_inner()),
        Err(status) => {
            let refused = Refusal::from_status(&status);
            assert!(matches!(refused.code, Code::NoQuorum | Code::OutcomeUnknown), "{refused}");
            None
        }
    });
    joined.await.node_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_changes_by_way_of_a_follower_go_together() {
    let (_dirs, leader, follower) = two().await;
    let (before, batches) = (
        counted(&follower, "proposals_forwarded").await,
        counted(&follower, "proposals_forward_batches").await,
    );
    let many = 1..=200_u8;
    let asked = many.clone().map(|request| joined(&follower, request));
    let ids: BTreeSet<u64> = join_all(asked).await.into_iter().collect();
    assert_eq!(ids.len(), many.len(), "each its own");
    let forwarded = counted(&follower, "proposals_forwarded").await - before;
    let together = counted(&follower, "proposals_forward_batches").await - batches;
    println!("{forwarded} proposals in {together} messages");
    assert!(forwarded >= 200 && together * 2 < forwarded, "{forwarded} proposals in {together} messages");
    let first = ids.first().copied().unwrap();
    let again = join_all(many.map(|request| joined(&follower, request)));
    assert_eq!(again.await.into_iter().min(), Some(first), "a repeated request has its first answer");
    follower.stop().await;
    leader.stop().await;
}

/// The stream breaks with changes on it: each is asked of the next leader under the same request id, and done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_under_way_outlive_their_leader() {
    let (_dirs, mut nodes) = three().await;
    let leads = nodes[0].status().await.unwrap().leader;
    let at = nodes.iter().position(|node| node.id.get() == leads).unwrap();
    let leader = nodes.remove(at);
    let many = 1..=100_u8;
    let asked = join_all(many.clone().map(|request| joined(&nodes[0], request)));
    let stopped = async {
        until("some are done", async || {
            let status = nodes[0].admin().status(pb::StatusRequest { stale: true }).await.ok()?.into_inner();
            (status.nodes.len() > 3).then_some(())
        })
        .await;
        leader.stop().await;
    };
    let (ids, _) = tokio::join!(asked, stopped);
    let ids: BTreeSet<u64> = ids.into_iter().collect();
    assert_eq!(ids.len(), many.len(), "each has an id of its own");
    let status = until("a status", async || nodes[0].status().await.filter(|status| status.quorum)).await;
    assert_eq!(status.nodes.len(), 3 + many.len(), "and none has two");
    for node in nodes {
        node.stop().await;
    }
}

fn envelope(node: &Running, request: u8) -> pb::Envelope {
    pb::Envelope {
        cluster_id: node.identity.cluster.to_wire(),
        request_id: vec![request; 16].into(),
        since: 1,
        command: Some(pb::Command {
            kind: Some(command::Kind::SetVotersWanted(pb::SetVotersWanted { voters: 3 })),
        }),
        ..pb::Envelope::default()
    }
}

async fn cluster_of(node: &Running) -> pb::Cluster {
    let records = node.records().await.into_iter();
    let mut clusters = records.filter_map(|record| match record {
        record::Value::Cluster(cluster) => Some(cluster),
        _ => None,
    });
    clusters.next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_leader_stamps_what_is_passed_on() {
    let (_dirs, leader, follower) = two().await;
    let before = cluster_of(&leader).await.time_ms;
    let ten_years = 10 * 365 * 24 * 3_600_000;
    let wrong = pb::Envelope { time_ms: before + ten_years, ..envelope(&leader, 1) };
    leader.control().propose(ProposeRequest { envelope: wrong.encode_to_vec().into() }).await.unwrap();
    let after = cluster_of(&leader).await.time_ms;
    assert!((before..before + 600_000).contains(&after), "{before} went on to {after}");
    follower.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_format_rises_and_decisions_are_not_passed_on() {
    let (_dirs, leader, follower) = two().await;
    let status = until("the format that both read", async || {
        leader.status().await.filter(|status| status.format == COMMAND_FORMAT)
    })
    .await;
    assert!(status.nodes.iter().all(|node| node.format == COMMAND_FORMAT), "{:?}", status.nodes);
    for term in [status.term, status.term + 1] {
        let decided = pb::Envelope { term, format: 2, ..envelope(&leader, 2) };
        let asked = ProposeRequest { envelope: decided.encode_to_vec().into() };
        let refused = Refusal::from_status(&leader.control().propose(asked).await.unwrap_err());
        assert_eq!(refused.code, Code::Conflict, "{refused}");
    }
    follower.stop().await;
    leader.stop().await;
}
