//! The group's own record: whose it is, its clock and its counter.

use coracle_raft::Position;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::op::Batch;
pub use super::record::Group;
use super::refusal::{Reason, Refusal};
use super::{keys, view};

/// How far one entry moves the group's clock on: one wrong clock expires an hour's worth, and an alarm is raised.
pub const TIME_STEP_MAX_MS: u64 = 60 * 60 * 1000;

/// The group's record; none before its first entry.
///
/// # Errors
/// When it cannot be read.
pub fn group(reader: &dyn Reader) -> Result<Option<Group>, Stop> {
    view::get(reader, &keys::group())
}

/// The record as the entry finds it: its first entry makes it, and with its stamp the clock begins.
pub(super) fn found(reader: &dyn Reader, batch: &Batch) -> Result<Group, Stop> {
    let founded = || Group {
        cluster: batch.cluster,
        id: batch.group,
        sequence: 0,
        time_ms: batch.stamp_ms,
        remembered: 0,
        remembered_from: 0,
    };
    Ok(group(reader)?.unwrap_or_else(founded))
}

/// The group's time at the entry's stamp: never back, and on by a bounded step.
pub(super) fn time_at(group: &Group, stamp_ms: u64) -> u64 {
    stamp_ms.clamp(group.time_ms, group.time_ms.saturating_add(TIME_STEP_MAX_MS))
}

/// Refuses an entry of another group, and what another term's leader made.
pub(super) fn admit(group: &Group, position: Position, batch: &Batch) -> Result<(), Refusal> {
    if (group.cluster, group.id) != (batch.cluster, batch.group) {
        let meant = format!("group {} of cluster {}", batch.group, batch.cluster);
        return Err(Refusal::of(Reason::WrongGroup, meant));
    }
    if batch.term != position.term {
        return Err(Refusal::over(Reason::WrongTerm, "the entry", batch.term, position.term));
    }
    Ok(())
}
