//! What the leader decides about the cluster's own record: its format rises when every controller can read a higher one,
//! and its time goes on when nobody asks for anything.
//!
//! What a controller reads is told beside the state, not in it: a record with a field that older voters drop would make
//! two states.

mod members;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, Revision, StoreId};
use coracle_proto::record::Role;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::alarms::absurd_term;
use crate::clock;
use crate::context::Context;
use crate::model::{COMMAND_FORMAT, ClusterState, Command, FORMAT_DECISIONS, TIME_STEP_MAX_MS};
use crate::propose::{Ask, propose};
use crate::soft::INTERVAL;
use members::Members;

/// Nothing here is urgent; a cluster that was off for a month catches up in some minutes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A controller that told nothing for so long may have been replaced by another program since.
pub(crate) const TOLD_WITHIN: Duration = INTERVAL.saturating_mul(4);
/// Decided anew after that.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Half a step: the next command is stamped right.
const LAG_MAX_MS: u64 = TIME_STEP_MAX_MS / 2;

/// The name under which this is raised as an alarm.
const SOURCE: &str = "members";

/// Runs until it is dropped.
pub(crate) async fn drive(context: &Context, term: u64) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut members = Members::default();
    loop {
        ticks.tick().await;
        let now = clock::now();
        context.soft.set_alarms(SOURCE, alarms(context, &mut members, now));
        let told = context.soft.formats(now, TOLD_WITHIN);
        let time_ms = context.clock.undisputed_at(now);
        let Some(command) = next(&context.hub.state(), context.node, &told, time_ms) else {
            continue;
        };
        if let Command::RaiseFormat { format } = command {
            info!(format, "every controller reads this format: commands of it may be proposed from now on");
        }
        let ask = Ask::decided(context, term, command);
        if let Err(reason) = propose(context, ask, clock::now() + PROPOSE_TIMEOUT).await {
            warn!(%reason, "the cluster's record stays as it is");
        }
    }
}

/// What somebody should look at, and every node should know of.
fn alarms(context: &Context, members: &mut Members, now: Instant) -> Vec<String> {
    let status = context.raft.status();
    let seen = context.soft.nodes();
    let seen = seen.iter().map(|(node, seen)| (*node, Revision::new(seen.status.view_revision))).collect();
    // Last, for what the nodes have seen is older than it.
    let state = context.hub.state();
    let mut alarms = members.look(now, status.joint, state.revision(), &seen);
    alarms.extend(absurd_term(&status));
    alarms.extend(other_stores(&state, &context.soft.stores()));
    alarms
}

/// Controllers that came back with another store than they joined with. Raft takes nothing of them and gives them nothing.
fn other_stores(state: &ClusterState, told: &BTreeMap<NodeId, StoreId>) -> Vec<String> {
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
fn next(
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
