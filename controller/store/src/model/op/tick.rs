//! What the leader says when a schedule's time has come.

use coracle_proto::id::InvocationId;

use super::super::name::Place;

/// A schedule's time has come: it fires, or is left out. Either way its times up to this one are over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Which schedule.
    pub schedule: Place,
    /// As it was when this was reckoned.
    pub revision: u64,
    /// Its time, Unix milliseconds: later than any before.
    pub at_ms: u64,
    /// Times that are left out with this: those between the last tick and this one, and this one where nothing fires.
    pub missed: u64,
    /// The call, made by who says it; none: nothing fires.
    pub invocation: Option<InvocationId>,
}
