//! Goal: data groups are on nodes that keep, their slots are given out once, and no node goes with what only it has.

use std::collections::BTreeSet;

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::record::{Node, NodeState, Outcome, Role, SLOTS};
use coracle_proto::status::Code;

use crate::model::samples::{Asked, node};
use crate::model::{COMMAND_FORMAT, Command, FORMAT_GROUPS, MEMBERS_MAX, at_format};

const GROUP: GroupId = GroupId::new(1);

fn keeping(id: u64) -> Node {
    let mut node = Node { id: NodeId::new(id), ..node("a") };
    node.roles.insert(Role::Store);
    node.addresses.store = format!("10.0.0.{id}:7403");
    node
}

/// A cluster of so many nodes, of which the first ones keep.
fn cluster(nodes: u64, keep: u64) -> Asked {
    let mut asked = Asked::cluster(nodes);
    asked.run(Command::RaiseFormat { format: COMMAND_FORMAT });
    for id in 1..=keep {
        asked.run(Command::UpdateNode { node: keeping(id) });
    }
    asked
}

fn set(group: GroupId, members: &[u64], begun: bool) -> Command {
    let members: BTreeSet<_> = members.iter().copied().map(NodeId::new).collect();
    Command::SetGroup { group, members, begun }
}

#[test]
fn the_first_group_gets_every_slot_and_a_group_that_has_begun_stays_so() {
    let mut asked = cluster(3, 3);
    assert!(asked.state.slots().is_none());
    asked.run(set(GROUP, &[1, 2], false));
    asked.run(set(GROUP, &[1, 2], true));
    let before = asked.state.group(GROUP).unwrap().clone();
    assert!(before.begun);
    asked.run(set(GROUP, &[1, 2], false));
    assert_eq!(asked.state.group(GROUP), Some(&before), "nothing changed, nor the revision of it");
    asked.run(set(GROUP, &[1, 2, 3], false));
    assert!(asked.state.group(GROUP).unwrap().begun);
    asked.run(set(GroupId::new(2), &[3], false));
    assert_eq!(asked.state.slots().unwrap().groups, vec![GROUP; SLOTS]);
    assert_eq!(asked.state.groups().count(), 2);
}

#[test]
fn members_are_nodes_that_keep() {
    let mut asked = cluster(3, 2);
    assert_eq!(asked.refused(set(GroupId::META, &[1], false)), Code::InvalidArgument);
    assert_eq!(asked.refused(set(GROUP, &[], false)), Code::InvalidArgument);
    let many: Vec<u64> = (1..=MEMBERS_MAX as u64 + 1).collect();
    assert_eq!(asked.refused(set(GROUP, &many, false)), Code::InvalidArgument);
    assert_eq!(asked.refused(set(GROUP, &[1, 3], false)), Code::NodeNotFound, "it has no store");
    assert_eq!(asked.refused(set(GROUP, &[1, 9], false)), Code::NodeNotFound, "there is none");
    asked.run(set(GROUP, &[1, 2], false));
    // One that has lost the role stays until others have what it has.
    asked.run(Command::UpdateNode { node: Node { id: NodeId::new(2), ..node("a") } });
    assert_eq!(asked.run(set(GROUP, &[1, 2], true)).outcome, Outcome::Done);
}

#[test]
fn a_node_with_a_replica_is_not_removed() {
    let mut asked = cluster(3, 3);
    asked.run(set(GROUP, &[2, 3], true));
    let two = NodeId::new(2);
    asked.run(Command::MarkNode { node: two, state: NodeState::Leaving });
    assert_eq!(asked.refused(Command::RemoveNode { node: two }), Code::NodeRequired);
    asked.run(set(GROUP, &[3], true));
    assert_eq!(asked.run(Command::RemoveNode { node: two }).outcome, Outcome::Done);
}

#[test]
fn voters_of_a_lower_format_are_told_of_no_store() {
    let told = keeping(2);
    assert!(told.keeps());
    assert_eq!(Command::UpdateNode { node: told.clone() }.format(), FORMAT_GROUPS);
    let known = at_format(told.clone(), FORMAT_GROUPS - 1);
    assert!(!known.keeps() && known.is(Role::Worker));
    assert_eq!(Command::UpdateNode { node: known }.format(), 1);
    assert_eq!(at_format(told.clone(), FORMAT_GROUPS), told);
}
