//! The order in which nodes are chosen: the order of the fields is the policy.

use coracle_proto::id::{NodeId, VersionId};

use super::{Candidate, Policy};

/// The least one is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// It may be gone: only where nobody else is left.
    suspect: bool,
    /// Replicas of the version in its zone already: a zone fails as a whole.
    in_zone: usize,
    /// It has no room for calls right now.
    busy: bool,
    /// Whole replicas for each slot: having the artifact must not draw everything to those that took the uploads.
    crowd: u64,
    /// It would have to fetch the artifact first: others are ready sooner.
    lacks_artifact: bool,
    /// Replicas for its size: how much it has to do with.
    fill: u64,
    /// Nodes of one score are taken in an order of the version's own, so that versions spread.
    turn: u64,
    /// So that the answer is one.
    node: NodeId,
}

impl Score {
    pub(super) fn of(
        candidate: &Candidate<'_>,
        version: &VersionId,
        holders: &[Candidate<'_>],
        policy: &Policy,
    ) -> Self {
        Self {
            suspect: candidate.suspect,
            in_zone: in_zone(candidate, holders),
            busy: permille(candidate.in_flight, candidate.slots) > u64::from(policy.busy_permille),
            crowd: fill(candidate.held, candidate.slots) / 1000,
            lacks_artifact: !candidate.has_artifact,
            fill: fill(candidate.held, candidate.slots),
            turn: turn(version, candidate.node),
            node: candidate.node,
        }
    }
}

/// Other holders in its zone.
pub(super) fn in_zone(candidate: &Candidate<'_>, holders: &[Candidate<'_>]) -> usize {
    let beside = |other: &&Candidate<'_>| other.node != candidate.node && other.zone == candidate.zone;
    holders.iter().filter(beside).count()
}

/// Thousandths of a replica for each slot of a node that holds so many.
pub(crate) fn fill(held: u32, slots: u32) -> u64 {
    permille(held, slots)
}

fn permille(part: u32, whole: u32) -> u64 {
    u64::from(part) * 1000 / u64::from(whole.max(1))
}

/// Rendezvous hashing (Thaler and Ravishankar, 1998).
fn turn(version: &VersionId, node: NodeId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(version.to_string().as_bytes());
    hasher.update(&node.get().to_be_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
