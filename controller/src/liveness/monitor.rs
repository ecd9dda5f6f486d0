//! Asks the detector some times a second, while this node leads, and proposes what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::NodeId;
use coracle_proto::record::NodeState;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::detector::{Detector, POLICY, Restart, Verdicts};
use crate::clock;
use crate::context::Context;
use crate::model::Command;
use crate::propose::{Ask, propose};
use crate::soft::Seen;

/// A tenth of what the detector takes for a gap in its own ticks: a busy machine delays some of them.
const TICK: Duration = Duration::from_millis(200);
/// A controller that exchanged nothing for so long passes no reports on any more.
const RELAY_LOST_AFTER: Duration = Duration::from_millis(1500);
/// Verdicts are named again until the state says so.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

const _: () = assert!(TICK.as_millis() < POLICY.gap.as_millis());
const _: () = assert!(RELAY_LOST_AFTER.as_millis() < POLICY.suspect_after.as_millis());

/// The name under which this driver raises alarms.
const SOURCE: &str = "liveness";

/// Nodes that are to be marked.
type Marks = Vec<(NodeId, NodeState)>;

/// Runs until it is dropped.
pub(crate) async fn monitor(context: &Context, term: u64) {
    // One batch waits at most: while it does, the same verdicts are named again.
    let (marks, queue) = mpsc::channel(1);
    tokio::join!(watch(context, marks), propose_marks(context, term, queue));
}

async fn watch(context: &Context, marks: mpsc::Sender<Marks>) {
    let begun = clock::now();
    let mut detector = Detector::new(POLICY);
    // What came before this node led tells nothing about now.
    let mut heard: BTreeMap<NodeId, Instant> =
        context.soft.nodes().iter().map(|(node, seen)| (*node, seen.at)).collect();
    let mut lost = BTreeSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (node, seen) in context.soft.nodes() {
            if heard.insert(node, seen.at).is_none_or(|before| before < seen.at) {
                detector.report(node, seen.at.saturating_duration_since(begun));
            }
        }
        let now = clock::now();
        let silent = context.soft.silent_relays(now, RELAY_LOST_AFTER);
        if let Some(unheard) = behind(&silent, &lost, &context.soft.nodes()) {
            info!(
                ?silent,
                ?unheard,
                "controllers that passed reports on fell silent: their nodes get their whole time again"
            );
            detector.restart_some(&unheard, now.saturating_duration_since(begun));
        }
        lost = silent;
        let state = context.hub.state();
        // Every node reports: a controller without a data plane speaks for itself (`soft::tend`).
        let nodes = state.nodes().map(|node| (node.id, node.state)).collect();
        let verdicts = detector.tick(now.saturating_duration_since(begun), &nodes);
        tell(context, &verdicts);
        let dead = verdicts.dead.into_iter().map(|node| (node, NodeState::Dead));
        let back = verdicts.back.into_iter().map(|node| (node, NodeState::Alive));
        let batch: Marks = dead.chain(back).collect();
        if !batch.is_empty() {
            // A batch that does not fit is named again by the next tick.
            let _ = marks.try_send(batch);
        }
    }
}

/// The nodes whose last report came by a controller that was not silent before; none where there is no such
/// controller. Others are judged on: a controller that comes and goes delays no verdict but those of its nodes.
fn behind(
    silent: &BTreeSet<NodeId>,
    before: &BTreeSet<NodeId>,
    seen: &BTreeMap<NodeId, Seen>,
) -> Option<BTreeSet<NodeId>> {
    let new: BTreeSet<_> = silent.difference(before).copied().collect();
    if new.is_empty() {
        return None;
    }
    let by_one = |seen: &Seen| seen.relay.is_some_and(|relay| new.contains(&relay));
    Some(seen.iter().filter(|(_, seen)| by_one(seen)).map(|(node, _)| *node).collect())
}

fn tell(context: &Context, verdicts: &Verdicts) {
    match verdicts.restarted {
        Some(Restart::Away(gap)) => {
            info!(?gap, "this process did not run for a while: every node gets its whole time again");
        }
        Some(Restart::Mended) => info!("the mass silence is over: every node gets its whole time again"),
        None => {}
    }
    let alarm = verdicts.alarm.map(|alarm| {
        format!(
            "mass-silence: {} of {} nodes fell silent at once; none is given up",
            alarm.silent, alarm.nodes
        )
    });
    context.soft.set_alarms(SOURCE, alarm.into_iter().collect());
}

async fn propose_marks(context: &Context, term: u64, mut queue: mpsc::Receiver<Marks>) {
    while let Some(marks) = queue.recv().await {
        for (node, state) in marks {
            // The batch may have waited: what the state says already is not proposed again.
            if context.hub.state().node(node).is_none_or(|known| known.state == state) {
                continue;
            }
            info!(%node, state = state.name(), "a verdict");
            let ask = Ask::decided(context, term, Command::MarkNode { node, state });
            if let Err(reason) = propose(context, ask, clock::now() + PROPOSE_TIMEOUT).await {
                warn!(%reason, %node, "the node was not marked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb::NodeStatus;

    use super::*;

    #[test]
    fn a_controller_that_comes_and_goes_delays_only_its_own_nodes() {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId::new).collect::<BTreeSet<_>>();
        let first = Seen::first(&NodeStatus::default(), clock::now());
        let seen = |relay: Option<u64>| Seen { relay: relay.map(NodeId::new), ..first.clone() };
        let seen = [(4, None), (5, Some(2)), (6, Some(3))].map(|(node, by)| (NodeId::new(node), seen(by)));
        let seen = BTreeMap::from(seen);
        assert_eq!(behind(&ids(&[2]), &ids(&[]), &seen), Some(ids(&[5])));
        assert_eq!(behind(&ids(&[2]), &ids(&[2]), &seen), None, "it is silent still");
        assert_eq!(behind(&ids(&[2, 3]), &ids(&[2]), &seen), Some(ids(&[6])));
    }
}
