//! What the leader of a group does next so that the group has the members it is to have. Decides only: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{NodeId, StoreId};
use coracle_raft::Seat;

/// What a leader knows of its group's members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    pub(crate) leader: NodeId,
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) learners: BTreeSet<NodeId>,
    /// Where each member is, and its store, as recorded.
    pub(crate) seats: BTreeMap<NodeId, Seat>,
    /// Members whose log is nearly the leader's, the first to take over first.
    pub(crate) caught_up: Vec<NodeId>,
}

/// One step. The next one is decided when this one is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A node begins to follow the log.
    AddLearner(NodeId, Seat),
    /// A member is reached elsewhere now, or has told of its store.
    SetSeat(NodeId, Seat),
    /// These vote from now on.
    SetVoters(BTreeSet<NodeId>),
    /// Someone else leads, so that this node can go.
    TransferTo(NodeId),
    /// A learner is no member any more.
    RemoveLearner(NodeId),
}

/// What to do next, if anything. Nobody loses a vote before all who are wanted have what is decided.
pub(crate) fn next_step(members: &Members, wanted: &BTreeMap<NodeId, Seat>) -> Option<Step> {
    let is_member = |id: &NodeId| members.voters.contains(id) || members.learners.contains(id);
    if let Some((id, seat)) = wanted.iter().find(|(id, _)| !is_member(id)) {
        return Some(Step::AddLearner(*id, seat.clone()));
    }
    if let Some((id, seat)) = wanted.iter().find(|(id, seat)| is_other(members.seats.get(id), seat)) {
        return Some(Step::SetSeat(*id, seat.clone()));
    }
    let desired: BTreeSet<NodeId> = wanted.keys().copied().collect();
    if desired != members.voters {
        return voters(members, &desired);
    }
    members.learners.iter().find(|id| !desired.contains(id)).map(|id| Step::RemoveLearner(*id))
}

fn voters(members: &Members, desired: &BTreeSet<NodeId>) -> Option<Step> {
    // Who votes already may be silent, which is no reason to wait. Whose store is not known could vote with another one.
    let known = |id: &NodeId| members.seats.get(id).is_some_and(|seat| seat.store != StoreId::UNKNOWN);
    let ready = |id: &NodeId| members.voters.contains(id) || (members.caught_up.contains(id) && known(id));
    if desired.is_empty() || !desired.iter().all(ready) {
        return None;
    }
    if desired.contains(&members.leader) {
        return Some(Step::SetVoters(desired.clone()));
    }
    let heir = members.caught_up.iter().find(|id| desired.contains(id) && members.voters.contains(id));
    if let Some(heir) = heir {
        return Some(Step::TransferTo(*heir));
    }
    // Nobody can take over yet: first they vote beside the leader.
    let with_leader: BTreeSet<_> = desired.iter().copied().chain([members.leader]).collect();
    (with_leader != members.voters).then_some(Step::SetVoters(with_leader))
}

/// Whether a member is reached elsewhere than recorded, or its store was not known.
fn is_other(recorded: Option<&Seat>, told: &Seat) -> bool {
    recorded.is_some_and(|recorded| {
        let store = recorded.store == StoreId::UNKNOWN && told.store != StoreId::UNKNOWN;
        store || (recorded.address != told.address && !told.address.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn seat(id: NodeId) -> Seat {
        Seat { address: format!("10.0.0.{id}:7403"), store: StoreId::new(id.get()) }
    }

    fn wanted(all: &[u64]) -> BTreeMap<NodeId, Seat> {
        ids(all).into_iter().map(|id| (id, seat(id))).collect()
    }

    /// Led by node 1.
    fn members(voters: &[u64], learners: &[u64], caught_up: &[u64]) -> Members {
        let (voters, learners) = (ids(voters), ids(learners));
        let seats = voters.union(&learners).map(|id| (*id, seat(*id))).collect();
        let caught_up = caught_up.iter().copied().map(NodeId::new).collect();
        Members { leader: NodeId::new(1), voters, learners, seats, caught_up }
    }

    fn node(id: u64) -> NodeId {
        NodeId::new(id)
    }

    #[test]
    fn who_comes_votes_when_it_has_everything() {
        let next = |members: &Members| next_step(members, &wanted(&[1, 2]));
        assert_eq!(next(&members(&[1], &[], &[1])), Some(Step::AddLearner(node(2), seat(node(2)))));
        assert_eq!(next(&members(&[1], &[2], &[1])), None, "it lags");
        assert_eq!(next(&members(&[1], &[2], &[1, 2])), Some(Step::SetVoters(ids(&[1, 2]))));
        assert_eq!(next(&members(&[1, 2], &[], &[1, 2])), None);
    }

    #[test]
    fn whose_store_is_not_known_does_not_vote_yet() {
        let mut unknown = members(&[1], &[2], &[1, 2]);
        unknown.seats.insert(node(2), Seat { store: StoreId::UNKNOWN, ..seat(node(2)) });
        let told = wanted(&[1, 2]);
        assert_eq!(next_step(&unknown, &told), Some(Step::SetSeat(node(2), seat(node(2)))), "it has told");
        let untold: BTreeMap<_, _> =
            told.into_iter().map(|(id, seat)| (id, Seat { store: StoreId::UNKNOWN, ..seat })).collect();
        assert_eq!(next_step(&unknown, &untold), None);
    }

    #[test]
    fn one_that_is_lost_is_replaced_in_one_step_and_goes() {
        let next = |members: &Members| next_step(members, &wanted(&[1, 2, 4]));
        assert_eq!(next(&members(&[1, 2, 3], &[], &[1, 2])), Some(Step::AddLearner(node(4), seat(node(4)))));
        assert_eq!(next(&members(&[1, 2, 3], &[4], &[1, 2])), None, "three have it until four has it too");
        assert_eq!(next(&members(&[1, 2, 3], &[4], &[1, 4])), Some(Step::SetVoters(ids(&[1, 2, 4]))));
        assert_eq!(next(&members(&[1, 2, 4], &[3], &[1, 2, 4])), Some(Step::RemoveLearner(node(3))));
    }

    #[test]
    fn a_leader_that_goes_hands_over_first() {
        let next = |members: &Members| next_step(members, &wanted(&[2, 3]));
        assert_eq!(next(&members(&[1, 2, 3], &[], &[1, 3, 2])), Some(Step::TransferTo(node(3))));
        let moved = Members { leader: node(3), ..members(&[1, 2, 3], &[], &[1, 2, 3]) };
        assert_eq!(next(&moved), Some(Step::SetVoters(ids(&[2, 3]))));
        let alone = next_step(&members(&[1], &[2], &[1, 2]), &wanted(&[2]));
        assert_eq!(alone, Some(Step::SetVoters(ids(&[1, 2]))), "somebody must vote beside it");
    }

    #[test]
    fn a_moved_member_is_recorded_anew_and_a_store_once() {
        let mut moved = members(&[1, 2], &[], &[1, 2]);
        moved.seats.insert(node(2), Seat { address: "10.0.0.9:1".into(), store: StoreId::UNKNOWN });
        assert_eq!(next_step(&moved, &wanted(&[1, 2])), Some(Step::SetSeat(node(2), seat(node(2)))));
        let mut silent = wanted(&[1, 2]);
        silent.insert(node(2), Seat::default());
        assert_eq!(next_step(&members(&[1, 2], &[], &[1, 2]), &silent), None, "it does not say where it is");
    }

    #[test]
    fn nobody_is_removed_for_nobody() {
        assert_eq!(next_step(&members(&[1, 2, 3], &[], &[1, 2, 3]), &BTreeMap::new()), None);
    }
}
