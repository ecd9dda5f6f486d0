//! What became of an entry and of each of its operations.

use coracle_proto::id::InvocationId;

use super::blob::UploadId;
use super::record::{Cause, Fence};
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
        /// The message to go on from, where messages were dealt with.
        next: u64,
    },
    /// Messages that were claimed; none: none was ready.
    Claimed(Vec<Claimed>),
    /// An attempt ended.
    Settled {
        /// What becomes of its message.
        fate: Fate,
        /// Of each of its effects, in order.
        effects: Vec<Effected>,
        /// Messages that were meant and are not held any more.
        lost: Vec<u64>,
    },
    /// An upload was opened.
    UploadBegun(UploadId),
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
    /// A message was published.
    Published {
        /// Its number in the group.
        message: u64,
        /// It is the one that was published with this id before: nothing was added.
        repeated: bool,
        /// Under which its record is found: the first one's where it is repeated.
        invocation: InvocationId,
    },
    /// A message was published to a topic.
    Spread {
        /// Queues that have it.
        copies: u32,
        /// All of them had it before: nothing was added.
        repeated: bool,
    },
    /// What was read is as it was.
    Checked,
    /// A blob is what was told.
    Committed {
        /// Its version from now on.
        version: u64,
        /// Its size.
        bytes: u64,
        /// Without quotes.
        etag: String,
        /// When, Unix milliseconds.
        modified_ms: u64,
        /// Whether there was one before.
        existed: bool,
    },
}

/// An attempt that begins. The message's body is read from a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// Which message.
    pub message: u64,
    /// From 1 on, without gaps.
    pub attempt: u32,
    /// Whoever settles it shows this.
    pub fence: Fence,
    /// When the attempt counts as lost, Unix milliseconds.
    pub until_ms: u64,
}

/// What becomes of a message after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done with.
    Done,
    /// It is tried again at this time, Unix milliseconds.
    Retried {
        /// When.
        at_ms: u64,
    },
    /// It is a dead letter.
    Dead(Cause),
}
