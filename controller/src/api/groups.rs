//! Data groups as users see them: what is decided, and what their members say.

use std::collections::BTreeSet;

use coracle_proto::id::NodeId;
use coracle_proto::pb::{self, GroupDetail, GroupReplica, ListGroupsReply};
use coracle_proto::record::DataGroup;
use coracle_proto::status::Refusal;

use crate::context::Context;
use crate::exchange::{Answers, statuses};
use crate::model::ClusterState;

/// Every group, by id. Whoever does not answer is named.
pub(super) async fn list(context: &Context) -> ListGroupsReply {
    let answers = statuses(context).await;
    let state = context.hub.state();
    let slots = state.slots().map(|slots| slots.groups.iter().map(|group| group.get()).collect());
    ListGroupsReply {
        groups: state.groups().map(|group| detail(&state, group, &answers)).collect(),
        slots: slots.unwrap_or_default(),
    }
}

fn detail(state: &ClusterState, group: &DataGroup, answers: &Answers) -> GroupDetail {
    let holds = |reply: &pb::GroupsStatusReply| reply.groups.iter().any(|it| it.group == group.id.get());
    let holders =
        answers.iter().filter(|(_, answer)| answer.as_ref().is_ok_and(holds)).map(|(node, _)| *node);
    let nodes: BTreeSet<NodeId> = group.members.iter().copied().chain(holders).collect();
    GroupDetail {
        group: Some(group.into()),
        replicas: nodes.into_iter().map(|node| replica(state, group, node, answers)).collect(),
    }
}

fn replica(state: &ClusterState, group: &DataGroup, node: NodeId, answers: &Answers) -> GroupReplica {
    let (status, silent) = match answers.get(&node) {
        Some(Ok(reply)) => {
            (reply.groups.iter().find(|it| it.group == group.id.get()).cloned(), String::new())
        }
        Some(Err(status)) => (None, Refusal::from_status(status).to_string()),
        None => (None, "it has no store".to_owned()),
    };
    GroupReplica {
        node: node.get(),
        address: state.node(node).map(|node| node.addresses.store.clone()).unwrap_or_default(),
        member: group.members.contains(&node),
        status,
        silent,
    }
}
