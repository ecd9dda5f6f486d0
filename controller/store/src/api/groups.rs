//! What the cluster's leader and people ask of a store.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::pb::groups_server::Groups;
use coracle_proto::pb::{
    ArrangeReply, ArrangeRequest, GroupMember, GroupRole, GroupStatus, GroupsStatusReply, GroupsStatusRequest,
};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::{Role, Seat, Status};
use tokio::task::spawn_blocking;
use tonic::{Request, Response};

use crate::app::Context;
use crate::book::Arrangement;
use crate::chunks::GroupChunks;
use crate::model;
use crate::replicas::Replica;

/// Serves the cluster's leader.
pub(crate) struct GroupsService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Groups for GroupsService {
    async fn status(
        &self,
        request: Request<GroupsStatusRequest>,
    ) -> Result<Response<GroupsStatusReply>, tonic::Status> {
        self.context.check_cluster(&request.get_ref().cluster_id)?;
        let all = self.context.replicas.held();
        // How much lies on the disk is asked of the disk.
        let read = move || all.iter().map(|(group, it, chunks)| group_status(*group, it, chunks)).collect();
        let groups: Result<Vec<GroupStatus>, _> = spawn_blocking(read).await;
        let groups = groups.map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        Ok(Response::new(GroupsStatusReply {
            node: self.context.node.get(),
            store: self.context.replicas.store().get(),
            groups,
        }))
    }

    async fn arrange(
        &self,
        request: Request<ArrangeRequest>,
    ) -> Result<Response<ArrangeReply>, tonic::Status> {
        let asked = request.into_inner();
        self.context.check_cluster(&asked.cluster_id)?;
        let arrangement = Arrangement::from_wire(&asked).map_err(Refusal::from)?;
        // What has begun goes on when whoever asked has left.
        let replicas = Arc::clone(&self.context.replicas);
        let arranged = tokio::spawn(async move { replicas.arrange(arrangement).await }).await;
        arranged.map_err(|error| Refusal::new(Code::Internal, error.to_string()))??;
        Ok(Response::new(ArrangeReply {}))
    }
}

fn group_status(group: GroupId, replica: &Replica, chunks: &GroupChunks) -> GroupStatus {
    let (status, state) = (replica.status(), replica.state());
    GroupStatus {
        group: group.get(),
        role: role(status.role).into(),
        term: status.term,
        leader: status.leader.as_ref().map_or(0, |leader| leader.node.get()),
        applied: status.applied.map_or(0, |at| at.index),
        // What its blobs hold lies beside it.
        bytes: replica.store_status().bytes.saturating_add(chunks.shown().bytes),
        // What cannot be read is told by whoever asks for it.
        sequence: model::group(&state).ok().flatten().map_or(0, |group| group.sequence),
        members: members(&status),
        changing: status.changing,
        stopped: status.stopped.unwrap_or_default(),
        // Who cannot tell has not all.
        whole: Some(chunks.whole(&state).unwrap_or_default()),
    }
}

const fn role(role: Role) -> GroupRole {
    match role {
        Role::Learner => GroupRole::Learner,
        Role::Follower => GroupRole::Follower,
        Role::Candidate => GroupRole::Candidate,
        Role::Leader => GroupRole::Leader,
        Role::Stopped => GroupRole::Stopped,
    }
}

fn members(status: &Status) -> Vec<GroupMember> {
    let millis = |heard: Duration| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX);
    let member = |(node, seat): (&NodeId, &Seat), votes| {
        let follower = status.followers.get(node);
        GroupMember {
            node: node.get(),
            votes,
            address: seat.address.clone(),
            store: seat.store.get(),
            lag: follower.map(|follower| follower.lag),
            heard_ms: follower.and_then(|follower| follower.heard).map(millis),
        }
    };
    let voters = status.voters.iter().map(|voter| member(voter, true));
    voters.chain(status.learners.iter().map(|learner| member(learner, false))).collect()
}
