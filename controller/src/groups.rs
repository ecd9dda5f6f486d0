//! Which data groups there are, and on which nodes their replicas are to be: one group to begin with, on up to three nodes in as
//! many zones as there are; whose store is silent for long is replaced. Decides only, the next steps each time: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{GroupId, NodeId, StoreId};
use coracle_proto::record::{DataGroup, Node, NodeState, Role};
use coracle_raft::Seat;

/// Replicas of a group: any one of three may be lost, and each more waits for every write.
const REPLICAS: usize = 3;
/// What a cluster begins with.
const FIRST: GroupId = GroupId::new(1);

/// What the members of a group say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Who leads, by a leader's own word.
    pub(crate) leader: Option<NodeId>,
    /// Who votes, by the leader's word; empty without one.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Where each member is, and its store, as the leader has it recorded.
    pub(crate) seats: BTreeMap<NodeId, Seat>,
    /// Who has a replica.
    pub(crate) holders: BTreeSet<NodeId>,
    /// Whether the leader's members change just now.
    pub(crate) changing: bool,
}

/// What is known of the stores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stores {
    /// The nodes of the cluster.
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// Stores that were silent for as long as it takes to give one up.
    pub(crate) silent: BTreeSet<NodeId>,
    /// What each that answers has on its disk.
    pub(crate) ids: BTreeMap<NodeId, StoreId>,
}

impl Stores {
    /// Whether it is there, and is to stay. What is known of a node's data plane says nothing of its store.
    fn is_fit(&self, id: NodeId) -> bool {
        !self.silent.contains(&id) && !self.goes(id)
    }

    /// Whether it is not to come back: it leaves, or keeps nothing any more.
    fn goes(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_none_or(|node| {
            !node.is(Role::Store) || node.state == NodeState::Leaving || node.addresses.store.is_empty()
        })
    }

    fn zone(&self, id: NodeId) -> &str {
        self.nodes.get(&id).map(|node| node.zone.as_str()).unwrap_or_default()
    }
}

/// One step. Others of the same look are tried whatever becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// These are to be the group's members.
    Set { group: GroupId, members: BTreeSet<NodeId>, begun: bool },
    /// A node is told of a group who its members are, and where.
    Arrange { group: GroupId, node: NodeId },
}

/// What to do next.
pub(crate) fn next_steps(
    stores: &Stores,
    groups: &BTreeMap<GroupId, DataGroup>,
    told: &BTreeMap<GroupId, Told>,
) -> Vec<Step> {
    if groups.is_empty() {
        let members = chosen(stores, &BTreeSet::new());
        let begins = !members.is_empty();
        return begins.then_some(Step::Set { group: FIRST, members, begun: false }).into_iter().collect();
    }
    let nothing = Told::default();
    groups
        .values()
        .flat_map(|group| of_group(stores, group, told.get(&group.id).unwrap_or(&nothing)))
        .collect()
}

fn of_group(stores: &Stores, group: &DataGroup, told: &Told) -> Vec<Step> {
    let id = group.id;
    let set = |members, begun| vec![Step::Set { group: id, members, begun }];
    if told.leader.is_none() {
        // Whoever may vote is to know where the others are.
        return arranged(id, group.members.iter().copied());
    }
    if !group.begun {
        return set(group.members.clone(), true);
    }
    if !told.changing {
        // What the leader has, or, where one that was to come is lost on its way, what it had before that.
        let stuck = group.members.difference(&told.voters).any(|node| !stores.is_fit(*node));
        let members = match told.voters == group.members || stuck {
            true => wanted(stores, &told.voters),
            false => group.members.clone(),
        };
        if members != group.members {
            return set(members, true);
        }
    }
    let begin = group.members.difference(&told.holders).copied();
    let lead = told.leader.filter(|_| told.voters != group.members);
    // While the voters change nobody goes: what is not committed may not come to be.
    let goes = |node: &&NodeId| !told.changing && !told.voters.contains(node);
    let end = told.holders.difference(&group.members).filter(goes).copied();
    let moved = group.members.iter().any(|node| is_elsewhere(stores, told, *node));
    let all = group.members.iter().copied().filter(|_| moved);
    arranged(id, begin.chain(lead).chain(end).chain(all))
}

fn arranged(group: GroupId, nodes: impl Iterator<Item = NodeId>) -> Vec<Step> {
    let nodes: BTreeSet<NodeId> = nodes.collect();
    nodes.into_iter().map(|node| Step::Arrange { group, node }).collect()
}

/// Whether a member is reached elsewhere than its leader has it recorded, or its store was not known then.
fn is_elsewhere(stores: &Stores, told: &Told, id: NodeId) -> bool {
    let (Some(node), Some(seat)) = (stores.nodes.get(&id), told.seats.get(&id)) else { return false };
    let address = &node.addresses.store;
    let is_told = seat.store == StoreId::UNKNOWN && stores.ids.contains_key(&id);
    is_told || (seat.address != *address && !address.is_empty())
}

/// The members that there should be where these vote: one comes or goes at a time.
fn wanted(stores: &Stores, voters: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let fit: BTreeSet<_> = voters.iter().copied().filter(|node| stores.is_fit(*node)).collect();
    // A silent one before one that answers still: what that has may be needed.
    let mut lost: Vec<_> = voters.difference(&fit).copied().collect();
    lost.sort_by_key(|node| (!stores.silent.contains(node), *node));
    let mut members = voters.clone();
    if let Some(comes) = chosen(stores, &fit).difference(voters).next() {
        members.insert(*comes);
        if voters.len() >= REPLICAS
            && let Some(goes) = lost.first()
        {
            members.remove(goes);
        }
    } else if let Some(goes) = lost.iter().find(|node| stores.goes(**node)) {
        // Nobody takes its place. One that is silent may come back; one that goes for good is not waited for.
        members.remove(goes);
    }
    // Those that answer decide by themselves afterwards, or nothing would ever be decided again.
    let answer = members.iter().filter(|node| !stores.silent.contains(node)).count();
    let decides = answer > members.len() / 2 && !members.is_empty();
    if decides { members } else { voters.clone() }
}

/// These, and others to make them as many as there should be, in other zones first.
fn chosen(stores: &Stores, kept: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut chosen = kept.clone();
    while chosen.len() < REPLICAS {
        let others = stores.nodes.keys().copied().filter(|id| stores.is_fit(*id) && !chosen.contains(id));
        let in_zone =
            |id: NodeId| chosen.iter().filter(|other| stores.zone(**other) == stores.zone(id)).count();
        let Some(best) = others.min_by_key(|id| (in_zone(*id), *id)) else { break };
        chosen.insert(best);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::Revision;

    use super::*;
    use crate::model::samples;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn seat(id: u64) -> Seat {
        Seat { address: format!("10.0.0.{id}:7403"), store: StoreId::new(id) }
    }

    fn in_zones(zones: &[&str]) -> Stores {
        let node = |(at, zone): (usize, &&str)| {
            let id = at as u64 + 1;
            let mut node = Node { id: NodeId::new(id), zone: (*zone).to_owned(), ..samples::node("a") };
            node.roles.insert(Role::Store);
            node.addresses.store = seat(id).address;
            (node.id, node)
        };
        let nodes: BTreeMap<_, _> = zones.iter().enumerate().map(node).collect();
        let stores = nodes.keys().map(|id| (*id, StoreId::new(id.get()))).collect();
        Stores { nodes, silent: BTreeSet::new(), ids: stores }
    }

    fn alive(count: usize) -> Stores {
        in_zones(&vec![""; count])
    }

    fn silent(count: usize, silent: &[u64]) -> Stores {
        Stores { silent: ids(silent), ..alive(count) }
    }

    fn leaving(mut stores: Stores, leaves: &[u64]) -> Stores {
        for id in ids(leaves) {
            stores.nodes.get_mut(&id).unwrap().state = NodeState::Leaving;
        }
        stores
    }

    fn group(members: &[u64], begun: bool) -> BTreeMap<GroupId, DataGroup> {
        let group = DataGroup { id: FIRST, members: ids(members), revision: Revision::new(1), begun };
        BTreeMap::from([(FIRST, group)])
    }

    /// By the word of the first of the voters.
    fn told(voters: &[u64], holders: &[u64]) -> BTreeMap<GroupId, Told> {
        let leader = voters.first().copied().map(NodeId::new);
        let seats = voters.iter().map(|id| (NodeId::new(*id), seat(*id))).collect();
        let told = Told { leader, voters: ids(voters), seats, holders: ids(holders), changing: false };
        BTreeMap::from([(FIRST, told)])
    }

    fn set(members: &[u64], begun: bool) -> Vec<Step> {
        vec![Step::Set { group: FIRST, members: ids(members), begun }]
    }

    fn arrange(nodes: &[u64]) -> Vec<Step> {
        nodes.iter().map(|node| Step::Arrange { group: FIRST, node: NodeId::new(*node) }).collect()
    }

    /// With the group as it is decided and as it is.
    fn next(stores: &Stores, members: &[u64], voters: &[u64], holders: &[u64]) -> Vec<Step> {
        next_steps(stores, &group(members, true), &told(voters, holders))
    }

    #[test]
    fn a_cluster_begins_with_one_group_on_what_there_is() {
        let begins = |stores: &Stores| next_steps(stores, &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(begins(&alive(0)), []);
        assert_eq!(begins(&alive(1)), set(&[1], false));
        assert_eq!(begins(&alive(5)), set(&[1, 2, 3], false));
        assert_eq!(begins(&in_zones(&["a", "a", "b", "c"])), set(&[1, 3, 4], false), "one in each zone");
        let mut without = alive(1);
        without.nodes.values_mut().for_each(|node| node.addresses.store.clear());
        assert_eq!(begins(&without), [], "nobody reaches it");
    }

    #[test]
    fn each_member_begins_and_then_it_is_known_that_it_did() {
        let (stores, new) = (alive(3), group(&[1, 2, 3], false));
        assert_eq!(next_steps(&stores, &new, &BTreeMap::new()), arrange(&[1, 2, 3]));
        assert_eq!(next_steps(&stores, &new, &told(&[], &[1, 2])), arrange(&[1, 2, 3]), "nobody leads yet");
        assert_eq!(next_steps(&stores, &new, &told(&[1, 2, 3], &[1, 2, 3])), set(&[1, 2, 3], true));
        assert_eq!(next(&stores, &[1, 2, 3], &[1, 2, 3], &[1, 2, 3]), []);
    }

    #[test]
    fn others_come_one_by_one_until_there_are_enough() {
        let stores = alive(4);
        assert_eq!(next(&stores, &[1], &[1], &[1]), set(&[1, 2], true));
        assert_eq!(
            next(&stores, &[1, 2], &[1], &[1]),
            arrange(&[1, 2]),
            "the leader lets it in, and it begins"
        );
        assert_eq!(next(&stores, &[1, 2], &[1, 2], &[1, 2]), set(&[1, 2, 3], true));
    }

    #[test]
    fn who_is_silent_for_long_is_replaced_and_stays_while_nobody_can() {
        assert_eq!(
            next(&silent(3, &[3]), &[1, 2, 3], &[1, 2, 3], &[1, 2]),
            arrange(&[3]),
            "told when it is back"
        );
        let four = silent(4, &[3]);
        assert_eq!(next(&four, &[1, 2, 3], &[1, 2, 3], &[1, 2]), set(&[1, 2, 4], true));
        let out = next(&four, &[1, 2, 4], &[1, 2, 4], &[1, 2, 3, 4]);
        assert_eq!(out, arrange(&[3]), "what it has is of no use any more");
        let mut changing = told(&[1, 2, 3], &[1, 2]);
        changing.values_mut().for_each(|told| told.changing = true);
        let waits = next_steps(&four, &group(&[1, 2, 3], true), &changing);
        assert_eq!(waits, arrange(&[3]), "one thing after the other");
    }

    /// A change that is not committed may not come to be.
    #[test]
    fn nobody_goes_while_the_voters_change() {
        let mut changing = told(&[1, 2, 4], &[1, 2, 3, 4]);
        changing.values_mut().for_each(|told| told.changing = true);
        assert_eq!(next_steps(&alive(4), &group(&[1, 2, 4], true), &changing), []);
        assert_eq!(next(&alive(4), &[1, 2, 4], &[1, 2, 4], &[1, 2, 3, 4]), arrange(&[3]));
    }

    /// The new one is lost before it votes.
    #[test]
    fn who_is_lost_on_its_way_is_not_waited_for() {
        let five = silent(5, &[3, 4]);
        assert_eq!(next(&five, &[1, 2, 4], &[1, 2, 3], &[1, 2]), set(&[1, 2, 5], true));
        let back = silent(4, &[4]);
        assert_eq!(
            next(&back, &[1, 2, 4], &[1, 2, 3], &[1, 2, 3]),
            set(&[1, 2, 3], true),
            "the old one is back"
        );
        assert_eq!(next(&silent(2, &[2]), &[1, 2], &[1], &[1]), set(&[1], true));
    }

    #[test]
    fn who_leaves_is_let_go_unless_it_has_the_last_replica() {
        assert_eq!(next(&leaving(alive(2), &[1]), &[1, 2], &[1, 2], &[1, 2]), set(&[2], true));
        assert_eq!(next(&leaving(alive(1), &[1]), &[1], &[1], &[1]), []);
        let replaced = next(&leaving(alive(2), &[1]), &[1], &[1], &[1]);
        assert_eq!(replaced, set(&[1, 2], true), "the other one has it all before this one goes");
    }

    #[test]
    fn no_plan_costs_the_majority() {
        let two_left = leaving(silent(3, &[3]), &[2]);
        assert_eq!(
            next(&two_left, &[1, 2, 3], &[1, 2, 3], &[1, 2]),
            arrange(&[3]),
            "the one that leaves is needed"
        );
        let with_spare = leaving(silent(4, &[3]), &[2]);
        let silent_first = next(&with_spare, &[1, 2, 3], &[1, 2, 3], &[1, 2]);
        assert_eq!(silent_first, set(&[1, 2, 4], true), "the silent one before the one that leaves");
        assert_eq!(next(&with_spare, &[1, 2, 4], &[1, 2, 4], &[1, 2, 4]), set(&[1, 4], true));
    }

    #[test]
    fn who_has_moved_or_told_of_its_store_is_told_to_all() {
        let all = &[1, 2, 3][..];
        let mut moved = alive(3);
        moved.nodes.get_mut(&NodeId::new(2)).unwrap().addresses.store = "10.9.9.9:7403".to_owned();
        assert_eq!(next(&moved, all, all, all), arrange(all));
        let mut late = told(all, all);
        late.values_mut()
            .for_each(|told| told.seats.get_mut(&NodeId::new(3)).unwrap().store = StoreId::UNKNOWN);
        assert_eq!(next_steps(&alive(3), &group(all, true), &late), arrange(all));
    }

    /// Whatever was decided, is voted, answers and leaves: those that answer can decide before and after.
    #[test]
    fn whatever_is_planned_can_be_decided() {
        let subsets = |of: u64| {
            (0..1_u64 << of)
                .map(move |bits| (1..=of).filter(|id| bits >> (id - 1) & 1 == 1).collect::<Vec<_>>())
        };
        for (voters, gone) in subsets(4).flat_map(|voters| subsets(4).map(move |gone| (voters.clone(), gone)))
        {
            for leaves in subsets(4) {
                let stores = leaving(silent(4, &gone), &leaves);
                let planned = wanted(&stores, &ids(&voters));
                let answer = |members: &BTreeSet<NodeId>| {
                    members.difference(&stores.silent).count() * 2 > members.len()
                };
                let changes = planned != ids(&voters);
                assert!(
                    !changes || answer(&planned),
                    "{voters:?}, silent {gone:?}, leaving {leaves:?}: {planned:?}"
                );
                let steps = planned.symmetric_difference(&ids(&voters)).count();
                assert!(steps <= 2, "{voters:?} to {planned:?}");
            }
        }
    }
}
