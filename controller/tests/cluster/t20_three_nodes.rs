//! Goal: nodes join and become voters; any of them takes changes; when the leader goes the others go on.

use std::time::{Duration, Instant};

use crate::running::{Running, WAIT, found, join, own_record, start, until};
use coracle_proto::codec::node_to_wire;
use coracle_proto::pb::raft::raft_transport_client::RaftTransportClient;
use coracle_proto::pb::raft::{Header, Vote, VoteRequest};
use coracle_proto::pb::{
    JoinRequest, ListNodesRequest, NodeDetail, NodeState, RemoveNodeRequest, Scope, StatusReply,
    WatchRequest, scope,
};
use coracle_proto::status::{Code, Refusal};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Open requests get so long to end: one stream that is waited for takes it whole.
const DRAIN: Duration = Duration::from_secs(5);

fn voters(status: &StatusReply) -> usize {
    status.nodes.iter().filter(|node| node.voter).count()
}

pub(crate) async fn three() -> (Vec<tempfile::TempDir>, Vec<Running>) {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = found(dirs[0].path());
    let seeds = [first.seed()];
    let mut nodes = vec![first];
    for dir in &dirs[1..] {
        nodes.push(join(dir.path(), &seeds).await);
    }
    assert_eq!(nodes.iter().map(|node| node.id.get()).collect::<Vec<_>>(), [1, 2, 3]);
    for node in &nodes {
        until("three voters", async || node.status().await.filter(|status| voters(status) == 3)).await;
    }
    (dirs, nodes)
}

/// A change by way of this node: another worker joins, its id is answered.
async fn change(node: &Running, request: u8) -> Option<u64> {
    let asked = JoinRequest {
        node: Some(node_to_wire(&own_record("worker"))),
        request_id: vec![request; 16].into(),
        ..JoinRequest::default()
    };
    node.control().join(asked).await.ok().map(|reply| reply.into_inner().node_id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_controller_takes_changes_and_all_agree() {
    let (_dirs, nodes) = three().await;
    let mut ids = Vec::new();
    for (request, node) in (1..).zip(&nodes) {
        ids.push(change(node, request).await.expect("a change at every node"));
    }
    assert_eq!(ids, [4, 5, 6], "allocated from one log");
    for node in &nodes {
        let listed = node.admin().list_nodes(ListNodesRequest { stale: false }).await.unwrap().into_inner();
        assert_eq!(listed.nodes.len(), 6, "a linearizable read at node {}", node.id);
    }
    let hashes = until("one revision everywhere", async || {
        let mut hashes = std::collections::BTreeMap::new();
        for node in &nodes {
            let status = node.status().await?;
            hashes.entry(status.revision).or_insert_with(Vec::new).push(status.state_hash);
        }
        (hashes.len() == 1).then(|| hashes.into_values().next())
    })
    .await
    .unwrap();
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "one hash at one revision: {hashes:?}");
    for node in nodes {
        node.stop().await;
    }
}

/// Each of the others holds streams of Raft open to it, a data plane a watch, a prober one of health.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_controller_that_ends_says_so_and_waits_for_no_open_stream() {
    let (_dirs, mut nodes) = three().await;
    for node in [nodes.pop().unwrap(), nodes.remove(0)] {
        let scope = Some(Scope { kind: Some(scope::Kind::Gateway(Default::default())) });
        let watch = WatchRequest { scope, ..WatchRequest::default() };
        let mut frames = node.control().watch(watch).await.unwrap().into_inner();
        assert!(frames.message().await.unwrap().is_some());
        let mut health = HealthClient::new(node.channel());
        let mut told = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(told.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        #[expect(clippy::disallowed_methods, reason = "this test measures time")]
        let begun = Instant::now();
        let stopping = tokio::spawn(node.stop());
        let last = tokio::time::timeout(WAIT, told.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(last.status(), ServingStatus::NotServing);
        drop(told);
        stopping.await.unwrap();
        println!("ended after {:?}", begun.elapsed());
        assert!(begun.elapsed() < DRAIN, "{:?}", begun.elapsed());
        while let Ok(Some(_)) = frames.message().await {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_others_go_on_without_the_leader() {
    let (_dirs, mut nodes) = three().await;
    let leader = nodes[0].status().await.unwrap().leader;
    let at = nodes.iter().position(|node| node.id.get() == leader).unwrap();
    let (dir, identity, address) = nodes.remove(at).stop().await;
    let id = until("a change without the old leader", async || change(&nodes[0], 9).await).await;
    assert_eq!(change(&nodes[1], 9).await, Some(id), "the same request has the same answer");
    let status = until("another leader", async || {
        nodes[0].status().await.filter(|status| status.quorum && status.leader != leader)
    })
    .await;
    let back = start(&dir, identity, address);
    let caught_up = async || back.status().await.filter(|now| now.quorum && now.revision >= status.revision);
    until("the old leader catches up", caught_up).await;
    back.stop().await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removed_node_votes_no_more_and_its_id_is_not_used_again() {
    let (_dirs, nodes) = three().await;
    let leader = nodes[0].status().await.unwrap().leader;
    let (going, staying): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.id.get() == leader);
    let asked = RemoveNodeRequest { context: None, node: leader, force: false };
    // Asked of the very node that goes: its log ends before its record does, and the answer comes all the same.
    let mut admin = going[0].admin();
    tokio::time::timeout(WAIT, admin.remove_node(asked)).await.expect("an answer").unwrap();
    let status = until("two nodes that vote", async || {
        staying[0].status().await.filter(|status| status.nodes.len() == 2 && voters(status) == 2)
    })
    .await;
    assert_ne!(status.leader, leader);
    assert_eq!(change(&staying[1], 5).await, Some(4));
    for node in going {
        let ended = node.ended().await.unwrap_err();
        assert!(ended.is_configuration() && ended.code() == Some(Code::NodeRemoved), "{ended}");
    }
    for node in staying {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_minority_refuses_changes_and_shows_what_it_knows() {
    let (_dirs, mut nodes) = three().await;
    let last = nodes.pop().unwrap();
    for node in nodes {
        node.stop().await;
    }
    // Before it knows that it is alone, a change may be written to its log: then its outcome is unknown.
    until("a refusal that says that nothing was done", async || {
        let asked = JoinRequest {
            node: Some(node_to_wire(&own_record("worker"))),
            request_id: vec![1; 16].into(),
            ..JoinRequest::default()
        };
        let answer = tokio::time::timeout(WAIT / 4, last.control().join(asked)).await;
        let refused = Refusal::from_status(&answer.expect("no endless wait").unwrap_err());
        assert!(matches!(refused.code, Code::NoQuorum | Code::OutcomeUnknown), "{refused}");
        (refused.code == Code::NoQuorum).then_some(())
    })
    .await;
    let status = last.status().await.unwrap();
    assert!(status.alarms.iter().any(|alarm| alarm.starts_with("no-quorum")), "{:?}", status.alarms);
    assert!(last.admin().list_nodes(ListNodesRequest { stale: false }).await.is_err());
    let stale = last.admin().list_nodes(ListNodesRequest { stale: true }).await.unwrap().into_inner();
    assert_eq!(stale.nodes.len(), 3);
    last.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_controller_whose_store_is_gone_is_an_alarm() {
    let (_dirs, mut nodes) = three().await;
    let leader = nodes[0].status().await.unwrap().leader;
    let at = nodes.iter().position(|node| node.id.get() != leader).unwrap();
    let wiped = nodes.remove(at);
    let id = wiped.id;
    let (dir, identity, address) = wiped.stop().await;
    std::fs::remove_dir_all(dir.join("raft")).unwrap();
    std::fs::remove_file(dir.join("begun")).unwrap();
    let wiped = start(&dir, identity, address);
    let alarm = format!("other-store: node {id} has lost what it had");
    for node in &nodes {
        until("it is told everywhere", async || {
            let status = node.status().await?;
            status.alarms.iter().any(|told| told.starts_with(&alarm)).then_some(())
        })
        .await;
    }
    for node in nodes.into_iter().chain([wiped]) {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_term_that_no_election_led_to_is_an_alarm_and_changes_go_on() {
    let (_dirs, nodes) = three().await;
    for node in &nodes {
        let header = Header {
            cluster: node.identity.cluster.to_wire(),
            from: 9,
            to: node.id.get(),
            ..Header::default()
        };
        let vote = Some(Vote { term: u64::MAX, node: 9, committed: true });
        let forged = VoteRequest { header: Some(header), vote, ..VoteRequest::default() };
        assert!(RaftTransportClient::new(node.channel()).vote(forged).await.is_err());
        let status = node.status().await.expect("it goes on");
        let said = format!("absurd-term: node 9 sent term {}", u64::MAX);
        assert!(status.alarms.iter().any(|alarm| alarm.starts_with(&said)), "{:?}", status.alarms);
    }
    assert!(change(&nodes[0], 1).await.is_some());
    for node in nodes {
        node.stop().await;
    }
}

/// These controllers have no data plane: each speaks for itself, so the living are not among the silent, and a dead
/// one is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_controller_without_a_data_plane_is_judged_like_any_node() {
    let (_dirs, mut nodes) = three().await;
    let leader = nodes[0].status().await.unwrap().leader;
    let at = nodes.iter().position(|node| node.id.get() != leader).unwrap();
    let gone = nodes.remove(at);
    let id = gone.id.get();
    gone.stop().await;
    until("it is declared dead, and nobody else", async || {
        let status = nodes[0].status().await?;
        let dead = |it: &&NodeDetail| it.node.as_ref().is_some_and(|node| node.state() == NodeState::Dead);
        let dead: Vec<_> =
            status.nodes.iter().filter(dead).filter_map(|it| Some(it.node.as_ref()?.id)).collect();
        (dead == [id]).then_some(())
    })
    .await;
    for node in nodes {
        node.stop().await;
    }
}
