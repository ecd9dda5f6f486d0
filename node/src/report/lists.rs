//! A node's lists as a controller is told them: all of them at first, then what changed. Decides only: no clock, no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_proto::id::{Digest, VersionId};
use coracle_proto::pb::{HeldArtifact, NodeStatus, ReplicaPhase, ReplicaStatus};
use coracle_proto::soft::short_reason;

use crate::agent::Entry;
use crate::agent::plan::Phase;
use crate::artifact::{Index, OnDisk};

type Entries = BTreeMap<VersionId, Entry>;

/// What was told last, and as which number.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// How often they changed. The first number is 1: 0 stands for nothing.
    changes: u64,
    entries: Arc<Entries>,
    held: Arc<Index>,
    /// Whether the controller of now was told all of it.
    told: bool,
}

impl Lists {
    /// Another controller is told from now on, or the same one missed something.
    pub(super) const fn begin(&mut self) {
        self.told = false;
    }

    /// Puts into a status what changed since the last one, of lists as they are at `now_ms`.
    pub(super) fn fill(
        &mut self,
        status: &mut NodeStatus,
        entries: Arc<Entries>,
        held: Arc<Index>,
        now_ms: u64,
    ) {
        let before = self.changes;
        let replicas = if Arc::ptr_eq(&self.entries, &entries) {
            Vec::new()
        } else {
            changed_replicas(&self.entries, &entries)
        };
        let (artifacts, dropped) = if Arc::ptr_eq(&self.held, &held) {
            (Vec::new(), Vec::new())
        } else {
            let renewed = held.iter().filter(|(digest, held)| self.held.get(*digest) != Some(*held));
            let gone = self.held.keys().filter(|digest| !held.contains_key(*digest));
            let renewed = renewed.map(|(digest, held)| artifact(digest, held, now_ms));
            (renewed.collect(), gone.map(|digest| digest.to_wire()).collect::<Vec<_>>())
        };
        let any = !(replicas.is_empty() && artifacts.is_empty() && dropped.is_empty());
        if any || before == 0 {
            self.changes = before.saturating_add(1);
        }
        (self.entries, self.held) = (entries, held);
        status.changes = self.changes;
        if std::mem::replace(&mut self.told, true) {
            status.since = before;
            (status.replicas, status.artifacts, status.dropped) = (replicas, artifacts, dropped);
        } else {
            status.replicas = self.entries.iter().map(|(id, entry)| replica(id, Some(entry))).collect();
            status.artifacts = self.held.iter().map(|(id, held)| artifact(id, held, now_ms)).collect();
        }
    }
}

fn changed_replicas(before: &Entries, after: &Entries) -> Vec<ReplicaStatus> {
    let says = |entry: &Entry| (entry.epoch, entry.phase, entry.attempts, entry.ahead);
    let same = |one: &Entry, other: &Entry| says(one) == says(other) && one.reason == other.reason;
    let new = after.iter().filter(|(id, entry)| before.get(*id).is_none_or(|known| !same(known, entry)));
    let gone = before.keys().filter(|id| !after.contains_key(*id));
    new.map(|(id, entry)| replica(id, Some(entry))).chain(gone.map(|id| replica(id, None))).collect()
}

/// One that is not assigned any more has no phase.
fn replica(id: &VersionId, entry: Option<&Entry>) -> ReplicaStatus {
    let phase = match entry.map(|entry| entry.phase) {
        None => ReplicaPhase::Unspecified,
        Some(Phase::Fetching) => ReplicaPhase::Fetching,
        Some(Phase::Compiling) => ReplicaPhase::Compiling,
        Some(Phase::Ready) => ReplicaPhase::Ready,
        Some(Phase::Failed) => ReplicaPhase::Failed,
    };
    ReplicaStatus {
        namespace: id.function.namespace.to_string(),
        name: id.function.name.to_string(),
        version: id.number.get(),
        epoch: entry.map_or(0, |entry| entry.epoch.get()),
        phase: phase.into(),
        reason: entry.map(|entry| short_reason(&entry.reason)).unwrap_or_default(),
        attempts: entry.map_or(0, |entry| entry.attempts),
        ahead: entry.map_or(0, |entry| entry.ahead),
    }
}

fn artifact(digest: &Digest, held: &OnDisk, now_ms: u64) -> HeldArtifact {
    HeldArtifact { digest: digest.to_wire(), size: held.size, age_ms: held.age_ms(now_ms) }
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::{Epoch, VersionNumber};
    use coracle_proto::soft::{PART_BYTES_MAX, cut};
    use coracle_proto::spec::Draft;
    use prost::Message as _;

    use super::*;
    use crate::worker::tests::version;

    fn entries(count: usize, phase: Phase, reason: &str) -> Arc<Entries> {
        let version = version("f", Draft::default());
        let id = |at: usize| VersionId {
            function: format!("function-{at}").parse().unwrap(),
            number: VersionNumber::new(1),
        };
        let reason = reason.to_owned();
        let entry = Entry { epoch: Epoch::new(9), version, phase, reason, attempts: 1, ahead: 0 };
        Arc::new((0..count).map(|at| (id(at), entry.clone())).collect())
    }

    fn told(lists: &mut Lists, entries: &Arc<Entries>, held: &[u8]) -> NodeStatus {
        let held = held.iter().map(|it| (Digest::new([*it; 32]), OnDisk { size: 1, renewed_ms: 5 }));
        let mut status = NodeStatus::default();
        lists.fill(&mut status, Arc::clone(entries), Arc::new(held.collect()), 7);
        status
    }

    #[test]
    fn only_what_changed_is_told_again() {
        let mut lists = Lists::default();
        let (two, one) = (entries(2, Phase::Ready, ""), entries(1, Phase::Failed, "why"));
        let first = told(&mut lists, &two, &[1]);
        assert_eq!((first.since, first.changes, first.replicas.len(), first.artifacts.len()), (0, 1, 2, 1));
        let same = told(&mut lists, &two, &[1]);
        assert_eq!((same.since, same.changes, same.replicas.len(), same.artifacts.len()), (1, 1, 0, 0));
        let next = told(&mut lists, &one, &[2]);
        let phases: Vec<_> = next.replicas.iter().map(ReplicaStatus::phase).collect();
        assert_eq!((next.since, next.changes), (1, 2));
        assert_eq!(phases, [ReplicaPhase::Failed, ReplicaPhase::Unspecified]);
        assert_eq!((next.artifacts[0].age_ms, next.dropped[0].to_vec()), (2, vec![1; 32]));
        lists.begin();
        let anew = told(&mut lists, &one, &[2]);
        assert_eq!((anew.since, anew.changes, anew.replicas.len(), anew.artifacts.len()), (0, 2, 1, 1));
    }

    /// 1,000 failures with long reasons were more than a message may have, and the node was thought dead.
    #[test]
    fn a_node_of_any_size_fits_into_messages() {
        let mut lists = Lists::default();
        let status = told(&mut lists, &entries(10_000, Phase::Failed, &"reason ".repeat(1000)), &[1]);
        let parts = cut(status, PART_BYTES_MAX);
        assert!(parts.iter().all(|part| part.encoded_len() <= PART_BYTES_MAX), "{} parts", parts.len());
        assert_eq!(parts.iter().map(|part| part.replicas.len()).sum::<usize>(), 10_000);
    }
}
