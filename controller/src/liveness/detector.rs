//! Who is alive: reports and the time in, verdicts out. It never judges by its own absence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::record::NodeState;

#[cfg(test)]
mod tests;

/// When a silent node is what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Silent for so long: nothing new is placed there. Four reports at two a second.
    pub suspect_after: Duration,
    /// Silent for so long: its replicas move. Longer than a restart of its data plane.
    pub dead_after: Duration,
    /// Between two ticks lies less, or this process was stopped itself and knows nothing. A starved machine delays
    /// ticks by a second now and then: if every delay began all waits anew, no node would ever be given up there.
    /// Shorter absences do no harm, for reports wait in the sockets meanwhile and are read long before a node is dead.
    pub gap: Duration,
}

/// As it is used.
pub const POLICY: Policy = Policy {
    suspect_after: Duration::from_secs(2),
    dead_after: Duration::from_secs(10),
    gap: Duration::from_secs(2),
};

const _: () = assert!(POLICY.suspect_after.as_millis() < POLICY.dead_after.as_millis());
// A node that was heard just before an absence which is not noticed has most of its time left after it.
const _: () = assert!(POLICY.gap.as_millis() * 4 < POLICY.dead_after.as_millis());

/// What one tick says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Not heard lately. Nothing is decided about them.
    pub suspect: BTreeSet<NodeId>,
    /// To be marked as dead; named again in each tick until the state says so.
    pub dead: BTreeSet<NodeId>,
    /// Marked as dead, but heard: to be marked as alive; named again as well.
    pub back: BTreeSet<NodeId>,
    /// So many are silent at once that the fault is more likely in between: none is declared dead.
    pub alarm: Option<MassSilence>,
    /// Every wait began anew with this tick.
    pub restarted: Option<Restart>,
}

/// Why every wait began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Nobody asked for so long: this process was stopped, or starved.
    Away(Duration),
    /// The mass silence is over.
    Mended,
}

/// More than half of the nodes fell silent in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MassSilence {
    /// How many are silent.
    pub silent: usize,
    /// Of how many.
    pub nodes: usize,
}

/// Waits for reports of every node. Times are counted from any fixed start.
#[derive(Debug, Clone)]
pub struct Detector {
    policy: Policy,
    heard: BTreeMap<NodeId, Heard>,
    last_tick: Option<Duration>,
    alarmed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    /// Of the last report, or when the wait for one began.
    since: Duration,
    /// There was a report since then.
    reported: bool,
}

impl Detector {
    /// Knows of no node yet.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self { policy, heard: BTreeMap::new(), last_tick: None, alarmed: false }
    }

    /// A node reported. Reports of nodes that the next tick does not name are forgotten by it.
    pub fn report(&mut self, node: NodeId, at: Duration) {
        let heard = self.heard.entry(node).or_insert(Heard { since: at, reported: true });
        *heard = Heard { since: heard.since.max(at), reported: true };
    }

    /// Begins every wait anew: this controller came to lead, or was away.
    pub fn restart(&mut self, now: Duration) {
        for heard in self.heard.values_mut() {
            *heard = Heard { since: now, reported: false };
        }
    }

    /// Begins the wait for these nodes anew: the controller that passed their reports on was lost.
    pub fn restart_some(&mut self, nodes: &BTreeSet<NodeId>, now: Duration) {
        for node in nodes {
            if let Some(heard) = self.heard.get_mut(node) {
                *heard = Heard { since: now, reported: false };
            }
        }
    }

    /// Judges the nodes that are expected to report, as the state has them.
    pub fn tick(&mut self, now: Duration, nodes: &BTreeMap<NodeId, NodeState>) -> Verdicts {
        let gap = self.last_tick.map(|last| now.saturating_sub(last)).filter(|gap| *gap >= self.policy.gap);
        let mut restarted = gap.map(Restart::Away);
        if restarted.is_some() {
            self.restart(now);
        }
        self.last_tick = Some(now);
        self.heard.retain(|node, _| nodes.contains_key(node));
        for node in nodes.keys() {
            self.heard.entry(*node).or_insert(Heard { since: now, reported: false });
        }
        let alarm = self.mass_silence(now, nodes);
        if self.alarmed && alarm.is_none() {
            // Whatever was in between is mended; the others are given the time to report as well.
            self.restart(now);
            restarted = restarted.or(Some(Restart::Mended));
        }
        self.alarmed = alarm.is_some();
        Verdicts { alarm, restarted, ..self.judge(now, nodes, alarm.is_some()) }
    }

    fn judge(&self, now: Duration, nodes: &BTreeMap<NodeId, NodeState>, alarmed: bool) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for (node, state) in nodes {
            let Some(heard) = self.heard.get(node) else { continue };
            let silent = now.saturating_sub(heard.since);
            if silent >= self.policy.suspect_after {
                verdicts.suspect.insert(*node);
            }
            match state {
                NodeState::Alive if silent >= self.policy.dead_after && !alarmed => {
                    verdicts.dead.insert(*node);
                }
                NodeState::Dead if heard.reported && silent < self.policy.suspect_after => {
                    verdicts.back.insert(*node);
                }
                NodeState::Alive | NodeState::Dead | NodeState::Leaving => {}
            }
        }
        verdicts
    }

    /// Of the nodes that were not given up yet. One that fell silent earlier is among the dead already, so
    /// that the silent ones are those of one window.
    fn mass_silence(&self, now: Duration, nodes: &BTreeMap<NodeId, NodeState>) -> Option<MassSilence> {
        let living = || nodes.iter().filter(|(_, state)| **state != NodeState::Dead);
        let silent = living().filter(|(node, _)| {
            let heard = self.heard.get(node);
            heard.is_some_and(|heard| now.saturating_sub(heard.since) >= self.policy.suspect_after)
        });
        let (silent, nodes) = (silent.count(), living().count());
        (silent * 2 > nodes).then_some(MassSilence { silent, nodes })
    }
}
