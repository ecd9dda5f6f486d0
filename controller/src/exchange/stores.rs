//! Asks stores what they have, and tells them who the members of a group are to be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::{GroupId, NodeId, StoreId};
use coracle_proto::pb::groups_client::GroupsClient;
use coracle_proto::pb::{
    ArrangeRequest, GroupMember, GroupRole, GroupSeat, GroupStatus, GroupsStatusReply, GroupsStatusRequest,
};
use coracle_proto::record::{DataGroup, Node, Role};
use coracle_proto::status::Refusal;
use coracle_raft::Seat;
use futures::future::join_all;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::context::Context;
use crate::groups::Told;
use crate::model::ClusterState;

/// A store answers out of memory: one that takes longer is as good as gone for this look.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// A replica that begins or ends waits for the disk.
const ARRANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// What each store answered, or why it did not. Stores are the nodes that say where one is reached, whatever became of them.
pub(crate) type Answers = BTreeMap<NodeId, Result<GroupsStatusReply, Status>>;

/// Asks all stores at once.
pub(crate) async fn statuses(context: &Context) -> Answers {
    let state = context.hub.state();
    let stores = stores(&state).map(|node| (node.id, node.addresses.store.clone()));
    let asked = stores.map(|(node, address)| async move { (node, status(context, &address).await) });
    join_all(asked).await.into_iter().collect()
}

/// Nodes that keep replicas, or may.
pub(crate) fn stores(state: &ClusterState) -> impl Iterator<Item = &Node> {
    state.nodes().filter(|node| node.is(Role::Store) && !node.addresses.store.is_empty())
}

async fn status(context: &Context, address: &str) -> Result<GroupsStatusReply, Status> {
    let mut request = Request::new(GroupsStatusRequest { cluster_id: context.cluster.to_wire() });
    request.set_timeout(ANSWER_TIMEOUT);
    let mut client = client(context, address)?;
    match tokio::time::timeout(ANSWER_TIMEOUT, client.status(request)).await {
        Ok(reply) => Ok(reply?.into_inner()),
        Err(_) => {
            Err(Status::deadline_exceeded(format!("no answer within {} ms", ANSWER_TIMEOUT.as_millis())))
        }
    }
}

fn client(context: &Context, address: &str) -> Result<GroupsClient<Channel>, Refusal> {
    Ok(GroupsClient::new(context.peers.channel(address)?))
}

/// Tells one store of a group.
///
/// # Errors
/// Why it does not do as it was told.
pub(crate) async fn arrange(
    context: &Context,
    group: GroupId,
    node: NodeId,
    answers: &Answers,
) -> Result<(), String> {
    let state = context.hub.state();
    let store = state.node(node).ok_or_else(|| format!("there is no node {node}"))?;
    let record = state.group(group).ok_or_else(|| format!("there is no group {group}"))?;
    // By the word of whoever leads: it is to hand over, and gives away its replica afterwards.
    let votes = told(answers).get(&group).is_some_and(|told| told.changing || told.voters.contains(&node));
    let request = ArrangeRequest {
        cluster_id: context.cluster.to_wire(),
        group: group.get(),
        revision: record.revision.get(),
        members: seats(&state, record, answers),
        begun: record.begun,
        stays: votes && !record.members.contains(&node),
    };
    let mut client = client(context, &store.addresses.store).map_err(|refusal| refusal.to_string())?;
    let told = tokio::time::timeout(ARRANGE_TIMEOUT, client.arrange(request)).await;
    let told = told.map_err(|_| format!("node {node} took longer than {} s", ARRANGE_TIMEOUT.as_secs()))?;
    told.map(drop).map_err(|status| format!("node {node}: {}", Refusal::from_status(&status)))
}

fn seats(state: &ClusterState, group: &DataGroup, answers: &Answers) -> Vec<GroupSeat> {
    let seat = |member: &NodeId| {
        let store =
            answers.get(member).and_then(|answer| answer.as_ref().ok()).map_or(0, |reply| reply.store);
        let address = state.node(*member).map(|node| node.addresses.store.clone()).unwrap_or_default();
        GroupSeat { node: member.get(), address, store }
    };
    group.members.iter().map(seat).collect()
}

/// What is said of each group, by all who have a replica of it.
pub(crate) fn told(answers: &Answers) -> BTreeMap<GroupId, Told> {
    let mut all: BTreeMap<GroupId, Told> = BTreeMap::new();
    // Who led in an earlier term may not know yet that it does no more.
    let mut terms = BTreeMap::new();
    for (node, reply) in answers.iter().filter_map(|(node, answer)| Some((*node, answer.as_ref().ok()?))) {
        for status in &reply.groups {
            let group = GroupId::new(status.group);
            let told = all.entry(group).or_default();
            told.holders.insert(node);
            let newest = terms.get(&group).is_none_or(|term| status.term > *term);
            if status.role() == GroupRole::Leader && newest {
                terms.insert(group, status.term);
                told.leader = Some(node);
                told.voters = voters(status);
                told.seats = seats_of(status);
                told.changing = status.changing;
            }
        }
    }
    all
}

/// Where the leader of a group has its members.
fn seats_of(status: &GroupStatus) -> BTreeMap<NodeId, Seat> {
    let seat = |it: &GroupMember| {
        (NodeId::new(it.node), Seat { address: it.address.clone(), store: StoreId::new(it.store) })
    };
    status.members.iter().map(seat).collect()
}

fn voters(status: &GroupStatus) -> BTreeSet<NodeId> {
    status.members.iter().filter(|member| member.votes).map(|member| NodeId::new(member.node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(
        node: u64,
        role: GroupRole,
        term: u64,
        voters: &[u64],
    ) -> (NodeId, Result<GroupsStatusReply, Status>) {
        let member = |node: &u64| GroupMember { node: *node, votes: true, ..GroupMember::default() };
        let status = GroupStatus {
            group: 1,
            role: role.into(),
            term,
            members: voters.iter().map(member).collect(),
            ..GroupStatus::default()
        };
        (NodeId::new(node), Ok(GroupsStatusReply { node, store: 0, groups: vec![status] }))
    }

    #[test]
    fn the_leader_of_the_newest_term_is_believed() {
        let old = reply(1, GroupRole::Leader, 3, &[1, 2, 3]);
        let new = reply(2, GroupRole::Leader, 4, &[2, 3]);
        let silent = (NodeId::new(4), Err(Status::unavailable("")));
        let answers = [old, new, reply(3, GroupRole::Follower, 4, &[2, 3]), silent].into_iter().collect();
        let told = told(&answers);
        let told = &told[&GroupId::new(1)];
        assert_eq!(told.leader, Some(NodeId::new(2)));
        assert_eq!(told.voters, [2, 3].map(NodeId::new).into());
        assert_eq!(
            told.holders,
            [1, 2, 3].map(NodeId::new).into(),
            "who has lost its seat has a replica still"
        );
    }
}
