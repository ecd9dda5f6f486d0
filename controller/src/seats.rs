//! Who takes part in Raft: new controllers come in as learners, voters are kept at the wanted number, leaving nodes go out
//! before their record does. Decides only, the next step each time: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{NodeId, StoreId};
use coracle_proto::record::{Node, NodeState, Role};
use coracle_raft::Seat;

/// Learners cost the leader as much as voters; controllers beyond these wait until one leaves. Two would do as candidates,
/// but a controller that is no member has no state at all: it could tell its node's data plane nothing.
const LEARNERS_MAX: usize = 16;

/// What Raft says of its members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    pub(crate) leader: NodeId,
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) learners: BTreeSet<NodeId>,
    /// Where each member is, and its store, as recorded.
    pub(crate) seats: BTreeMap<NodeId, Seat>,
    /// Members whose log is nearly the leader's, the first to take over first.
    pub(crate) caught_up: Vec<NodeId>,
    /// Voters of which the leader has heard nothing for as long as it takes to give a node up.
    pub(crate) unheard: BTreeSet<NodeId>,
}

/// One step. The next one is decided when this one is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A controller begins to follow the log.
    AddLearner(NodeId, Seat),
    /// A member is reached elsewhere now, or has told of its store.
    SetSeat(NodeId, Seat),
    /// These vote from now on.
    SetVoters(BTreeSet<NodeId>),
    /// Someone else leads, so that this node can go.
    TransferTo(NodeId),
    /// A learner is no member any more.
    RemoveLearner(NodeId),
    /// A leaving node holds nothing and is no member: its record goes.
    RemoveRecord(NodeId),
}

/// What to do next, if anything. `holding` are nodes that still have replicas which move.
pub(crate) fn next_step(
    members: &Members,
    nodes: &BTreeMap<NodeId, Node>,
    holding: &BTreeSet<NodeId>,
    wanted: usize,
) -> Option<Step> {
    let stays = |id: &NodeId| {
        nodes.get(id).is_some_and(|node| node.is(Role::Controller) && node.state != NodeState::Leaving)
    };
    let alive = |id: &NodeId| nodes.get(id).is_some_and(|node| node.state == NodeState::Alive);
    let desired = desired(members, nodes, wanted, &stays);
    if desired != members.voters && !desired.is_empty() {
        if desired.contains(&members.leader) {
            return Some(Step::SetVoters(desired));
        }
        let mut heirs =
            members.caught_up.iter().filter(|id| desired.contains(id) && members.voters.contains(id));
        return match heirs.next().copied() {
            Some(heir) => Some(Step::TransferTo(heir)),
            // Nobody can take over yet: first someone must vote beside the leader.
            None => {
                let with_leader: BTreeSet<_> = desired.iter().copied().chain([members.leader]).collect();
                (with_leader != members.voters).then_some(Step::SetVoters(with_leader))
            }
        };
    }
    if let Some(gone) = members.learners.iter().find(|id| !stays(id)) {
        return Some(Step::RemoveLearner(*gone));
    }
    let is_member = |id: &NodeId| members.voters.contains(id) || members.learners.contains(id);
    let leaving = nodes.values().filter(|node| node.state == NodeState::Leaving);
    if let Some(done) = leaving.map(|node| node.id).find(|id| !is_member(id) && !holding.contains(id)) {
        return Some(Step::RemoveRecord(done));
    }
    let reached = nodes.values().filter(|node| stays(&node.id) && !node.addresses.grpc.is_empty());
    let mut moved = reached.clone().filter(|node| {
        members.seats.get(&node.id).is_some_and(|recorded| {
            let told = recorded.store == StoreId::UNKNOWN && node.store != StoreId::UNKNOWN;
            told || recorded.address != node.addresses.grpc
        })
    });
    if let Some(node) = moved.next() {
        return Some(Step::SetSeat(node.id, seat(node)));
    }
    let mut outside = reached.filter(|node| alive(&node.id) && !is_member(&node.id));
    let room = members.learners.len() < LEARNERS_MAX;
    outside.next().filter(|_| room).map(|node| Step::AddLearner(node.id, seat(node)))
}

fn seat(node: &Node) -> Seat {
    Seat { address: node.addresses.grpc.clone(), store: node.store }
}

/// The voters that there should be: those that are heard stay, caught-up learners fill up, a voter that is not
/// heard keeps its seat until someone can take it. Only what Raft hears counts: a node's state is about its data
/// plane, which may be well while its controller is gone, and the other way round.
fn desired(
    members: &Members,
    nodes: &BTreeMap<NodeId, Node>,
    wanted: usize,
    stays: &impl Fn(&NodeId) -> bool,
) -> BTreeSet<NodeId> {
    let heard = |id: &NodeId| !members.unheard.contains(id);
    let mut healthy: Vec<_> = members.voters.iter().copied().filter(|id| stays(id) && heard(id)).collect();
    healthy.sort_by_key(|id| (*id != members.leader, *id));
    let mut chosen: BTreeSet<NodeId> = healthy.into_iter().take(wanted).collect();
    // A learner tells of its store once it has the state; only then is it known who votes.
    let known = |id: &NodeId| members.seats.get(id).is_some_and(|seat| seat.store != StoreId::UNKNOWN);
    let candidates = members.learners.iter().copied().filter(|id| members.caught_up.contains(id));
    let mut candidates: Vec<_> = candidates.filter(|id| stays(id) && known(id)).collect();
    let zone = |id: &NodeId| nodes.get(id).map(|node| node.zone.as_str()).unwrap_or_default();
    while chosen.len() < wanted {
        let in_zone = |id: &NodeId| chosen.iter().filter(|other| zone(other) == zone(id)).count();
        let Some(best) = candidates.iter().copied().min_by_key(|id| (in_zone(id), *id)) else { break };
        candidates.retain(|id| *id != best);
        chosen.insert(best);
    }
    let silent = members.voters.iter().filter(|id| stays(id) && !heard(id));
    for id in silent {
        if chosen.len() < wanted {
            chosen.insert(*id);
        }
    }
    odd(chosen, members, wanted)
}

/// An even number of voters bears no more losses than one fewer, and needs one more for each decision: on the way to what is
/// wanted the last one waits until another can come with it. Two come before three all the same: with two nodes both have all
/// that was decided. Where it is a voter that went, none is sent after it.
fn odd(mut chosen: BTreeSet<NodeId>, members: &Members, wanted: usize) -> BTreeSet<NodeId> {
    let last = chosen.difference(&members.voters).last().copied();
    if let Some(last) =
        last.filter(|_| chosen.len() < wanted && chosen.len() > 2 && chosen.len().is_multiple_of(2))
    {
        let silent = chosen.intersection(&members.unheard).next().copied();
        chosen.remove(&silent.unwrap_or(last));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_proto::id::Revision;
    use coracle_proto::record::Addresses;

    fn node(id: u64, state: NodeState) -> (NodeId, Node) {
        let id = NodeId::new(id);
        let node = Node {
            id,
            name: format!("n{id}"),
            roles: Role::DEFAULT.into(),
            zone: String::new(),
            version: String::new(),
            addresses: Addresses { grpc: address(id), ..Addresses::default() },
            state,
            registered: Revision::ZERO,
            slots: 1,
            memory_bytes: 1,
            store: StoreId::new(id.get()),
        };
        (id, node)
    }

    fn address(id: NodeId) -> String {
        format!("10.0.0.{id}:7400")
    }

    fn learner(id: u64) -> Option<Step> {
        Some(Step::AddLearner(NodeId::new(id), seat_of(NodeId::new(id))))
    }

    fn seat_of(id: NodeId) -> Seat {
        Seat { address: address(id), store: StoreId::new(id.get()) }
    }

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn members(voters: &[u64], learners: &[u64]) -> Members {
        let (voters, learners) = (ids(voters), ids(learners));
        let caught_up: Vec<NodeId> = voters.union(&learners).copied().collect();
        let seats = caught_up.iter().map(|id| (*id, seat_of(*id))).collect();
        Members { leader: NodeId::new(1), voters, learners, seats, caught_up, unheard: BTreeSet::new() }
    }

    fn alive(count: u64) -> BTreeMap<NodeId, Node> {
        (1..=count).map(|id| node(id, NodeState::Alive)).collect()
    }

    fn step(members: &Members, nodes: &BTreeMap<NodeId, Node>) -> Option<Step> {
        next_step(members, nodes, &BTreeSet::new(), 3)
    }

    #[test]
    fn new_controllers_become_learners_then_voters() {
        let nodes = alive(4);
        assert_eq!(step(&members(&[1], &[]), &nodes), learner(2));
        assert_eq!(step(&members(&[1], &[2]), &nodes), Some(Step::SetVoters(ids(&[1, 2]))));
        assert_eq!(step(&members(&[1, 2], &[3]), &nodes), Some(Step::SetVoters(ids(&[1, 2, 3]))));
        assert_eq!(step(&members(&[1, 2, 3], &[]), &nodes), learner(4));
        assert_eq!(step(&members(&[1, 2, 3], &[4]), &nodes), None);
    }

    #[test]
    fn voters_do_not_get_even_on_the_way_to_what_is_wanted() {
        let next = |members: &Members, count| next_step(members, &alive(count), &BTreeSet::new(), 5);
        assert_eq!(
            next(&members(&[1], &[2]), 2),
            Some(Step::SetVoters(ids(&[1, 2]))),
            "both have everything"
        );
        assert_eq!(next(&members(&[1, 2], &[3]), 3), Some(Step::SetVoters(ids(&[1, 2, 3]))));
        assert_eq!(next(&members(&[1, 2, 3], &[4]), 4), None, "four bear no more losses than three");
        let five = Some(Step::SetVoters(ids(&[1, 2, 3, 4, 5])));
        assert_eq!(next(&members(&[1, 2, 3], &[4, 5]), 5), five);
        assert_eq!(next(&members(&[1, 2, 3, 4], &[]), 4), None, "the fifth went: nobody is sent after it");
        let silent = Members { unheard: ids(&[3]), ..members(&[1, 2, 3], &[4]) };
        assert_eq!(next(&silent, 4), Some(Step::SetVoters(ids(&[1, 2, 4]))));
        let four = next_step(&members(&[1, 2, 3], &[4]), &alive(4), &BTreeSet::new(), 4);
        assert_eq!(four, Some(Step::SetVoters(ids(&[1, 2, 3, 4]))), "as was asked");
    }

    #[test]
    fn who_lags_waits() {
        let mut lagging = members(&[1], &[2]);
        lagging.caught_up = vec![NodeId::new(1)];
        assert_eq!(step(&lagging, &alive(2)), None);
    }

    #[test]
    fn a_voter_that_is_not_heard_keeps_its_seat_until_it_can_be_taken() {
        let silent = |learners: &[u64]| Members { unheard: ids(&[3]), ..members(&[1, 2, 3], learners) };
        assert_eq!(step(&silent(&[]), &alive(3)), None);
        assert_eq!(step(&silent(&[4]), &alive(4)), Some(Step::SetVoters(ids(&[1, 2, 4]))));
    }

    /// Reports are of data planes: a controller may vote on while its node's is dead.
    #[test]
    fn what_becomes_of_a_data_plane_moves_no_seat() {
        let mut nodes = alive(4);
        nodes.extend([node(3, NodeState::Dead)]);
        assert_eq!(step(&members(&[1, 2, 3], &[4]), &nodes), None);
    }

    #[test]
    fn a_leaving_leader_hands_over_first() {
        let mut nodes = alive(3);
        nodes.extend([node(1, NodeState::Leaving)]);
        assert_eq!(step(&members(&[1, 2, 3], &[]), &nodes), Some(Step::TransferTo(NodeId::new(2))));
        let third_first =
            Members { caught_up: [3, 2, 1].map(NodeId::new).into(), ..members(&[1, 2, 3], &[]) };
        assert_eq!(step(&third_first, &nodes), Some(Step::TransferTo(NodeId::new(3))), "who lags least");
        let led_by_2 = Members { leader: NodeId::new(2), ..members(&[1, 2, 3], &[]) };
        assert_eq!(step(&led_by_2, &nodes), Some(Step::SetVoters(ids(&[2, 3]))));
        let out = Members { leader: NodeId::new(2), ..members(&[2, 3], &[]) };
        assert_eq!(step(&out, &nodes), Some(Step::RemoveRecord(NodeId::new(1))));
        assert_eq!(next_step(&out, &nodes, &ids(&[1]), 3), None, "its replicas move first");
    }

    #[test]
    fn the_only_voter_never_goes() {
        let nodes = BTreeMap::from([node(1, NodeState::Leaving)]);
        assert_eq!(step(&members(&[1], &[]), &nodes), None);
    }

    #[test]
    fn members_without_a_record_go() {
        let nodes = alive(2);
        assert_eq!(step(&members(&[1, 2, 3], &[]), &nodes), Some(Step::SetVoters(ids(&[1, 2]))));
        assert_eq!(step(&members(&[1, 2], &[3]), &nodes), Some(Step::RemoveLearner(NodeId::new(3))));
    }

    #[test]
    fn a_moved_member_is_recorded_anew() {
        let two = NodeId::new(2);
        let mut moved = members(&[1, 2], &[]);
        moved.seats.insert(two, Seat { address: "10.0.0.9:1".to_owned(), ..seat_of(two) });
        assert_eq!(step(&moved, &alive(2)), Some(Step::SetSeat(two, seat_of(two))));
        moved.seats.insert(two, Seat { store: StoreId::UNKNOWN, ..seat_of(two) });
        assert_eq!(step(&moved, &alive(2)), Some(Step::SetSeat(two, seat_of(two))));
    }

    #[test]
    fn a_learner_whose_store_is_not_known_does_not_vote_yet() {
        let mut nodes = alive(2);
        let two = NodeId::new(2);
        let mut members = members(&[1], &[2]);
        members.seats.insert(two, Seat { store: StoreId::UNKNOWN, ..seat_of(two) });
        assert_eq!(step(&members, &nodes), Some(Step::SetSeat(two, seat_of(two))), "it has told");
        if let Some(node) = nodes.get_mut(&two) {
            node.store = StoreId::UNKNOWN;
        }
        assert_eq!(step(&members, &nodes), None);
    }
}
