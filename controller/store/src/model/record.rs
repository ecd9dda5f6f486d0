//! What a data group keeps, each kind under its keys (`keys`).

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId};

use super::name::Name;
use super::outcome::Outcome;

mod blob;
mod invocation;
mod manner;
mod message;
mod queue;
mod schedule;
mod told;
mod webhook;

pub use blob::{Access, Blob, Holds, Look, Part, SigningKey, Upload};
pub(super) use blob::{Committed, UploadParts, Uploads};
pub use invocation::{Answer, Ended, How, Invocation, Report};
pub use manner::Manner;
pub(super) use message::Dedup;
pub use message::{Burial, Cause, Claim, Delivery, Fence, HttpHead, Message, State, Ticket};
pub(super) use queue::{Buckets, Queues};
pub use queue::{Counts, Queue, Settings, Topic};
pub(super) use schedule::Schedules;
pub use schedule::{Definition, Fired, Missed, Overlap, Schedule};
pub use told::kept_error;
pub(super) use webhook::Secrets;
pub use webhook::{Before, Form, Sealed, Secret, Terms, Webhook};

/// The one record about the group itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Of which cluster it is.
    pub cluster: ClusterId,
    /// Which group it is.
    pub id: GroupId,
    /// The last number that was given out: to a value's version, a message, a fence.
    pub sequence: u64,
    /// Its clock: the highest stamp so far, Unix milliseconds.
    pub time_ms: u64,
    /// Outcomes that are kept.
    pub remembered: u64,
    /// Requests that were done before this sequence are forgotten.
    pub remembered_from: u64,
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The group's sequence when it was done.
    pub(super) sequence: u64,
    /// The answer.
    pub(super) outcome: Outcome,
}

/// A bucket of values or of blobs: its bounds and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Keys that it may have.
    pub keys_max: u64,
    /// Bytes of keys and what they hold that it may have.
    pub bytes_max: u64,
    /// Keys that it has, also those that have expired and are not swept yet.
    pub keys: u64,
    /// Bytes of these keys and what they hold.
    pub bytes: u64,
    /// Whether it has watchers.
    pub watched: bool,
    /// It is being deleted, which goes on by itself at this time, Unix milliseconds; 0: it is not. Nothing is written to it.
    pub dropping_ms: u64,
    /// What it holds.
    pub holds: Holds,
    /// Uploads into it that are open.
    pub uploads: u64,
}

/// A function that gets an event of each change of a bucket that concerns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher {
    /// Of the bucket's namespace.
    pub function: Name,
    /// It gets what is set.
    pub sets: bool,
    /// It gets what is deleted, or has expired.
    pub deletes: bool,
    /// Keys begin so; empty: as they like.
    pub prefix: String,
    /// Keys end so; empty: as they like.
    pub suffix: String,
}

/// All of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Watchers {
    /// Sorted by function.
    pub(super) watchers: Vec<Watcher>,
}

/// A value of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Greater than that of whatever was written before it.
    pub version: u64,
    /// From when on it is not there any more, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// What was set.
    pub data: Bytes,
    /// Calls for events that stand behind it, where it expires; 0 where it does not.
    pub hops: u64,
}

/// A value that has expired and of which somebody could not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Late {
    /// When that is tried again, Unix milliseconds.
    pub(super) timer_ms: u64,
}

impl Value {
    /// Whether it is there at this time.
    #[must_use]
    pub fn is_live(&self, at_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| at_ms < expires_ms)
    }
}
