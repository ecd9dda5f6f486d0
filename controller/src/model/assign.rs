//! The command that takes over what the placer decided.

use coracle_proto::id::NodeId;
use coracle_proto::key::Key;
use coracle_proto::record::{NodeState, Outcome, Record, Replica, Role};

use super::edit::Edit;
use super::{ClusterState, Placement};

/// Assigns and ends, as far as it still fits: the placer saw an older state.
pub(super) fn assign(edit: &mut Edit, placements: Vec<Placement>) -> Outcome {
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
            if takes(&edit.state, node) && edit.state.replica(&version, node).is_none() {
                edit.put(Record::Replica(Replica { version: version.clone(), node, epoch: edit.epoch() }));
                added = added.saturating_add(1);
            }
        }
    }
    Outcome::Assigned { added, dropped }
}

fn takes(state: &ClusterState, node: NodeId) -> bool {
    state.node(node).is_some_and(|node| node.is(Role::Worker) && node.state == NodeState::Alive)
}
