//! Asks the detector some times a second, and proposes what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::NodeId;
use coracle_proto::record::NodeState;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::duty::{Agenda, Duty, Leading, drive};
use crate::clock;
use crate::context::Context;
use crate::liveness::detector::{Detector, POLICY, Restart, Verdicts};
use crate::model::Command;
use crate::soft::Seen;

/// A tenth of what the detector takes for a gap in its own ticks: a busy machine delays some of them.
const TICK: Duration = Duration::from_millis(200);
/// A controller that exchanged nothing for so long passes no reports on any more.
const RELAY_LOST_AFTER: Duration = Duration::from_millis(1500);

const _: () = assert!(TICK.as_millis() < POLICY.gap.as_millis());
const _: () = assert!(RELAY_LOST_AFTER.as_millis() < POLICY.suspect_after.as_millis());

/// Nodes that are to be marked.
type Marks = Vec<(NodeId, NodeState)>;

/// Runs until it is dropped.
pub(super) async fn judge(leading: Leading<'_>) {
    // One batch waits at most: while it does, the same verdicts are named again.
    let (marks, queue) = mpsc::channel(1);
    tokio::join!(drive(Judge::new(leading, marks)), propose_marks(leading, queue));
}

/// Whom it heard, and what follows from that.
#[derive(Debug)]
struct Judge<'a> {
    context: &'a Context,
    ticks: Interval,
    begun: Instant,
    detector: Detector,
    heard: BTreeMap<NodeId, Instant>,
    /// Controllers that pass nothing on.
    lost: BTreeSet<NodeId>,
    /// Proposed beside the ticks: none may wait for a majority.
    marks: mpsc::Sender<Marks>,
}

impl<'a> Judge<'a> {
    fn new(Leading { context, .. }: Leading<'a>, marks: mpsc::Sender<Marks>) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            context,
            ticks,
            begun: clock::now(),
            detector: Detector::new(POLICY),
            // What came before this node led tells nothing about now.
            heard: context.soft.nodes().iter().map(|(node, seen)| (*node, seen.at)).collect(),
            lost: BTreeSet::new(),
            marks,
        }
    }

    /// Tells the detector who was heard, and which nodes could not be.
    fn listen(&mut self, now: Instant) {
        let soft = &self.context.soft;
        for (node, seen) in soft.nodes() {
            if self.heard.insert(node, seen.at).is_none_or(|before| before < seen.at) {
                self.detector.report(node, seen.at.saturating_duration_since(self.begun));
            }
        }
        let silent = soft.silent_relays(now, RELAY_LOST_AFTER);
        if let Some(unheard) = behind(&silent, &self.lost, &soft.nodes()) {
            info!(
                ?silent,
                ?unheard,
                "controllers that passed reports on fell silent: their nodes get their whole time again"
            );
            self.detector.restart_some(&unheard, now.saturating_duration_since(self.begun));
        }
        self.lost = silent;
    }
}

impl Duty for Judge<'_> {
    const NAME: &'static str = "liveness";

    type Act = Marks;

    async fn wake(&mut self) {
        self.ticks.tick().await;
    }

    fn plan(&mut self, now: Instant) -> Agenda<Marks> {
        self.listen(now);
        let state = self.context.hub.state();
        // Every node reports: a controller without a data plane speaks for itself (`exchange::tend`).
        let nodes = state.nodes().map(|node| (node.id, node.state)).collect();
        let verdicts = self.detector.tick(now.saturating_duration_since(self.begun), &nodes);
        show(self.context, &verdicts);
        let dead = verdicts.dead.into_iter().map(|node| (node, NodeState::Dead));
        let back = verdicts.back.into_iter().map(|node| (node, NodeState::Alive));
        let marks: Marks = dead.chain(back).collect();
        Agenda::of((!marks.is_empty()).then_some(marks))
    }

    async fn act(&mut self, marks: Marks) -> Result<(), String> {
        // A batch that does not fit is named again by the next tick.
        let _ = self.marks.try_send(marks);
        Ok(())
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

fn show(context: &Context, verdicts: &Verdicts) {
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
    context.soft.set_alarms(Judge::<'_>::NAME, alarm.into_iter().collect());
}

async fn propose_marks(leading: Leading<'_>, mut queue: mpsc::Receiver<Marks>) {
    while let Some(marks) = queue.recv().await {
        for (node, state) in marks {
            // The batch may have waited: what the state says already is not proposed again.
            if leading.context.hub.state().node(node).is_none_or(|known| known.state == state) {
                continue;
            }
            info!(%node, state = state.name(), "a verdict");
            // It is named again until the state says so.
            if let Err(reason) = leading.decide(Command::MarkNode { node, state }).await {
                warn!(reason, %node, "the node was not marked");
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
