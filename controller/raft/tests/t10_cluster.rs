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
use coracle_raft::{COMMAND_BYTES_MAX, ProposeError, Role};

use node::{CLUSTER, Cluster, QUICK, get, id, open_single, set, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_by_its_position_and_reaches_every_member() {
    let cluster = Cluster::new(3, |options| options.timing = QUICK).await;
    let leader = cluster.leader().await;
    let first: u64 =
        String::from_utf8(leader.raft.propose(set("a", 1)).await.unwrap().to_vec()).unwrap().parse().unwrap();
    assert_eq!(leader.raft.propose(set("a", 2)).await.unwrap(), Bytes::from((first + 1).to_string()));
    assert_eq!(leader.raft.propose(set("a", "refuse")).await.unwrap(), Bytes::from("refused"));
    assert_eq!(get(&leader.raft, "a").as_deref(), Some("2"));
    for node in cluster.nodes.values() {
        node.raft.read_barrier().await.unwrap();
        assert_eq!(get(&node.raft, "a").as_deref(), Some("2"), "node {}", node.id);
        assert_eq!(node.mirror.0.lock().unwrap().0, node.raft.state());
    }
    let status = leader.raft.status();
    assert_eq!(status.voters.len(), 3);
    assert_eq!(status.followers.len(), 2);
    assert!(status.quorum_acked.is_some() && !status.changing);
    assert!(leader.raft.store_status().syncs.count() > 0 && leader.raft.store_status().bytes > 0);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_names_the_leader_and_refuses() {
    let cluster = Cluster::new(3, |options| options.timing = QUICK).await;
    let leader = cluster.leader().await;
    let follower = &cluster.nodes[&cluster.followers(leader.id)[0]];
    let Err(ProposeError::NotLeader { leader: Some(hint) }) = follower.raft.propose(set("a", 1)).await else {
        panic!("a follower took a command")
    };
    assert_eq!((hint.node, hint.address), (id(leader.id), leader.address.to_string()));
    let large = Bytes::from(vec![b'='; COMMAND_BYTES_MAX + 1]);
    assert!(matches!(leader.raft.propose(large).await, Err(ProposeError::TooLarge { .. })));
    let largest = Bytes::from([&b"a="[..], &vec![b'x'; COMMAND_BYTES_MAX - 2]].concat());
    leader.raft.propose(largest).await.unwrap();
    follower.raft.read_barrier().await.unwrap();
    assert_eq!(get(&follower.raft, "a").map(|value| value.len()), Some(COMMAND_BYTES_MAX - 2));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_on_a_follower_waits_for_what_was_answered_before() {
    let cluster = Cluster::new(3, |options| options.timing = QUICK).await;
    let leader = cluster.leader().await;
    let follower = &cluster.nodes[&cluster.followers(leader.id)[0]];
    for round in 0..200 {
        leader.raft.propose(set("round", round)).await.unwrap();
        follower.raft.read_barrier().await.unwrap();
        assert_eq!(get(&follower.raft, "round"), Some(round.to_string()));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_hands_over_when_asked() {
    let cluster = Cluster::new(3, |_| ()).await;
    let leader = cluster.leader().await;
    leader.raft.propose(set("before", 1)).await.unwrap();
    let term = leader.raft.status().term;
    let to = cluster.followers(leader.id)[1];
    leader.raft.transfer_leader(id(to)).await.unwrap();
    let next = cluster.leader().await;
    assert_eq!((next.id, next.raft.status().term), (to, term + 1));
    next.raft.propose(set("after", 1)).await.unwrap();
    assert_eq!(get(&next.raft, "before").as_deref(), Some("1"));
    let refused = next.raft.transfer_leader(id(9)).await;
    assert!(matches!(refused, Err(ProposeError::Membership { .. })), "{refused:?}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_learner_gets_a_snapshot_and_becomes_a_voter() {
    let mut cluster = Cluster::new(3, |options| {
        options.timing = QUICK;
        (options.limits.snapshot_every, options.limits.keep_entries) = (100, 10);
    })
    .await;
    let leader = cluster.leader().await.id;
    for key in 0..350 {
        cluster.nodes[&leader].raft.propose(set(key, "x".repeat(10_000))).await.unwrap();
    }
    let purged =
        until(&cluster.nodes[&leader].raft, "the log is purged", |status| status.purged.is_some()).await;
    assert!(purged.purged.unwrap().index > 0);
    let address = cluster.start(4, None).await.address.to_string();
    let (leader, late) = (&cluster.nodes[&leader], &cluster.nodes[&4]);
    leader.raft.add_learner(id(4), &address).await.unwrap();
    let caught_up = until(&late.raft, "it has a snapshot", |status| status.snapshot.is_some()).await;
    assert_eq!(caught_up.role, Role::Learner);
    leader.raft.propose(set("after", 1)).await.unwrap();
    late.raft.read_barrier().await.unwrap();
    assert_eq!(late.raft.state(), leader.raft.state());
    assert!(late.mirror.0.lock().unwrap().1 >= 2, "the observer was told of the snapshot");

    leader.raft.set_voters(&BTreeSet::from([1, 2, 3, 4].map(id))).await.unwrap();
    let gone = cluster.followers(leader.id)[0];
    leader.raft.remove(id(gone)).await.unwrap();
    let status =
        until(&late.raft, "three voters", |status| status.voters.len() == 3 && !status.changing).await;
    assert!(status.voters.contains_key(&id(4)) && !status.voters.contains_key(&id(gone)));
    // What was installed is what is on its disk.
    let address = cluster.kill(4).await;
    let state = cluster.leader().await.raft.state();
    assert_eq!(cluster.start(4, Some(address)).await.raft.state(), state);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_moved_is_found_at_its_recorded_address() {
    let mut cluster = Cluster::new(3, |options| options.timing = QUICK).await;
    let leader = cluster.leader().await.id;
    let moved = cluster.followers(leader)[0];
    let old = cluster.kill(moved).await;
    let new = cluster.start(moved, None).await.address;
    assert_ne!(old, new);
    let (leader, moved) = (&cluster.nodes[&leader], &cluster.nodes[&moved]);
    leader.raft.set_address(id(moved.id), &new.to_string()).await.unwrap();
    leader.raft.propose(set("a", 1)).await.unwrap();
    moved.raft.read_barrier().await.unwrap();
    assert_eq!(get(&moved.raft, "a").as_deref(), Some("1"));
    // The status is told a moment after what it is about.
    let (me, new) = (id(moved.id), new.to_string());
    until(&moved.raft, "its own new address", |status| status.voters.get(&me) == Some(&new)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_somebody_else_is_refused() {
    let cluster = Cluster::new(1, |options| options.timing = QUICK).await;
    let node = cluster.leader().await;
    node.raft.propose(set("a", 1)).await.unwrap();
    let term = node.raft.status().term;
    let mut client = RaftTransportClient::connect(format!("http://{}", node.address)).await.unwrap();
    let header = |cluster: ClusterId, group: GroupId, to: NodeId| pb::Header {
        cluster: cluster.to_wire(),
        group: group.get(),
        from: 9,
        to: to.get(),
    };
    let vote = pb::Vote { term: term + 5, node: 9, committed: true };
    let strangers = [
        None,
        Some(header(ClusterId::new(1), GroupId::META, id(1))),
        Some(header(CLUSTER, GroupId::new(1), id(1))),
        Some(header(CLUSTER, GroupId::META, id(2))),
    ];
    for header in strangers {
        let append = pb::AppendRequest { header: header.clone(), vote: Some(vote), ..Default::default() };
        assert!(client.heartbeat(append.clone()).await.is_err(), "{header:?}");
        let mut replies = client.append(tokio_stream::iter([append])).await.unwrap().into_inner();
        assert!(replies.message().await.is_err(), "{header:?}");
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
