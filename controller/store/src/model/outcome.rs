//! What became of an entry and of each of its operations.

use super::refusal::Refusal;

/// What a whole entry is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing of it was done.
    Refused(Refusal),
    /// Of each operation, in order.
    Outcomes(Vec<Outcome>),
}

/// What became of an operation. Small: bodies of messages and values are read from a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and there is nothing to tell.
    Done,
    /// Of each effect, in order.
    Performed(Vec<Effected>),
    /// An operation of bounded steps.
    Moved {
        /// Records that it dealt with.
        moved: u32,
        /// Whether there may be more: it is to be asked again.
        more: bool,
    },
    /// Nothing of it was done.
    Refused(Refusal),
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effected {
    /// A value was written.
    Written {
        /// Its version from now on.
        version: u64,
        /// What an increment made.
        number: Option<i64>,
    },
    /// A value is not there any more.
    Deleted {
        /// Whether it was there.
        existed: bool,
    },
}
