//! The command that takes over what the planner decided.

use coracle_proto::id::NodeId;
use coracle_proto::key::Key;
use coracle_proto::record::{Function, NodeState, Outcome, Record, Replica, Role};

use super::edit::Edit;
use super::{ClusterState, Placement, Switch};

/// Assigns, ends and switches, as far as it still fits: the planner saw an older state.
pub(super) fn assign(edit: &mut Edit<'_>, placements: Vec<Placement>, switches: Vec<Switch>) -> Outcome {
    let (mut added, mut dropped) = (0_u32, 0_u32);
    for Placement { version, add, drop } in placements {
        for (node, epoch) in drop {
            if edit.state.replica(&version, node).is_some_and(|replica| replica.epoch == epoch) {
                edit.remove(Key::Replica(version.clone(), node));
                dropped = dropped.saturating_add(1);
            }
        }
        if edit.state.version(&version).is_none() {
            continue;
        }
        for node in add {
            if takes(edit.state, node) && edit.state.replica(&version, node).is_none() {
                edit.put(Record::Replica(Replica { version: version.clone(), node, epoch: edit.epoch() }));
                added = added.saturating_add(1);
            }
        }
    }
    let switched = switches.into_iter().map(|wanted| u32::from(switch(edit, &wanted))).sum();
    Outcome::Assigned { added, dropped, switched }
}

/// Gives the calls to what they wait for. [`Function::updated`] stays: nobody asked for anything new.
fn switch(edit: &mut Edit<'_>, wanted: &Switch) -> bool {
    let Some(function) = edit.state.function(&wanted.function).cloned() else { return false };
    if function.next.is_empty() || function.updated != wanted.updated {
        return false;
    }
    edit.put(Record::Function(Function { traffic: function.next, next: Vec::new(), ..function }));
    true
}

fn takes(state: &ClusterState, node: NodeId) -> bool {
    state.node(node).is_some_and(|node| node.is(Role::Worker) && node.state == NodeState::Alive)
}
