//! From what is wanted to what is assigned, one bounded round at a time. Asked again with nothing changed it
//! answers nothing: that is when all stands where it should.

mod survey;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{Digest, Epoch, NodeId, VersionId};
use coracle_proto::record::{Function, Replica, Weight};

use crate::model::{ClusterState, Placement, Switch};
use crate::placer::{PlacementRequest, Policy, Standing, Unplaceable, place, relocate, surplus};

use survey::Survey;

/// Placements of one round: one log entry stays far below the limit of messages, and other commands get their turn.
pub const PLACEMENTS_MAX: usize = 256;
/// Functions whose calls one round gives to other versions, for the same reasons.
pub const SWITCHES_MAX: usize = 256;
/// Moves of one round that only make things better. The next begin when these are done.
pub const MOVES_MAX: usize = 16;
/// Versions without a place that one round names; it has the number of all.
pub const UNPLACEABLE_MAX: usize = 16;
/// A replica that failed so often is given up; another node takes its place.
pub const ATTEMPTS_MAX: u32 = 3;

/// What workers told lately. Who is missing told nothing: nothing is ended because of what it might have.
pub type Soft = BTreeMap<NodeId, NodeSoft>;

/// What one worker told.
#[derive(Debug, Clone, Default)]
pub struct NodeSoft {
    /// It has not reported lately.
    pub suspect: bool,
    /// Calls that it runs now.
    pub in_flight: u32,
    /// Its replicas.
    pub replicas: BTreeMap<VersionId, ReplicaSoft>,
    /// Artifacts that it has on disk.
    pub artifacts: BTreeSet<Digest>,
}

/// What a worker told of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaSoft {
    /// Of which assignment.
    pub epoch: Epoch,
    /// How far it is.
    pub readiness: Readiness,
    /// Failed attempts.
    pub attempts: u32,
}

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Being fetched or compiled.
    Preparing,
    /// It takes calls.
    Ready,
    /// The last attempt failed.
    Failed,
}

/// What one round decided.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Who holds what from now on.
    pub placements: Vec<Placement>,
    /// Functions whose calls can go where they were asked to.
    pub switches: Vec<Switch>,
    /// Versions that take calls, or wait for them, and that no node can hold.
    /// The first of them: each names every node.
    pub unplaceable: Vec<Unplaceable>,
    /// How many there are.
    pub unplaceable_count: usize,
    /// The round was full: the next one goes on as soon as this one is applied.
    pub more: bool,
}

impl Plan {
    /// Nothing is to be proposed: all stands where it should.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.placements.is_empty() && self.switches.is_empty()
    }
}

/// Plans one round.
#[must_use]
pub fn plan(state: &ClusterState, soft: &Soft, policy: &Policy) -> Plan {
    let mut round = Round { survey: Survey::new(state, soft), policy, plan: Plan::default(), moving: false };
    for function in state.functions() {
        if round.plan.placements.len() >= PLACEMENTS_MAX || round.plan.switches.len() >= SWITCHES_MAX {
            round.plan.more = true;
            return round.plan;
        }
        round.function(state, function);
    }
    if round.plan.is_empty() && !round.moving {
        round.rebalance(state);
    }
    round.plan
}

struct Round<'a> {
    survey: Survey<'a>,
    policy: &'a Policy,
    plan: Plan,
    /// Some version is held by more nodes than it should: a move is not done yet.
    moving: bool,
}

impl Round<'_> {
    /// First the versions that take calls, or wait for them, are placed. When those that wait can answer, they
    /// are given the calls. When those that take calls are ready, all others end.
    fn function(&mut self, state: &ClusterState, function: &Function) {
        let kept = function.kept();
        let replicas: Vec<&Replica> = state.replicas_of_function(&function.id).collect();
        let mut all_ready = true;
        for number in &kept {
            let version = VersionId { function: function.id.clone(), number: *number };
            let own: Vec<_> = replicas.iter().copied().filter(|replica| replica.version == version).collect();
            let ready = self.version(state, &version, &own);
            all_ready &= ready || !function.serves(*number);
        }
        let answers = |part: &Weight| {
            let mut own = replicas.iter().filter(|replica| replica.version.number == part.version);
            own.any(|replica| self.survey.answers(replica))
        };
        if !function.next.is_empty() && function.next.iter().all(answers) {
            self.plan.switches.push(Switch { function: function.id.clone(), updated: function.updated });
        }
        if all_ready {
            self.end(replicas.into_iter().filter(|replica| !kept.contains(&replica.version.number)));
        }
    }

    /// Places one version, and says whether it is ready on as many nodes as it can be.
    fn version(&mut self, state: &ClusterState, version: &VersionId, replicas: &[&Replica]) -> bool {
        let spec = state.version(version).map_or(0, |version| version.spec.replicas());
        let wanted = usize::try_from(spec).unwrap_or(usize::MAX).min(self.survey.workers);
        let here = |replica: &&&Replica| self.survey.takes(replica.node);
        let holds = |replica: &&&Replica| self.survey.standing(replica) != Standing::Failed;
        let holders = replicas.iter().filter(here).filter(holds).count();
        let ready = replicas.iter().filter(|replica| self.survey.answers(replica)).count();
        let elsewhere = replicas.iter().filter(|replica| !self.survey.takes(replica.node)).count();
        if wanted > 0 && holders == wanted && elsewhere == 0 {
            return ready == wanted;
        }
        self.moving |= holders > wanted;
        let candidates = self.survey.candidates(state, version);
        let request = PlacementRequest { version, wanted };
        let choice = match place(request, &candidates, self.policy) {
            Ok(choice) => choice,
            Err(unplaceable) => {
                self.plan.unplaceable_count += 1;
                if self.plan.unplaceable.len() < UNPLACEABLE_MAX {
                    self.plan.unplaceable.push(unplaceable);
                }
                return false;
            }
        };
        // Fewer than wanted where some of the nodes cannot hold it.
        let reachable = wanted.min(holders + choice.add.len());
        let enough = reachable > 0 && ready >= reachable;
        let surplus = surplus(request, &candidates);
        let ended = replicas.iter().filter(|replica| {
            surplus.contains(&replica.node) || (enough && !self.survey.takes(replica.node))
        });
        let drop: Vec<_> = ended.map(|replica| (replica.node, replica.epoch)).collect();
        self.propose(Placement { version: version.clone(), add: choice.add, drop });
        enough
    }

    /// Ends replicas of versions that take no calls and wait for none.
    fn end<'r>(&mut self, replicas: impl Iterator<Item = &'r Replica>) {
        let mut drops: BTreeMap<&VersionId, Vec<(NodeId, Epoch)>> = BTreeMap::new();
        for replica in replicas {
            drops.entry(&replica.version).or_default().push((replica.node, replica.epoch));
        }
        for (version, drop) in drops {
            self.propose(Placement { version: version.clone(), add: Vec::new(), drop });
        }
    }

    /// Moves a few replicas to where they stand better. Each begins with one more; the surplus ends later.
    fn rebalance(&mut self, state: &ClusterState) {
        for version in self.movable(state) {
            if self.plan.placements.len() >= MOVES_MAX {
                return;
            }
            let spec = state.version(version).map_or(0, |version| version.spec.replicas());
            let wanted = usize::try_from(spec).unwrap_or(usize::MAX).min(self.survey.workers);
            let candidates = self.survey.candidates(state, version);
            if let Some(better) = relocate(PlacementRequest { version, wanted }, &candidates, self.policy) {
                self.survey.taken(better.from);
                self.propose(Placement { version: version.clone(), add: vec![better.to], drop: Vec::new() });
            }
        }
    }

    /// Versions that may stand better: two in one zone where there are others, and what the fullest nodes hold.
    fn movable<'s>(&self, state: &'s ClusterState) -> BTreeSet<&'s VersionId> {
        let crowded = self.survey.crowded(self.policy);
        let mut movable: BTreeSet<_> = crowded
            .into_iter()
            .take(MOVES_MAX)
            .flat_map(|node| state.replicas_on(node))
            .map(|replica| &replica.version)
            .collect();
        let mut zones: BTreeMap<&VersionId, Vec<&str>> = BTreeMap::new();
        if self.survey.zones > 1 {
            for replica in state.replicas() {
                zones.entry(&replica.version).or_default().push(self.survey.zone(replica.node));
            }
        }
        for (version, zones) in zones {
            let distinct = zones.iter().collect::<BTreeSet<_>>().len();
            if distinct < zones.len().min(self.survey.zones) {
                movable.insert(version);
            }
        }
        movable.retain(|version| {
            state.function(&version.function).is_some_and(|function| function.serves(version.number))
        });
        movable
    }

    fn propose(&mut self, placement: Placement) {
        for node in &placement.add {
            self.survey.given(*node);
        }
        for (node, _) in &placement.drop {
            self.survey.taken(*node);
        }
        if !placement.add.is_empty() || !placement.drop.is_empty() {
            self.plan.placements.push(placement);
        }
    }
}
