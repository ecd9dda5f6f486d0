//! What one node holds, as it was told: its replicas and artifacts, put together from what changed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::{Digest, Epoch, FunctionId, VersionId, VersionNumber};
use coracle_proto::pb::{HeldArtifact, NodeStatus, ReplicaPhase, ReplicaStatus};
use coracle_proto::soft::short_reason;
use imbl::OrdMap;

use crate::clock::millis;

/// How far a node is with one assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaTold {
    pub(crate) epoch: Epoch,
    pub(crate) phase: ReplicaPhase,
    /// Failed attempts.
    pub(crate) attempts: u32,
    /// Of the last failure.
    pub(crate) reason: Box<str>,
    /// Compilations before its own.
    pub(crate) ahead: u32,
}

/// An artifact that a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArtifactTold {
    pub(crate) size: u64,
    age_ms: u64,
    /// When that was its age.
    at: Instant,
}

impl ArtifactTold {
    /// Since it was stored or renewed.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        Duration::from_millis(self.age_ms).saturating_add(now.saturating_duration_since(self.at))
    }
}

/// Both lists. Persistent: a clone costs nothing, a change its own size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holdings {
    pub(crate) replicas: OrdMap<VersionId, ReplicaTold>,
    pub(crate) artifacts: OrdMap<Digest, ArtifactTold>,
}

/// What one status changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Without a phase where it is not assigned any more.
    pub(super) replicas: Vec<(VersionId, Option<ReplicaTold>)>,
    pub(super) artifacts: Vec<(Digest, Option<ArtifactTold>)>,
}

impl Changed {
    /// Nothing that others decide by.
    pub(super) const fn is_empty(&self) -> bool {
        self.replicas.is_empty() && self.artifacts.is_empty()
    }

    pub(super) const fn items(&self) -> usize {
        self.replicas.len() + self.artifacts.len()
    }
}

impl Holdings {
    /// Takes over the lists of a status that came at `now`; answers with what they changed. What cannot be read is
    /// left out: it is of a newer program.
    pub(super) fn take(&mut self, status: &NodeStatus, now: Instant) -> Changed {
        let (mut gone_replicas, mut gone_artifacts) = if status.since == 0 {
            (self.replicas.clone(), self.artifacts.clone())
        } else {
            (OrdMap::new(), OrdMap::new())
        };
        let mut changed = Changed::default();
        for (version, told) in status.replicas.iter().filter_map(replica) {
            gone_replicas.remove(&version);
            self.put_replica(version, told, &mut changed);
        }
        let held = status.artifacts.iter().filter_map(|held| artifact(held, now));
        for (digest, told) in held {
            gone_artifacts.remove(&digest);
            self.put_artifact(digest, told, &mut changed);
        }
        for (version, _) in gone_replicas {
            self.put_replica(version, None, &mut changed);
        }
        let dropped = status.dropped.iter().filter_map(|digest| Digest::try_from(&digest[..]).ok());
        for digest in gone_artifacts.into_iter().map(|(digest, _)| digest).chain(dropped) {
            if self.artifacts.remove(&digest).is_some() {
                changed.artifacts.push((digest, None));
            }
        }
        changed
    }

    fn put_replica(&mut self, version: VersionId, told: Option<ReplicaTold>, changed: &mut Changed) {
        if self.replicas.get(&version) == told.as_ref() {
            return;
        }
        match told.clone() {
            Some(told) => drop(self.replicas.insert(version.clone(), told)),
            None => drop(self.replicas.remove(&version)),
        }
        changed.replicas.push((version, told));
    }

    /// An age alone is a renewal, which only who deletes must know: it is no change where it only went on.
    fn put_artifact(&mut self, digest: Digest, told: ArtifactTold, changed: &mut Changed) {
        let known = self.artifacts.insert(digest, told);
        let renewed = |known: ArtifactTold| told.age(told.at) + AGE_SLACK < known.age(told.at);
        if known.is_none_or(renewed) {
            changed.artifacts.push((digest, Some(told)));
        }
    }
}

/// Ages are told at different moments: less than this between two is the same age.
const AGE_SLACK: Duration = Duration::from_secs(2);

fn replica(wire: &ReplicaStatus) -> Option<(VersionId, Option<ReplicaTold>)> {
    let function = FunctionId::parse(&wire.namespace, &wire.name).ok()?;
    let version = VersionId { function, number: VersionNumber::new(wire.version) };
    let told = ReplicaTold {
        epoch: Epoch::new(wire.epoch),
        phase: wire.phase(),
        attempts: wire.attempts,
        reason: short_reason(&wire.reason).into(),
        ahead: wire.ahead,
    };
    Some((version, (told.phase != ReplicaPhase::Unspecified).then_some(told)))
}

fn artifact(wire: &HeldArtifact, now: Instant) -> Option<(Digest, ArtifactTold)> {
    let digest = Digest::try_from(&wire.digest[..]).ok()?;
    Some((digest, ArtifactTold { size: wire.size, age_ms: wire.age_ms, at: now }))
}

/// A replica on the wire; one that is gone has no phase.
pub(crate) fn replica_to_wire(version: &VersionId, told: Option<&ReplicaTold>) -> ReplicaStatus {
    let wire = ReplicaStatus {
        namespace: version.function.namespace.to_string(),
        name: version.function.name.to_string(),
        version: version.number.get(),
        ..ReplicaStatus::default()
    };
    let Some(told) = told else { return wire };
    ReplicaStatus {
        epoch: told.epoch.get(),
        phase: told.phase.into(),
        reason: told.reason.to_string(),
        attempts: told.attempts,
        ahead: told.ahead,
        ..wire
    }
}

/// The same as gateways need it: they route by the phase alone.
pub(super) fn phase_to_wire(version: &VersionId, told: Option<&ReplicaTold>) -> ReplicaStatus {
    ReplicaStatus { reason: String::new(), attempts: 0, ahead: 0, ..replica_to_wire(version, told) }
}

/// An artifact on the wire, with its age at `now`.
pub(crate) fn artifact_to_wire(digest: &Digest, told: &ArtifactTold, now: Instant) -> HeldArtifact {
    HeldArtifact { digest: digest.to_wire(), size: told.size, age_ms: millis(told.age(now)) }
}

/// Puts both lists into a status.
pub(super) fn fill(status: &mut NodeStatus, holdings: &Holdings, now: Instant) {
    status.since = 0;
    status.replicas = holdings.replicas.iter().map(|(id, told)| replica_to_wire(id, Some(told))).collect();
    status.artifacts = holdings.artifacts.iter().map(|(id, told)| artifact_to_wire(id, told, now)).collect();
    status.dropped = Vec::new();
}

/// Puts what changed into a status.
pub(super) fn fill_changed(status: &mut NodeStatus, changed: &Changed, now: Instant) {
    status.replicas = changed.replicas.iter().map(|(id, told)| replica_to_wire(id, told.as_ref())).collect();
    let held = changed.artifacts.iter();
    status.artifacts =
        held.clone().filter_map(|(id, told)| Some(artifact_to_wire(id, told.as_ref()?, now))).collect();
    status.dropped =
        held.filter(|(_, told)| told.is_none()).map(|(id, _)| -> Bytes { id.to_wire() }).collect();
}
