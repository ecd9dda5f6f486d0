//! Carrying out the leader's orders to remove artifacts that no version names.

use std::sync::Arc;

use super::Removal;
use super::plan::Facts;
use crate::artifact::{ArtifactError, Prepare, Removed, Store};
use crate::view::View;

/// Why an artifact stays although its removal was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is assigned, to be held, or just being fetched or compiled.
    Wanted,
    /// The order was made knowing more than this node does yet.
    ViewTooOld,
}

/// Whether the order may be carried out as far as the cluster's state goes; its age is the store's to judge.
pub(super) fn permitted(removal: &Removal, facts: &Facts, view: &View) -> Result<(), Kept> {
    let digest = &removal.digest;
    if facts.assigned.contains(digest) || facts.hold.contains(digest) || facts.running.contains_key(digest) {
        return Err(Kept::Wanted);
    }
    if view.held.stamp.revision < removal.revision {
        return Err(Kept::ViewTooOld);
    }
    Ok(())
}

/// Removes the artifact and what was compiled of it, unless it is too young. Blocks on the disk.
pub(super) fn remove(
    store: &Store,
    prepare: &Arc<dyn Prepare>,
    removal: &Removal,
) -> Result<(), ArtifactError> {
    let digest = &removal.digest;
    match store.remove(digest, removal.older_than, store.now_ms())? {
        Removed::Yes => {
            prepare.forget(digest);
            tracing::info!(%digest, revision = %removal.revision, "artifact removed: no version names it");
        }
        Removed::Absent => prepare.forget(digest),
        Removed::TooYoung { age_ms } => {
            // The leader repeats the order until it is done: once an interval.
            tracing::debug!(%digest, age_ms, "artifact kept: its grace was renewed");
        }
    }
    Ok(())
}
