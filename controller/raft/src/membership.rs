//! Who is in the group: the first voters, learners that come, voters that change, a leader that hands over.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::NodeId;
use openraft::ChangeMembers;
use openraft::errors::RaftError;
use openraft::impls::BasicNode;
use tokio::time::timeout;

use crate::error::ProposeError;
use crate::raft::Raft;
use crate::state_machine::StateMachine;
use crate::status::Role;

impl<S: StateMachine> Raft<S> {
    /// Makes a new group of these voters. Once in the life of a group, on one of them.
    ///
    /// # Errors
    /// When this member already has a log, or is not among the voters.
    pub async fn initialize(&self, voters: BTreeMap<NodeId, String>) -> Result<(), ProposeError> {
        let voters: BTreeMap<u64, BasicNode> =
            voters.into_iter().map(|(id, addr)| (id.get(), BasicNode { addr })).collect();
        self.member.raft.initialize(voters).await.map_err(|error| match error {
            RaftError::APIError(error) => ProposeError::Membership { reason: error.to_string() },
            RaftError::Fatal(fatal) => self.member.stopped(&fatal),
        })
    }

    /// Adds a node that replicates without a vote, or changes nothing when it is there.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn add_learner(&self, node: NodeId, address: &str) -> Result<(), ProposeError> {
        let nodes = BTreeMap::from([(node.get(), BasicNode::new(address))]);
        self.change(ChangeMembers::AddNodes(nodes), true).await
    }

    /// Makes exactly these members voters; other voters become learners.
    ///
    /// # Errors
    /// When one of them is no member. See also [`ProposeError`].
    pub async fn set_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), ProposeError> {
        let voters = voters.iter().map(|node| node.get()).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
    }

    /// Removes a member, whether it votes or not.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn remove(&self, node: NodeId) -> Result<(), ProposeError> {
        let nodes = BTreeSet::from([node.get()]);
        if self.status().voters.contains_key(&node) {
            return self.change(ChangeMembers::RemoveVoters(nodes), false).await;
        }
        self.change(ChangeMembers::RemoveNodes(nodes), false).await
    }

    /// Records where a member is now. Safe because every message names its receiver.
    ///
    /// # Errors
    /// When it is no member. See also [`ProposeError`].
    pub async fn set_address(&self, node: NodeId, address: &str) -> Result<(), ProposeError> {
        let status = self.status();
        if !status.voters.contains_key(&node) && !status.learners.contains_key(&node) {
            return Err(ProposeError::Membership { reason: format!("node {node} is no member") });
        }
        let nodes = BTreeMap::from([(node.get(), BasicNode::new(address))]);
        self.change(ChangeMembers::SetNodes(nodes), true).await
    }

    /// Hands the leadership to a voter, and returns when it leads.
    ///
    /// # Errors
    /// When this member does not lead, the other is no voter, or it does not take over in time.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ProposeError> {
        let status = self.status();
        if status.role != Role::Leader {
            return Err(ProposeError::NotLeader { leader: status.leader });
        }
        if !status.voters.contains_key(&to) {
            return Err(ProposeError::Membership { reason: format!("node {to} is no voter") });
        }
        let asked = self.member.raft.trigger().transfer_leader(to.get()).await;
        asked.map_err(|fatal| self.member.stopped(&fatal))?;
        let after = self.member.limits.propose;
        let mut watch = self.watch();
        let leads = watch.until(|status| status.leader.as_ref().is_some_and(|leader| leader.node == to));
        match timeout(after, leads).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self.member.stopped(&"raft has ended")),
            Err(_) => Err(ProposeError::TimedOut { after }),
        }
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>, retain: bool) -> Result<(), ProposeError> {
        self.written(|| self.member.raft.change_membership(change.clone(), retain)).await.map(drop)
    }
}
