//! Why an operation was not done: refused, which is an answer, or the machine cannot go on.

use coracle_raft::{Halt, Stop};

use super::name::Place;
use super::refusal::Refusal;

/// What ends an operation early.
#[derive(Debug)]
pub(super) enum Fault {
    /// An answer; what was drafted is dropped.
    Refused(Refusal),
    /// The same, by a bound of this queue, which counts it.
    Full(Place, Refusal),
    /// A record cannot be read: nothing can be answered.
    Stop(Stop),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// A record that says nothing which this program understands.
pub(super) fn unreadable(what: &str) -> Stop {
    Stop::Halt(Halt { reason: format!("{what} cannot be read") })
}
