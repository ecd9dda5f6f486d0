//! Changes of the members that are cut off, and nodes that lost what they had: the group heals, or says so.

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

use coracle_proto::id::StoreId;
use coracle_proto::pb::raft as pb;
use coracle_proto::pb::raft::raft_transport_client::RaftTransportClient;
use coracle_raft::Role;
use node::{Cluster, QUICK, eventually, id, options, set, until};

/// In each round another leader dies in the middle of a change of the voters.
const ROUNDS: u64 = 5;

/// A change is two entries. The leader is killed as soon as both sets of voters decide.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_voters_that_is_cut_off_is_settled_by_whoever_leads_next() {
    let mut bitten = 0;
    for round in 0..ROUNDS {
        let mut cluster = Cluster::new(4, |options| options.timing = QUICK).await;
        cluster.propose(set("before", round)).await;
        let leader = cluster.leader().await.id;
        let leaves = cluster.followers(leader)[0];
        let wanted: BTreeSet<_> =
            cluster.nodes.keys().filter(|node| **node != leaves).map(|node| id(*node)).collect();
        let raft = cluster.nodes[&leader].raft.clone();
        let changing = {
            let (raft, wanted) = (raft.clone(), wanted.clone());
            tokio::spawn(async move { drop(raft.set_voters(&wanted).await) })
        };
        let seen = until(&raft, "the change begins", |status| status.joint || status.voters.len() == 3).await;
        bitten += usize::from(seen.joint);
        drop(raft);
        let address = cluster.kill(leader).await;
        drop(changing.await);
        cluster.propose(set("after", round)).await;
        let next = cluster.leader().await;
        let settled =
            until(&next.raft, "one set of voters decides", |status| !status.joint && !status.changing).await;
        let voters: BTreeSet<_> = settled.voters.keys().copied().collect();
        assert!(voters == wanted || voters.len() == 4, "{voters:?}");
        cluster.start(leader, Some(address)).await;
        cluster.at_leader(async |leader| leader.set_voters(&wanted).await).await;
        cluster.shutdown().await;
    }
    println!("{bitten} of {ROUNDS} changes were cut off between their two entries");
    assert!(bitten > 0, "no change was cut off: the test would prove nothing");
}

/// All that a node had is gone, the marks beside its store too, and it is started under its old id.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_member_is_not_taken_for_the_one_that_it_was() {
    let mut cluster = Cluster::new(3, |_| ()).await;
    for key in 0..20 {
        cluster.propose(set(key, key)).await;
    }
    let leader = cluster.leader().await.id;
    // Its store is told, as a node tells it when it is open.
    let told: Vec<_> =
        cluster.nodes.values().map(|node| (node.id, node.address, node.raft.store())).collect();
    for (node, address, store) in told {
        let seat = coracle_raft::Seat { address: address.to_string(), store };
        cluster.at_leader(async |leader| leader.set_seat(id(node), seat.clone()).await).await;
    }
    let [wiped, dies] = cluster.followers(leader)[..] else { panic!("three members") };
    let address = cluster.kill(wiped).await;
    std::fs::remove_dir_all(options(cluster.dir.path(), wiped).dir).unwrap();
    cluster.start(wiped, Some(address)).await;
    assert_ne!(cluster.nodes[&wiped].raft.store(), StoreId::UNKNOWN);
    cluster.at_leader_of(&[leader, dies], async |leader| leader.propose(set("between", 1)).await).await;
    // A majority that has what was acknowledged is gone: with the wiped one the last member must not be another.
    cluster.kill(dies).await;
    let alone = &cluster.nodes[&leader].raft;
    eventually("the leader knows that it is alone", || {
        alone.quorum_acked().is_none_or(|ago| ago > coracle_raft::TIMING.election_max)
    })
    .await;
    assert!(alone.propose(set("lost", 1)).await.is_err(), "a wiped member acknowledged");
    let status = cluster.nodes[&wiped].raft.status();
    assert!(status.last_log_index.is_none() && status.role == Role::Learner, "{status:#?}");
    cluster.shutdown().await;
}

/// One message with the greatest of terms, by each way that a term comes in.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_term_is_refused_and_elections_go_on() {
    let mut cluster = Cluster::new(3, |options| options.timing = QUICK).await;
    cluster.propose(set("before", 1)).await;
    for term in [u64::MAX, 1 << 63, 1 << 40] {
        for node in cluster.nodes.values() {
            let mut client = RaftTransportClient::connect(format!("http://{}", node.address)).await.unwrap();
            let header =
                pb::Header { cluster: node::CLUSTER.to_wire(), from: 9, to: node.id, ..Default::default() };
            let (header, vote) = (Some(header), Some(pb::Vote { term, node: 9, committed: true }));
            let ask = pb::VoteRequest {
                header: header.clone(),
                vote,
                leadership_transfer: true,
                ..Default::default()
            };
            assert!(client.vote(ask.clone()).await.is_err() && client.pre_vote(ask).await.is_err());
            let append = pb::AppendRequest { header: header.clone(), vote, ..Default::default() };
            let beats = client.beat(pb::Beats { beats: vec![append.clone()] }).await.unwrap().into_inner();
            assert!(matches!(beats.replies[0].result, Some(pb::beat_reply::Result::Refused(_))), "{beats:?}");
            let replies = client.append(tokio_stream::iter([append])).await;
            let answered = match replies {
                Ok(replies) => replies.into_inner().message().await.is_ok_and(|reply| reply.is_some()),
                Err(_) => false,
            };
            assert!(!answered, "entries of term {term} were taken");
            let from_leader = vote;
            let transfer = pb::TransferRequest {
                header: header.clone(),
                from_leader,
                to_node: node.id,
                ..Default::default()
            };
            assert!(client.transfer_leader(transfer).await.is_err());
            let status = node.raft.status();
            assert!(status.term < 1 << 32, "{status:#?}");
            assert_eq!(status.absurd_term.map(|absurd| absurd.term), Some(term));
        }
    }
    let leader = cluster.leader().await.id;
    cluster.kill(leader).await;
    cluster.propose(set("after", 1)).await;
    cluster.shutdown().await;
}
