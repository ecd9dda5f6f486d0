//! Which nodes hold a version: hard constraints filter, soft ones rank, and whoever holds it already stays.
//!
//! Nothing here moves a replica because of load, which changes all the time; load only ranks nodes for what is new.

mod moves;
mod score;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use coracle_proto::id::{NodeId, VersionId};
use coracle_proto::record::NodeState;
use thiserror::Error;

pub use moves::{Move, relocate, surplus};
use score::Score;
pub(crate) use score::fill;

/// What may be tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A node with more of its slots in use than so many thousandths ranks behind others.
    pub busy_permille: u32,
    /// A replica moves only if its node is still fuller than the other by so many percent afterwards.
    pub margin_percent: u32,
}

/// As it is used.
pub const POLICY: Policy = Policy { busy_permille: 800, margin_percent: 20 };

impl Policy {
    /// Whether a node of one [`fill`] is fuller than one of the other by the margin.
    pub(crate) fn is_fuller(&self, one: u64, other: u64) -> bool {
        one * 100 > other * u64::from(self.margin_percent.saturating_add(100))
    }
}

/// What is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct PlacementRequest<'a> {
    /// Which version.
    pub version: &'a VersionId,
    /// How many nodes shall hold it, together with those that do.
    pub wanted: usize,
}

/// How a node stands to the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does not hold it.
    Free,
    /// It holds it, and has it ready.
    Ready,
    /// It holds it, but has it not ready yet, or does not tell.
    Pending,
    /// It holds it in vain: it gave up making it ready.
    Failed,
}

/// A node as the placer sees it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Which node.
    pub node: NodeId,
    /// Where it stands.
    pub zone: &'a str,
    /// Whether it runs functions at all.
    pub worker: bool,
    /// What was decided about it.
    pub state: NodeState,
    /// It has not reported lately.
    pub suspect: bool,
    /// Calls that it runs at once.
    pub slots: u32,
    /// Calls that it runs now.
    pub in_flight: u32,
    /// Replicas of all versions that it holds.
    pub held: u32,
    /// It has the version's artifact on disk: it need not fetch it, and may have compiled it.
    pub has_artifact: bool,
    /// How it stands to the version.
    pub standing: Standing,
}

/// Why a node cannot hold a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has not the role.
    NoWorker,
    /// It was given up.
    Dead,
    /// It is being removed.
    Leaving,
    /// It tried and failed.
    Failed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoWorker => "is no worker",
            Self::Dead => "is dead",
            Self::Leaving => "is leaving",
            Self::Failed => "cannot make it ready",
        })
    }
}

/// No node can hold the version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Unplaceable {
    /// Which version.
    pub version: VersionId,
    /// Every node, and why it was ruled out.
    pub ruled_out: BTreeMap<NodeId, Reason>,
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no node can hold {}", self.version)?;
        for (index, (node, reason)) in self.ruled_out.iter().enumerate() {
            write!(f, "{} node {node} {reason}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

/// Where a version goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Nodes that shall hold it from now on, the best first.
    pub add: Vec<NodeId>,
    /// Nodes that cannot, and why: what to tell where too few are left.
    pub ruled_out: BTreeMap<NodeId, Reason>,
}

/// Why the node cannot hold the version, if it cannot.
#[must_use]
pub fn rule_out(candidate: &Candidate<'_>) -> Option<Reason> {
    match (candidate.worker, candidate.state, candidate.standing) {
        (false, _, _) => Some(Reason::NoWorker),
        (true, NodeState::Dead, _) => Some(Reason::Dead),
        (true, NodeState::Leaving, _) => Some(Reason::Leaving),
        (true, NodeState::Alive, Standing::Failed) => Some(Reason::Failed),
        (true, NodeState::Alive, Standing::Free | Standing::Ready | Standing::Pending) => None,
    }
}

/// Chooses nodes until `wanted` hold the version, or no more can.
///
/// # Errors
/// When not one node can hold it; each is named with its reason.
pub fn place(
    request: PlacementRequest<'_>,
    candidates: &[Candidate<'_>],
    policy: &Policy,
) -> Result<Choice, Unplaceable> {
    let mut ruled_out = BTreeMap::new();
    let (mut free, mut holders) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match (rule_out(candidate), candidate.standing) {
            (Some(reason), _) => {
                ruled_out.insert(candidate.node, reason);
            }
            (None, Standing::Free) => free.push(*candidate),
            (None, Standing::Ready | Standing::Pending | Standing::Failed) => holders.push(*candidate),
        }
    }
    if free.is_empty() && holders.is_empty() {
        return Err(Unplaceable { version: request.version.clone(), ruled_out });
    }
    let mut add = Vec::new();
    while holders.len() < request.wanted {
        let score = |candidate: &Candidate<'_>| Score::of(candidate, request.version, &holders, policy);
        let Some(best) = free.iter().copied().min_by_key(score) else { break };
        free.retain(|candidate| candidate.node != best.node);
        holders.push(best);
        add.push(best.node);
    }
    Ok(Choice { add, ruled_out })
}
