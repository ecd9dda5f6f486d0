//! How far this node is with what it was assigned: read by calls without a lock, and by reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use coracle_proto::id::{Digest, Epoch, VersionId};
use coracle_proto::record::Version;
use tokio::sync::watch;

use super::plan::{Facts, Phase, phase};
use crate::view::Held;
use crate::worker::{Assigned, Assignments};

/// One assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Since which decision.
    pub epoch: Epoch,
    /// With its whole spec.
    pub version: Arc<Version>,
    /// How far.
    pub phase: Phase,
    /// Of the last failure.
    pub reason: String,
    /// Failed steps in a row.
    pub attempts: u32,
    /// Compilations before its own; 0 where it waits for none.
    pub ahead: u32,
}

type Entries = BTreeMap<VersionId, Entry>;

/// The last state that was published.
#[derive(Debug)]
pub struct Board {
    entries: ArcSwap<Entries>,
    changes: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { entries: ArcSwap::default(), changes: watch::Sender::new(0) }
    }
}

impl Board {
    /// Wakes at each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every assignment.
    #[must_use]
    pub fn entries(&self) -> Arc<Entries> {
        self.entries.load_full()
    }

    /// Takes over what is assigned, how far it is and how many compilations are before each; tells of it only when it is
    /// something new. Gives those that are ready and were not.
    pub(super) fn publish(
        &self,
        held: &Held,
        facts: &Facts,
        ahead: &BTreeMap<Digest, u32>,
    ) -> Vec<Arc<Version>> {
        let entries: Entries = held
            .assignments()
            .map(|assignment| {
                let digest: Digest = assignment.version.digest;
                let failure = facts.failures.get(&digest);
                let entry = Entry {
                    epoch: assignment.epoch,
                    phase: phase(facts, &digest),
                    reason: failure.map(|failure| failure.reason.clone()).unwrap_or_default(),
                    attempts: failure.map_or(0, |failure| failure.attempts),
                    ahead: ahead.get(&digest).copied().unwrap_or_default(),
                    version: assignment.version,
                };
                (entry.version.id.clone(), entry)
            })
            .collect();
        let before = self.entries.load_full();
        if *before == entries {
            return Vec::new();
        }
        let ready =
            entries.values().filter(|entry| entry.phase == Phase::Ready && !was_ready(&before, entry));
        let ready = ready.map(|entry| Arc::clone(&entry.version)).collect();
        self.entries.store(Arc::new(entries));
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        ready
    }
}

/// Whether the very version was: one of its number may have been another.
fn was_ready(before: &Entries, entry: &Entry) -> bool {
    let known = before.get(&entry.version.id);
    known.is_some_and(|known| known.phase == Phase::Ready && known.version == entry.version)
}

impl Assignments for Board {
    fn get(&self, version: &VersionId) -> Option<Assigned> {
        let entries = self.entries.load();
        let entry = entries.get(version)?;
        let ready = entry.phase == Phase::Ready;
        Some(Assigned { epoch: entry.epoch, ready, version: Arc::clone(&entry.version) })
    }
}
