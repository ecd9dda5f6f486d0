//! Who is in the group: the first voters, learners that come, voters that change, a leader that hands over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coracle_proto::id::{NodeId, StoreId};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::RaftError;
use tokio::time::timeout;

use crate::error::ProposeError;
use crate::raft::Raft;
use crate::state_machine::State;
use crate::status::Role;
use crate::types::LogId;

/// A member as the group's members are recorded: where it is, and which store it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seat {
    /// `HOST:PORT`.
    pub address: String,
    /// Its store. A node with another one under the same id is not taken for it. Unknown: any store is.
    pub store: StoreId,
}

impl From<String> for Seat {
    fn from(address: String) -> Self {
        Self { address, store: StoreId::UNKNOWN }
    }
}

impl From<&str> for Seat {
    fn from(address: &str) -> Self {
        address.to_owned().into()
    }
}

impl<S: State> Raft<S> {
    /// Makes a new group of these voters. Once in the life of a group, on one of them.
    ///
    /// # Errors
    /// When this member already has a log, or is not among the voters.
    pub async fn initialize<T: Into<Seat>>(&self, voters: BTreeMap<NodeId, T>) -> Result<(), ProposeError> {
        let own = self.member.identity.node;
        let seat = |(node, seat): (NodeId, T)| {
            let seat = seat.into();
            (node.get(), if node == own { Seat { store: self.member.store, ..seat } } else { seat })
        };
        let voters: BTreeMap<u64, Seat> = voters.into_iter().map(seat).collect();
        self.member.raft.initialize(voters).await.map_err(|error| match error {
            RaftError::APIError(error) => ProposeError::Membership { reason: error.to_string() },
            RaftError::Fatal(fatal) => self.member.stopped(&fatal),
        })
    }

    /// Adds a node that replicates without a vote, or changes nothing when it is there.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn add_learner(&self, node: NodeId, seat: impl Into<Seat>) -> Result<(), ProposeError> {
        let nodes = BTreeMap::from([(node.get(), seat.into())]);
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

    /// Records where a member is now, and its store where that was not known: another store is refused, for it is
    /// another member. Safe because every message names its receiver.
    ///
    /// # Errors
    /// When it is no member. See also [`ProposeError`].
    pub async fn set_seat(&self, node: NodeId, seat: impl Into<Seat>) -> Result<(), ProposeError> {
        let status = self.status();
        let known = status.voters.get(&node).or_else(|| status.learners.get(&node));
        let Some(known) = known else {
            return Err(ProposeError::Membership { reason: format!("node {node} is no member") });
        };
        let mut seat = seat.into();
        match (known.store, seat.store) {
            (known, StoreId::UNKNOWN) => seat.store = known,
            (StoreId::UNKNOWN, _) => {}
            (known, told) if known == told => {}
            (known, told) => {
                let reason = format!("node {node} is the one with store {known}, not with {told}");
                return Err(ProposeError::Membership { reason });
            }
        }
        let nodes = BTreeMap::from([(node.get(), seat)]);
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

    /// Runs on to its end whoever waits for it: a change is two entries, and one that ends between them leaves two sets
    /// of voters that both have to agree.
    async fn change(&self, change: ChangeMembers<u64, Seat>, retain: bool) -> Result<(), ProposeError> {
        let (raft, member) = (self.clone(), Arc::clone(&self.member));
        let after = member.limits.propose;
        // Nobody waits any more for a change that waited for longer, and it was meant for other members.
        let changing = timeout(after, Arc::clone(&member.changing).lock_owned()).await;
        let changing = changing.map_err(|_| {
            let reason = format!("another change is under way, for {after:?} at least");
            ProposeError::Membership { reason }
        })?;
        let changed = self.host.0.tasks.spawn(async move {
            let _changing = changing;
            let newest = || *member.raft.server_metrics().borrow_watched().membership_config.log_id();
            let before = newest();
            let written = raft.write(|| member.raft.change_membership(change.clone(), retain)).await;
            written.map(drop).map_err(|error| unless_begun(error, before, newest()))
        });
        match timeout(after, changed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.member.stopped(&"raft has ended")),
            Err(_) => Err(ProposeError::TimedOut { after }),
        }
    }
}

/// A change of the voters is two entries: once the first was proposed nobody can say that nothing happened.
fn unless_begun(error: ProposeError, before: Option<LogId>, newest: Option<LogId>) -> ProposeError {
    if error.nothing_happened() && newest != before {
        return ProposeError::OutcomeUnknown { reason: format!("the change had begun: {error}") };
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raft::log_id;

    #[test]
    fn of_a_change_that_had_begun_nobody_says_that_nothing_happened() {
        let (before, joint) = (Some(log_id(1, 7)), Some(log_id(1, 8)));
        let lost = || ProposeError::NotLeader { leader: None };
        assert_eq!(unless_begun(lost(), before, before), lost());
        let begun = unless_begun(lost(), before, joint);
        assert!(!begun.nothing_happened() && begun.to_string().contains("not the leader"), "{begun}");
        let after = std::time::Duration::from_secs(1);
        assert_eq!(
            unless_begun(ProposeError::TimedOut { after }, before, joint),
            ProposeError::TimedOut { after }
        );
    }
}
