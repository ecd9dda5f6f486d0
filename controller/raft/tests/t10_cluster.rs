//! Three members: commands, reads, members that come and go, a leader that hands over.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "harness/kv.rs"]
mod kv;
#[path = "harness/node.rs"]
mod node;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, NodeId};
use coracle_proto::pb::raft as pb;
use coracle_proto::pb::raft::raft_transport_client::RaftTransportClient;
use coracle_raft::{COMMAND_BYTES_MAX, Options, ProposeError, Role, Status};

use node::{CLUSTER, Cluster, PATIENCE, eventually, get, id, open_single, set, until};

fn number(reply: &Bytes) -> u64 {
    std::str::from_utf8(reply).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_by_its_position_and_reaches_every_member() {
    let cluster = Cluster::new(3, |_| ()).await;
    let first = number(&cluster.propose(set("a", 1)).await);
    let second = number(&cluster.propose(set("a", 2)).await);
    assert!(second > first, "{first}, then {second}");
    assert_eq!(cluster.propose(set("a", "refuse")).await, Bytes::from("refused"));
    for node in cluster.nodes.keys() {
        let node = cluster.caught_up(*node).await;
        assert_eq!(get(&node.raft, "a").as_deref(), Some("2"), "node {}", node.id);
        assert!(node.raft.status().applied.is_some_and(|applied| applied.index >= second));
    }
    let leads = |status: &Status| {
        let whole = status.voters.len() == 3 && status.followers.len() == 2 && !status.changing;
        status.role == Role::Leader && whole && status.quorum_acked.is_some()
    };
    eventually("a leader knows its members", || {
        cluster.nodes.values().any(|node| leads(&node.raft.status()))
    })
    .await;
    let store = cluster.nodes[&1].raft.store_status();
    assert!(store.syncs.count() > 0 && store.bytes > 0);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_names_the_leader_and_refuses() {
    let cluster = Cluster::new(3, |_| ()).await;
    let named = async {
        loop {
            let leader = cluster.leader().await;
            let follower = &cluster.nodes[&cluster.followers(leader.id)[0]].raft;
            match follower.propose(set("a", 1)).await {
                Err(ProposeError::NotLeader { leader: Some(hint) }) if hint.node == id(leader.id) => {
                    return assert_eq!(hint.address, leader.address.to_string());
                }
                // An election came between.
                Err(error) => println!("{error}"),
                Ok(_) => assert_ne!(cluster.leader().await.id, leader.id, "a follower took a command"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, named).await.unwrap();
    let large = Bytes::from(vec![b'='; COMMAND_BYTES_MAX + 1]);
    let refused = cluster.leader().await.raft.propose(large).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    let largest = Bytes::from([&b"a="[..], &vec![b'x'; COMMAND_BYTES_MAX - 2]].concat());
    cluster.propose(largest).await;
    for node in cluster.nodes.keys() {
        let node = &cluster.caught_up(*node).await.raft;
        assert_eq!(get(node, "a").map(|value| value.len()), Some(COMMAND_BYTES_MAX - 2));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_on_a_follower_waits_for_what_was_answered_before() {
    let cluster = Cluster::new(3, |_| ()).await;
    let follower = &cluster.nodes[&cluster.followers(cluster.leader().await.id)[0]];
    for round in 0..200 {
        cluster.propose(set("round", round)).await;
        follower.raft.read_barrier().await.unwrap();
        assert_eq!(get(&follower.raft, "round"), Some(round.to_string()));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_hands_over_when_asked() {
    let cluster = Cluster::new(3, |_| ()).await;
    cluster.propose(set("before", 1)).await;
    let (term, to) = cluster
        .at_leader(async |leader| {
            let status = leader.status();
            let to = cluster.followers(status.node.get())[1];
            leader.transfer_leader(id(to)).await.map(|()| (status.term, to))
        })
        .await;
    // It returned when the other one led.
    until(&cluster.nodes[&to].raft, "it is in a later term", |status| status.term > term).await;
    cluster.propose(set("after", 1)).await;
    let next = cluster.caught_up(to).await;
    assert_eq!(get(&next.raft, "before").as_deref(), Some("1"));
    assert_eq!(get(&next.raft, "after").as_deref(), Some("1"));
    let refused = cluster
        .at_leader(async |leader| match leader.transfer_leader(id(9)).await {
            Err(ProposeError::Membership { reason }) => Ok(reason),
            Err(error) => Err(error),
            Ok(()) => panic!("somebody who is no member leads"),
        })
        .await;
    assert!(refused.contains("node 9"), "{refused}");
    cluster.shutdown().await;
}

fn small_logs(options: &mut Options) {
    (options.limits.snapshot_every, options.limits.keep_entries) = (100, 10);
}

async fn purged(cluster: &Cluster) {
    for key in 0..350 {
        cluster.propose(set(key, "x".repeat(10_000))).await;
    }
    for node in cluster.nodes.values() {
        let purged = until(&node.raft, "the log is purged", |status| status.purged.is_some()).await;
        assert!(purged.purged.unwrap().index > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_learner_gets_a_snapshot_and_becomes_a_voter() {
    let mut cluster = Cluster::new(3, small_logs).await;
    purged(&cluster).await;
    let address = cluster.start(4, None).await.address.to_string();
    let late = &cluster.nodes[&4];
    cluster.at_leader_of(&[1, 2, 3], async |leader| leader.add_learner(id(4), address.as_str()).await).await;
    let caught_up = until(&late.raft, "it has a snapshot", |status| status.snapshot.is_some()).await;
    assert_eq!(caught_up.role, Role::Learner);
    cluster.propose(set("after", 1)).await;
    cluster.caught_up(4).await;
    assert_eq!(late.raft.state(), cluster.caught_up(1).await.raft.state());
    assert!(late.mirror.0.lock().unwrap().1 >= 2, "the observer was told of the snapshot");

    let all = BTreeSet::from([1, 2, 3, 4].map(id));
    cluster.at_leader(async |leader| leader.set_voters(&all).await).await;
    let gone = cluster.followers(cluster.leader().await.id)[0];
    let staying: Vec<_> = cluster.nodes.keys().copied().filter(|node| *node != gone).collect();
    cluster.at_leader_of(&staying, async |leader| leader.remove(id(gone)).await).await;
    let status = until(&cluster.nodes[&staying[0]].raft, "it is removed", |status| {
        !status.voters.contains_key(&id(gone)) && !status.changing
    })
    .await;
    assert_eq!(status.voters.len(), 3);
    cluster.kill(gone).await;
    // What was installed is what is on its disk.
    let address = cluster.kill(4).await;
    cluster.start(4, Some(address)).await;
    let state = cluster.caught_up(4).await.raft.state();
    let other = *staying.iter().find(|node| **node != 4).unwrap();
    assert_eq!(cluster.caught_up(other).await.raft.state(), state);
    cluster.shutdown().await;
}

/// What arrives damaged is refused whole, and the member goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_arrives_damaged_is_refused() {
    let cluster = Cluster::new(1, |_| ()).await;
    let node = cluster.leader().await;
    node.raft.propose(set("a", 1)).await.unwrap();
    let mut client = RaftTransportClient::connect(format!("http://{}", node.address)).await.unwrap();
    let header = pb::Header { cluster: CLUSTER.to_wire(), from: 9, to: 1, ..Default::default() };
    let vote = Some(pb::Vote { term: node.raft.status().term + 1, node: 9, committed: true });
    let membership = Some(pb::StoredMembership { membership: Some(pb::Membership::default()), log_id: None });
    let last_log_id = Some(pb::LogId { term: 1, index: 1_000 });
    let start = pb::snapshot_chunk::Part::Start(pb::SnapshotStart { vote, last_log_id, membership });
    for data in [&[][..], &[7; 3], &[0xff; 64], &[0; 4_096]] {
        let data = pb::snapshot_chunk::Part::Data(Bytes::copy_from_slice(data));
        let chunk = |part| pb::SnapshotChunk { header: Some(header.clone()), part: Some(part) };
        let chunks = [chunk(start.clone()), chunk(data)];
        let refused = client.install_snapshot(tokio_stream::iter(chunks)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::DataLoss, "{refused:?}");
    }
    let left = std::fs::read_dir(node::options(cluster.dir.path(), 1).dir).unwrap().map(Result::unwrap);
    let left: Vec<_> = left.filter(|file| file.path().extension().is_some_and(|end| end == "tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
    cluster.propose(set("a", 2)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_moved_is_found_at_its_recorded_address() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    let moved = cluster.followers(cluster.leader().await.id)[0];
    let old = cluster.kill(moved).await;
    let new = cluster.start(moved, None).await.address;
    assert_ne!(old, new);
    let staying = cluster.followers(moved);
    let (me, new) = (id(moved), new.to_string());
    cluster.at_leader_of(&staying, async |leader| leader.set_seat(me, new.as_str()).await).await;
    cluster.propose(set("a", 1)).await;
    let moved = &cluster.caught_up(moved).await.raft;
    assert_eq!(get(moved, "a").as_deref(), Some("1"));
    // The status is told a moment after what it is about.
    until(moved, "its own new address", |status| status.voters[&me].address == new).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_somebody_else_is_refused() {
    let cluster = Cluster::new(1, |_| ()).await;
    let node = cluster.leader().await;
    node.raft.propose(set("a", 1)).await.unwrap();
    let term = node.raft.status().term;
    let mut client = RaftTransportClient::connect(format!("http://{}", node.address)).await.unwrap();
    let header = |cluster: ClusterId, group: GroupId, to: NodeId| pb::Header {
        cluster: cluster.to_wire(),
        group: group.get(),
        from: 9,
        to: to.get(),
        from_store: 1,
        to_store: 0,
    };
    let own = header(CLUSTER, GroupId::META, id(1));
    let vote = pb::Vote { term: term + 5, node: 9, committed: true };
    let strangers = [
        None,
        Some(header(ClusterId::new(1), GroupId::META, id(1))),
        Some(header(CLUSTER, GroupId::new(1), id(1))),
        Some(header(CLUSTER, GroupId::META, id(2))),
        // The store of this node before it was wiped, and a node that took this one's id.
        Some(pb::Header { to_store: node.raft.store().get() ^ 1, ..own.clone() }),
        Some(pb::Header { from: 1, ..own }),
    ];
    for header in strangers {
        let append = pb::AppendRequest { header: header.clone(), vote: Some(vote), ..Default::default() };
        let beats = client.beat(pb::Beats { beats: vec![append.clone()] }).await.unwrap().into_inner();
        let refused = matches!(beats.replies[0].result, Some(pb::beat_reply::Result::Refused(_)));
        assert!(refused, "{header:?}: {beats:?}");
        assert!(client.append(tokio_stream::iter([append])).await.is_err(), "{header:?}");
        let ask = pb::VoteRequest { header: header.clone(), vote: Some(vote), ..Default::default() };
        assert!(client.vote(ask.clone()).await.is_err() && client.pre_vote(ask).await.is_err());
        let transfer =
            pb::TransferRequest { header: header.clone(), from_leader: Some(vote), ..Default::default() };
        assert!(client.transfer_leader(transfer).await.is_err());
        let part = Some(pb::snapshot_chunk::Part::Start(pb::SnapshotStart {
            vote: Some(vote),
            ..Default::default()
        }));
        let chunk = pb::SnapshotChunk { header: header.clone(), part };
        assert!(client.install_snapshot(tokio_stream::iter([chunk])).await.is_err());
        assert!(client.read_index(pb::ReadIndexRequest { header: header.clone() }).await.is_err());
        assert!(client.attend(pb::AttendRequest { header: header.clone() }).await.is_err());
        assert!(
            client
                .gone(pb::GoneRequest { header, leader_vote: Some(vote), ..Default::default() })
                .await
                .is_err()
        );
    }
    assert_eq!((node.raft.status().term, node.raft.status().role), (term, Role::Leader));
    let right = pb::ReadIndexRequest { header: Some(header(CLUSTER, GroupId::META, id(1))) };
    assert!(client.read_index(right).await.is_ok(), "the same call with the right header is answered");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_the_future_stops_the_member_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let raft = open_single(dir.path()).await;
    raft.propose(set("a", 1)).await.unwrap();
    let Err(error) = raft.propose(Bytes::from("!new")).await else { panic!("it was applied") };
    assert!(!error.nothing_happened());
    let status = until(&raft, "it stops", |status| status.role == Role::Stopped).await;
    assert!(status.stopped.unwrap().contains("upgrade this node"));
    let Err(ProposeError::Stopped { reason }) = raft.propose(set("b", 1)).await else { panic!("it goes on") };
    assert!(reason.contains("upgrade this node"), "{reason}");
    assert_eq!(get(&raft, "a").as_deref(), Some("1"));
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposers_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let raft = Arc::new(open_single(dir.path()).await);
    let before = raft.store_status().syncs.count();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let raft = Arc::clone(&raft);
            tokio::spawn(async move {
                for round in 0..20 {
                    raft.propose(set(task, round)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let syncs = raft.store_status().syncs.count() - before;
    assert!(syncs < 64 * 20 / 2, "{syncs} syncs for {} commands", 64 * 20);
    raft.shutdown().await;
}
