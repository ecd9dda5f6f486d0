//! The choice itself.

use std::cmp::Ordering;
use std::time::Duration;

use coracle_proto::id::{Epoch, NodeId, VersionId};

use super::loads::OfVersion;
use crate::balance::Loads;

/// How likely a replica can take a call, as far as the view says. The first is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It said that it is ready.
    Ready,
    /// It said nothing: it is tried.
    Unknown,
    /// It said that it is not ready.
    NotReady,
    /// Its node was given up, or is leaving.
    Leaving,
}

/// A replica that may take the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub node: NodeId,
    /// Whether that is the gateway's own node.
    pub local: bool,
    /// Since which assignment.
    pub epoch: Epoch,
    /// What the view says about it.
    pub rank: Rank,
}

/// Why a replica was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was the better one.
    Better,
    /// Its node failed, or it failed there, and may be back.
    Probe,
    /// Every one failed: one is tried all the same.
    Floor,
}

/// The choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Place in the list of candidates.
    pub index: usize,
    /// Where it is.
    pub node: NodeId,
    /// Why.
    pub why: Why,
}

/// Picks the replica for a call. `may_probe` when the call may be moved if it gets lost: such calls are the
/// first to try nodes that failed before. None without candidates.
#[must_use]
pub fn pick(
    candidates: &[Candidate],
    version: &VersionId,
    loads: &Loads,
    may_probe: bool,
    now: Duration,
    random: u64,
) -> Option<Pick> {
    let choice = |(index, candidate): (usize, &Candidate), why| Pick { index, node: candidate.node, why };
    let seen = loads.of(version, now);
    // Mostly nobody is aside, and then nobody is asked for: what is done for each candidate is done under a lock.
    let steady = seen.is_steady();
    let is_up = |one: &Candidate| steady || seen.health(one.node).is_up();
    let all = || candidates.iter().enumerate();
    let probe = (!steady).then(|| {
        all().find(|(_, one)| {
            let health = seen.health(one.node);
            one.rank <= Rank::Unknown && ((may_probe && health.may_probe(now)) || health.is_overdue(now))
        })
    });
    if let Some(probe) = probe.flatten() {
        return Some(choice(probe, Why::Probe));
    }
    let Some(rank) = candidates.iter().filter(|one| is_up(one)).map(|one| one.rank).min() else {
        let soonest = all().min_by_key(|(_, one)| (one.rank, seen.health(one.node).until(), one.node))?;
        return Some(choice(soonest, Why::Floor));
    };
    let pool = || all().filter(|(_, one)| one.rank == rank && is_up(one));
    let better =
        |one: &(usize, &Candidate), other: &(usize, &Candidate)| compare(&seen, one.1.node, other.1.node);
    let (first, second) = two(pool().count(), random);
    let mut best = pool().nth(first)?;
    if let Some(other) = pool().nth(second)
        && better(&other, &best) == Ordering::Less
    {
        best = other;
    }
    if let Some(local) = pool().find(|(_, one)| one.local)
        && better(&local, &best) != Ordering::Greater
    {
        best = local;
    }
    Some(choice(best, Why::Better))
}

/// Two different places of `count`, or the same one twice where there is only one.
fn two(count: usize, random: u64) -> (usize, usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    let first = (random & 0xffff_ffff) % count;
    let step = if count > 1 { 1 + (random >> 32) % (count - 1) } else { 0 };
    let place = |at: u64| usize::try_from(at).unwrap_or(0);
    (place(first), place((first + step) % count))
}

/// Less is better: calls for each slot, times what a call took lately where that is known of both.
fn compare(seen: &OfVersion<'_>, one: NodeId, other: NodeId) -> Ordering {
    let (mut ours, mut theirs) = (seen.busy(one), seen.busy(other));
    if let Some((our_latency, their_latency)) = seen.latency(one).zip(seen.latency(other)) {
        ours *= our_latency.max(1.0);
        theirs *= their_latency.max(1.0);
    }
    ours.total_cmp(&theirs)
}
