//! Which data groups there are, and on which nodes their replicas are to be: one group to begin with, on up to three nodes in as
//! many zones as there are; who is given up is replaced. Decides only, the next step each time: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::record::{DataGroup, Node, NodeState, Role};

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
    /// Who has a replica.
    pub(crate) holders: BTreeSet<NodeId>,
    /// Whether the leader's members change just now.
    pub(crate) changing: bool,
}

/// One step. The next one is decided when this one is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// These are to be the group's members.
    Set { group: GroupId, members: BTreeSet<NodeId>, begun: bool },
    /// A node is told of a group who its members are: one that is to begin, to lead others there, or to end.
    Arrange { group: GroupId, node: NodeId },
}

/// What to do next.
pub(crate) fn next_steps(
    nodes: &BTreeMap<NodeId, Node>,
    groups: &BTreeMap<GroupId, DataGroup>,
    told: &BTreeMap<GroupId, Told>,
) -> Vec<Step> {
    if groups.is_empty() {
        let members = chosen(nodes, &BTreeSet::new());
        let begins = !members.is_empty();
        return begins.then_some(Step::Set { group: FIRST, members, begun: false }).into_iter().collect();
    }
    let nothing = Told::default();
    groups
        .values()
        .flat_map(|group| of_group(nodes, group, told.get(&group.id).unwrap_or(&nothing)))
        .collect()
}

fn of_group(nodes: &BTreeMap<NodeId, Node>, group: &DataGroup, told: &Told) -> Vec<Step> {
    let id = group.id;
    let set = |members, begun| vec![Step::Set { group: id, members, begun }];
    if !group.begun && told.leader.is_some() {
        return set(group.members.clone(), true);
    }
    // Where its leader is not as far yet nothing else is begun: each change is of one member at a time.
    if group.begun && told.leader.is_some() && told.voters == group.members && !told.changing {
        let members = wanted(nodes, &group.members);
        if members != group.members {
            return set(members, true);
        }
    }
    let begin = group.members.difference(&told.holders);
    let lead = told.leader.filter(|_| told.voters != group.members);
    let end = told.holders.difference(&group.members).filter(|node| {
        // It still votes: its leader lets it go first.
        told.leader.is_some() && !told.voters.contains(node)
    });
    let nodes: BTreeSet<NodeId> = begin.copied().chain(lead).chain(end.copied()).collect();
    nodes.into_iter().map(|node| Step::Arrange { group: id, node }).collect()
}

/// The members that there should be: one comes or goes at a time.
fn wanted(nodes: &BTreeMap<NodeId, Node>, members: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let lost: Vec<_> = members.iter().copied().filter(|node| !is_fit(nodes.get(node))).collect();
    let fit: BTreeSet<_> = members.iter().copied().filter(|node| !lost.contains(node)).collect();
    let mut better = chosen(nodes, &fit);
    let Some(come) = better.difference(&fit).next().copied() else {
        // Nobody takes its place. One that was only given up may come back; one that goes for good must not be waited for.
        let goes =
            lost.into_iter().find(|node| nodes.get(node).is_none_or(|node| node.state != NodeState::Dead));
        return match goes.filter(|_| !fit.is_empty()) {
            Some(goes) => members.iter().copied().filter(|node| *node != goes).collect(),
            None => members.clone(),
        };
    };
    better = members.clone();
    if members.len() >= REPLICAS {
        let goes = lost.first().copied();
        let Some(goes) = goes else { return better };
        better.remove(&goes);
    }
    better.insert(come);
    better
}

fn is_fit(node: Option<&Node>) -> bool {
    node.is_some_and(|node| {
        node.is(Role::Store) && node.state == NodeState::Alive && !node.addresses.store.is_empty()
    })
}

/// These, and others to make them as many as there should be, in other zones first.
fn chosen(nodes: &BTreeMap<NodeId, Node>, kept: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut chosen = kept.clone();
    let zone = |id: &NodeId| nodes.get(id).map(|node| node.zone.as_str()).unwrap_or_default();
    while chosen.len() < REPLICAS {
        let others = nodes.values().filter(|node| is_fit(Some(node)) && !chosen.contains(&node.id));
        let in_zone = |id: &NodeId| chosen.iter().filter(|other| zone(other) == zone(id)).count();
        let Some(best) = others.map(|node| node.id).min_by_key(|id| (in_zone(id), *id)) else { break };
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

    fn nodes(states: &[(u64, NodeState, &str)]) -> BTreeMap<NodeId, Node> {
        let node = |(id, state, zone): &(u64, NodeState, &str)| {
            let mut node =
                Node { id: NodeId::new(*id), state: *state, zone: (*zone).to_owned(), ..samples::node("a") };
            node.roles.insert(Role::Store);
            node.addresses.store = format!("10.0.0.{id}:7403");
            (node.id, node)
        };
        states.iter().map(node).collect()
    }

    fn alive(count: u64) -> BTreeMap<NodeId, Node> {
        nodes(&(1..=count).map(|id| (id, NodeState::Alive, "")).collect::<Vec<_>>())
    }

    fn group(members: &[u64], begun: bool) -> BTreeMap<GroupId, DataGroup> {
        let group = DataGroup { id: FIRST, members: ids(members), revision: Revision::new(1), begun };
        BTreeMap::from([(FIRST, group)])
    }

    /// By the word of the least of the voters.
    fn told(voters: &[u64], holders: &[u64]) -> BTreeMap<GroupId, Told> {
        let voters = ids(voters);
        let told = Told { leader: voters.first().copied(), voters, holders: ids(holders), changing: false };
        BTreeMap::from([(FIRST, told)])
    }

    fn set(members: &[u64], begun: bool) -> Vec<Step> {
        vec![Step::Set { group: FIRST, members: ids(members), begun }]
    }

    fn arrange(nodes: &[u64]) -> Vec<Step> {
        nodes.iter().map(|node| Step::Arrange { group: FIRST, node: NodeId::new(*node) }).collect()
    }

    #[test]
    fn a_cluster_begins_with_one_group_on_what_there_is() {
        let none = BTreeMap::new();
        assert_eq!(next_steps(&BTreeMap::new(), &BTreeMap::new(), &none), []);
        assert_eq!(next_steps(&alive(1), &BTreeMap::new(), &none), set(&[1], false));
        assert_eq!(next_steps(&alive(5), &BTreeMap::new(), &none), set(&[1, 2, 3], false));
        let zones = nodes(&[
            (1, NodeState::Alive, "a"),
            (2, NodeState::Alive, "a"),
            (3, NodeState::Alive, "b"),
            (4, NodeState::Alive, "c"),
        ]);
        assert_eq!(next_steps(&zones, &BTreeMap::new(), &none), set(&[1, 3, 4], false), "one in each zone");
        let mut without = alive(1);
        without.values_mut().for_each(|node| node.addresses.store.clear());
        assert_eq!(next_steps(&without, &BTreeMap::new(), &none), [], "nobody reaches it");
    }

    #[test]
    fn each_member_begins_and_then_it_is_known_that_it_did() {
        let nodes = alive(3);
        assert_eq!(next_steps(&nodes, &group(&[1, 2, 3], false), &BTreeMap::new()), arrange(&[1, 2, 3]));
        assert_eq!(next_steps(&nodes, &group(&[1, 2, 3], false), &told(&[], &[1, 2])), arrange(&[3]));
        assert_eq!(
            next_steps(&nodes, &group(&[1, 2, 3], false), &told(&[1, 2, 3], &[1, 2, 3])),
            set(&[1, 2, 3], true)
        );
        assert_eq!(next_steps(&nodes, &group(&[1, 2, 3], true), &told(&[1, 2, 3], &[1, 2, 3])), []);
    }

    #[test]
    fn others_come_one_by_one_until_there_are_enough() {
        let nodes = alive(4);
        assert_eq!(next_steps(&nodes, &group(&[1], true), &told(&[1], &[1])), set(&[1, 2], true));
        let next = next_steps(&nodes, &group(&[1, 2], true), &told(&[1], &[1]));
        assert_eq!(next, arrange(&[1, 2]), "the leader lets it in, and it begins");
        assert_eq!(next_steps(&nodes, &group(&[1, 2], true), &told(&[1, 2], &[1, 2])), set(&[1, 2, 3], true));
    }

    #[test]
    fn who_is_given_up_is_replaced_and_stays_while_nobody_can() {
        let three = nodes(&[(1, NodeState::Alive, ""), (2, NodeState::Alive, ""), (3, NodeState::Dead, "")]);
        let (all, of_all) = (group(&[1, 2, 3], true), told(&[1, 2, 3], &[1, 2]));
        assert_eq!(next_steps(&three, &all, &of_all), arrange(&[3]), "it is told as soon as it is back");
        let mut four = three.clone();
        four.extend(nodes(&[(4, NodeState::Alive, "")]));
        assert_eq!(next_steps(&four, &all, &of_all), set(&[1, 2, 4], true));
        let out = next_steps(&four, &group(&[1, 2, 4], true), &told(&[1, 2, 4], &[1, 2, 3, 4]));
        assert_eq!(out, arrange(&[3]), "what it has is of no use any more");
        let mut changing = of_all.clone();
        changing.values_mut().for_each(|told| told.changing = true);
        assert_eq!(next_steps(&four, &all, &changing), arrange(&[3]), "one thing after the other");
    }

    #[test]
    fn who_leaves_is_let_go_unless_it_has_the_last_replica() {
        let leaving = |others: &[u64]| {
            let mut all = nodes(&[(1, NodeState::Leaving, "")]);
            all.extend(others.iter().flat_map(|id| nodes(&[(*id, NodeState::Alive, "")])));
            all
        };
        let two = next_steps(&leaving(&[2]), &group(&[1, 2], true), &told(&[1, 2], &[1, 2]));
        assert_eq!(two, set(&[2], true));
        let one = next_steps(&leaving(&[]), &group(&[1], true), &told(&[1], &[1]));
        assert_eq!(one, []);
        let replaced = next_steps(&leaving(&[2]), &group(&[1], true), &told(&[1], &[1]));
        assert_eq!(replaced, set(&[1, 2], true), "the other one has it all before this one goes");
    }
}
