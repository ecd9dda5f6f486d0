//! Commands about data groups.

use std::collections::BTreeSet;

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::record::{DataGroup, Outcome, Record, Role, SLOTS, SlotTable};
use coracle_proto::status::{Code, Refusal};

use super::ClusterState;
use super::edit::Edit;

/// Data groups of a cluster: each has a slot at least.
pub const GROUPS_MAX: usize = SLOTS;
/// Members of a group while one is on its way to take another's place: each waits for every write.
pub const MEMBERS_MAX: usize = 7;

/// Takes over who the members of a group are to be.
pub(super) fn set(
    edit: &mut Edit<'_>,
    id: GroupId,
    members: BTreeSet<NodeId>,
    begun: bool,
) -> Result<Outcome, Refusal> {
    let known = edit.state.group(id);
    check_id(edit.state, id)?;
    check_members(edit.state, id, &members)?;
    let begun = begun || known.is_some_and(|known| known.begun);
    if known.is_none_or(|known| known.members != members || known.begun != begun) {
        edit.put(Record::Group(DataGroup { id, members, revision: edit.revision, begun }));
    }
    if edit.state.slots().is_none() {
        edit.put(Record::Slots(SlotTable { groups: vec![id; SLOTS], revision: edit.revision }));
    }
    Ok(Outcome::Done)
}

fn check_id(state: &ClusterState, id: GroupId) -> Result<(), Refusal> {
    if id == GroupId::META {
        let sentence = format!("group {id} has the cluster's own state: its members are the controllers");
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    if state.group(id).is_none() && state.groups.len() >= GROUPS_MAX {
        let sentence = format!("the cluster has {GROUPS_MAX} data groups, as many as it can");
        return Err(Refusal::new(Code::LimitReached, sentence));
    }
    Ok(())
}

/// Those that are members already may have lost the role: they stay until others have what they have.
fn check_members(state: &ClusterState, id: GroupId, members: &BTreeSet<NodeId>) -> Result<(), Refusal> {
    if !(1..=MEMBERS_MAX).contains(&members.len()) {
        let sentence =
            format!("group {id}: {} members, between 1 and {MEMBERS_MAX} are possible", members.len());
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    let before = state.group(id).map(|known| &known.members);
    for member in members {
        let keeps = state.node(*member).is_some_and(|node| node.is(Role::Store));
        if !keeps && before.is_none_or(|before| !before.contains(member)) {
            let sentence = format!("group {id}: there is no node {member} with the role {}", Role::Store);
            return Err(Refusal::new(Code::NodeNotFound, sentence));
        }
    }
    Ok(())
}

/// A node whose replica nobody has taken over yet must stay.
pub(super) fn check_holds_none(state: &ClusterState, node: NodeId) -> Result<(), Refusal> {
    let Some(group) = state.groups().find(|group| group.members.contains(&node)) else { return Ok(()) };
    let sentence =
        format!("node {node} has a replica of data group {}: another node takes it over first", group.id);
    Err(Refusal::new(Code::NodeRequired, sentence))
}
