//! What is known of an invocation: from the moment it was accepted until a day after its end.

use coracle_proto::id::{FunctionId, InvocationId, NodeId};

use super::message::Report;

/// How far an invocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// For a place, for its time, or for another one of its group.
    Waiting,
    /// An attempt of it is under way.
    Running,
    /// It is over.
    Ended(Ended),
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its function took it.
    Succeeded,
    /// It is a dead letter.
    Dead,
    /// Somebody did not want it any more.
    Cancelled,
    /// Somebody took the dead letter away, or its time was over.
    Dropped,
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Ended(Ended::Succeeded) => "succeeded",
            Self::Ended(Ended::Dead) => "dead",
            Self::Ended(Ended::Cancelled) => "cancelled",
            Self::Ended(Ended::Dropped) => "dropped",
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

/// An invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which one.
    pub invocation: InvocationId,
    /// What takes it.
    pub function: FunctionId,
    /// Where it waits, in the function's namespace.
    pub queue: String,
    /// What fired.
    pub kind: String,
    /// How far it is.
    pub state: State,
    /// Unix milliseconds.
    pub accepted_ms: u64,
    /// Unix milliseconds, when it is over.
    pub ended_ms: Option<u64>,
    /// Unix milliseconds, of what waits for its time.
    pub next_ms: Option<u64>,
    /// Of what runs.
    pub node: Option<NodeId>,
    /// That were begun.
    pub attempts: u32,
    /// Of the last ones, the oldest first.
    pub reports: Vec<Report>,
    /// Of a dead letter: attempts, age, rejected. Empty where it is none.
    pub cause: String,
    /// Empty where there was none.
    pub last_error: String,
    /// 32 hexadecimal digits; empty: none.
    pub trace_id: String,
}
