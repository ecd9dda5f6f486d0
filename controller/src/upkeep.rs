//! What the leader decides about the cluster's own record: its format rises when every controller can read a higher one,
//! and its time goes on when nobody asks for anything.
//!
//! What a controller reads is told beside the state, not in it: a record with a field that older voters drop would make
//! two states. Decides only: no clock, no I/O.

mod findings;

use std::collections::BTreeMap;

use coracle_proto::id::{NodeId, StoreId};
use coracle_proto::record::Role;

use crate::model::{COMMAND_FORMAT, ClusterState, Command, FORMAT_DECISIONS, TIME_STEP_MAX_MS};

pub(crate) use findings::Findings;

/// Half a step: the next command is stamped right.
const LAG_MAX_MS: u64 = TIME_STEP_MAX_MS / 2;

/// Controllers that came back with another store than they joined with. Raft takes nothing of them and gives them nothing.
pub(crate) fn other_stores(state: &ClusterState, told: &BTreeMap<NodeId, StoreId>) -> Vec<String> {
    let other = |(node, told): (&NodeId, &StoreId)| {
        let known = state.node(*node)?.store;
        (known != StoreId::UNKNOWN && known != *told).then(|| {
            format!(
                "other-store: node {node} has lost what it had: remove it ('coracle node remove {node}'), empty its \
                 data folder and let it join anew"
            )
        })
    };
    told.iter().filter_map(other).collect()
}

/// What is to be decided, if anything, at a time that no clock disputes. Every controller that has a record counts, also one that is down: it comes back.
pub(crate) fn next(
    state: &ClusterState,
    own: NodeId,
    told: &BTreeMap<NodeId, u32>,
    time_ms: Option<u64>,
) -> Option<Command> {
    let cluster = state.cluster()?;
    let reads = |node| if node == own { Some(COMMAND_FORMAT) } else { told.get(&node).copied() };
    let controllers = state.nodes().filter(|node| node.is(Role::Controller));
    // One that has not told is less than any that has.
    let format = controllers.map(|node| reads(node.id)).min().flatten().unwrap_or_default();
    if format > cluster.version {
        return Some(Command::RaiseFormat { format: format.min(COMMAND_FORMAT) });
    }
    let late = time_ms.is_some_and(|now_ms| cluster.time_ms.saturating_add(LAG_MAX_MS) < now_ms);
    (late && cluster.version >= FORMAT_DECISIONS).then_some(Command::KeepTime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples::Asked;

    #[test]
    fn the_format_rises_when_every_controller_reads_the_higher_one() {
        let mut asked = Asked::cluster(3);
        let own = NodeId::new(1);
        let decided = |asked: &Asked, told: &[(u64, u32)]| {
            let told = told.iter().map(|(node, format)| (NodeId::new(*node), *format)).collect();
            next(&asked.state, own, &told, None)
        };
        let higher = COMMAND_FORMAT + 7;
        assert_eq!(decided(&asked, &[(2, COMMAND_FORMAT)]), None, "node 3 has not told");
        assert_eq!(decided(&asked, &[(2, COMMAND_FORMAT), (3, 1)]), None, "node 3 reads the first only");
        let raise = Command::RaiseFormat { format: COMMAND_FORMAT };
        assert_eq!(
            decided(&asked, &[(2, higher), (3, higher)]),
            Some(raise.clone()),
            "this one reads no higher"
        );
        asked.run(raise);
        assert_eq!(decided(&asked, &[(2, higher), (3, higher)]), None);
    }

    #[test]
    fn the_time_of_a_quiet_cluster_is_kept() {
        let mut asked = Asked::cluster(1);
        let own = NodeId::new(1);
        let decided = |asked: &Asked, now_ms| next(&asked.state, own, &BTreeMap::new(), now_ms);
        asked.run(Command::RaiseFormat { format: COMMAND_FORMAT });
        let time_ms = asked.state.cluster().unwrap().time_ms;
        assert_eq!(decided(&asked, Some(time_ms + LAG_MAX_MS)), None);
        assert_eq!(decided(&asked, Some(time_ms + LAG_MAX_MS + 1)), Some(Command::KeepTime));
        assert_eq!(decided(&asked, None), None, "one wrong clock must not drive it, an hour at each look");
    }
}
