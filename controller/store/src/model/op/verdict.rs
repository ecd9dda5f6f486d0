//! How attempts ended.

use super::super::record::{Fence, Report};
use super::Effect;

/// An attempt that was made with another one's call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The message's number in the queue.
    pub message: u64,
    /// Of its claim.
    pub fence: Fence,
    /// Where and how it ran; none: nothing was run.
    pub report: Option<Report>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The message is done with.
    Done {
        /// What the call has done in the platform: with its acknowledgement, or not at all.
        effects: Vec<Effect>,
        /// Messages of the same queue that were of the same call: done with it, those that are still held.
        others: Vec<Other>,
    },
    /// It failed, and is tried again while attempts are left.
    Retry {
        /// How long to wait, milliseconds; none: as the queue's settings say.
        after_ms: Option<u64>,
        /// What went wrong, for people.
        error: String,
    },
    /// It failed, and would fail again: it becomes a dead letter.
    Dead {
        /// What went wrong, for people.
        error: String,
    },
}
