//! What a holder gives up: to a better node, or because there are too many.

use coracle_proto::id::NodeId;

use super::score::{Score, fill, in_zone};
use super::{Candidate, PlacementRequest, Policy, Standing, rule_out};

/// A replica that would stand better elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Where it stands. It goes when the other one is ready.
    pub from: NodeId,
    /// Where it would stand better.
    pub to: NodeId,
}

/// A move that is worth it: into a zone without the version, or to a node that is emptier by the margin.
/// Looks at what is assigned and never at load, so that what swings does not move anything.
#[must_use]
pub fn relocate(
    request: PlacementRequest<'_>,
    candidates: &[Candidate<'_>],
    policy: &Policy,
) -> Option<Move> {
    let holders = holders(candidates);
    if !holders.iter().all(is_ready) || holders.len() != request.wanted {
        return None;
    }
    let from = holders.iter().max_by_key(|holder| weight(holder, &holders))?;
    let others: Vec<_> = holders.iter().copied().filter(|holder| holder.node != from.node).collect();
    let free = candidates.iter().filter(|candidate| {
        candidate.standing == Standing::Free && !candidate.suspect && rule_out(candidate).is_none()
    });
    // Nobody waits for a move: whoever has the artifact already is no better for it.
    let to = free.min_by_key(|candidate| {
        let equipped = Candidate { has_artifact: true, ..**candidate };
        Score::of(&equipped, request.version, &others, policy)
    })?;
    let (there, here) = (in_zone(to, &others), in_zone(from, &others));
    let (from_then, to_then) = (from.held.saturating_sub(1), to.held.saturating_add(1));
    let fuller = policy.is_fuller(fill(from_then, from.slots), fill(to_then, to.slots));
    let better = there < here || (there == here && fuller);
    better.then_some(Move { from: from.node, to: to.node })
}

/// Holders that are too many. None is, while one of them is not ready: it may be the one for which another goes.
#[must_use]
pub fn surplus(request: PlacementRequest<'_>, candidates: &[Candidate<'_>]) -> Vec<NodeId> {
    let mut kept = holders(candidates);
    let mut surplus = Vec::new();
    if !kept.iter().all(is_ready) {
        return surplus;
    }
    while kept.len() > request.wanted {
        let Some(worst) = kept.iter().copied().max_by_key(|holder| weight(holder, &kept)) else { break };
        kept.retain(|holder| holder.node != worst.node);
        surplus.push(worst.node);
    }
    surplus
}

fn holders<'a>(candidates: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let holds =
        |candidate: &&Candidate<'_>| candidate.standing != Standing::Free && rule_out(candidate).is_none();
    candidates.iter().filter(holds).copied().collect()
}

fn is_ready(holder: &Candidate<'_>) -> bool {
    holder.standing == Standing::Ready && !holder.suspect
}

/// The holder with the greatest weight goes: from the most crowded zone, then from the fullest node, then
/// the newest one.
fn weight(holder: &Candidate<'_>, holders: &[Candidate<'_>]) -> (usize, u64, NodeId) {
    (in_zone(holder, holders), fill(holder.held, holder.slots), holder.node)
}
