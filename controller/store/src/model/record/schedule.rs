//! A schedule: what it is told, and how far it is.

use bytes::Bytes;
use coracle_proto::id::InvocationId;

use super::super::name::Name;

/// What somebody has told of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// A cron expression. Whether it can be read was asked before it came here.
    pub cron: String,
    /// The zone of whose clock its times are, by the name of the IANA database.
    pub zone: String,
    /// The function of its namespace that is called.
    pub function: Name,
    /// With which it is called.
    pub data: Bytes,
    /// What becomes of times at which nobody was there to fire.
    pub missed: Missed,
    /// What becomes of a time at which the last call has not ended.
    pub overlap: Overlap,
}

/// What becomes of times at which nobody was there to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missed {
    /// They are left out.
    Skip,
    /// The newest of them fires.
    Once,
    /// All of them fire, as far as a bound, and then one that says how many were left out.
    All,
}

/// What becomes of a time at which the last call has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overlap {
    /// It fires.
    Allow,
    /// It is left out, and counted.
    Forbid,
}

/// A schedule, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// As it was told last.
    pub definition: Definition,
    /// Nothing fires while it is.
    pub paused: bool,
    /// A number of the group, another one whenever somebody has changed it: a tick that was reckoned before is refused.
    pub revision: u64,
    /// Its times up to this one are over, Unix milliseconds. Never goes back.
    pub cursor_ms: u64,
    /// The last tick that fired.
    pub fired: Option<Fired>,
    /// The last call, by a tick or by hand.
    pub invocation: Option<InvocationId>,
    /// Ticks that fired.
    pub ticks: u64,
    /// Were left out because the last call had not ended.
    pub skipped: u64,
    /// Were left out because nobody was there to fire.
    pub missed: u64,
}

/// A tick that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// The schedule's time, Unix milliseconds.
    pub at_ms: u64,
    /// When it did, by the group's clock.
    pub fired_ms: u64,
}

/// How many schedules the group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Schedules {
    pub(in super::super) count: u64,
}
