//! What may be asked of a data group, and the entry in which it is asked.

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, RequestId};

use super::keys::Due;
use super::name::Place;

/// The highest format of operations that this program reads. What `apply` does belongs to the format.
pub const FORMAT: u32 = 1;

/// One entry of the log: operations with the stamp of the leader that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The cluster that is meant.
    pub cluster: ClusterId,
    /// The Raft group that is meant.
    pub group: GroupId,
    /// In which the leader made it: in the log of another term it counts for nothing.
    pub term: u64,
    /// The leader's clock, Unix milliseconds.
    pub stamp_ms: u64,
    /// The leader's random word.
    pub random: u64,
    /// Done in this order, each of them whole or not at all.
    pub ops: Vec<Asked>,
}

impl Batch {
    /// The first format that has it as it is here: replicas of a lower one cannot apply it.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.ops.iter().map(|asked| asked.op.format()).max().unwrap_or(1)
    }
}

/// An operation with what makes it safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// None where doing it again does no harm.
    pub request: Option<Request>,
    /// What is asked.
    pub op: Op,
}

/// What tells a repeated operation from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Made by the first client and kept on each retry.
    pub id: RequestId,
    /// The group's sequence that the client had seen before its first attempt.
    pub since: u64,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Makes a bucket, or gives it other bounds. What it holds over a new bound stays.
    PutBucket {
        /// Which one.
        bucket: Place,
        /// Keys that it may have.
        keys_max: u64,
        /// Bytes of keys and values that it may have.
        bytes_max: u64,
    },
    /// Takes away as many values as an operation may, and the bucket with the last of them.
    DropBucket {
        /// Which one.
        bucket: Place,
    },
    /// Effects that are done all or not at all.
    Perform {
        /// In this order; a later one sees what an earlier one did.
        effects: Vec<Effect>,
    },
    /// Does what has become due.
    Sweep {
        /// Of which kind.
        due: Due,
        /// How much of it at most; never more than an operation may.
        steps: u32,
    },
}

impl Op {
    /// The first format that has it as it is here.
    #[must_use]
    pub const fn format(&self) -> u32 {
        match self {
            Self::PutBucket { .. } | Self::DropBucket { .. } | Self::Perform { .. } | Self::Sweep { .. } => 1,
        }
    }
}

/// One thing that a call has done, or a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A change of a value.
    Write(Write),
}

/// A change of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// In which bucket.
    pub bucket: Place,
    /// Under which key: any bytes, at least one.
    pub key: Bytes,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is this from now on.
    Set {
        /// The value.
        data: Bytes,
        /// How long it is there, milliseconds; none: until it is changed.
        ttl_ms: Option<u64>,
    },
    /// It is not there any more.
    Delete,
    /// As [`Change::Set`], if nobody changed it.
    CompareAndSet {
        /// The version that it must have; none: it must not be there.
        expected: Option<u64>,
        /// The value.
        data: Bytes,
        /// As for [`Change::Set`].
        ttl_ms: Option<u64>,
    },
    /// Adds to a number, which is written in decimal digits, and begins at 0. Its time to live stays as it is.
    Increment {
        /// How much; less than zero takes away.
        by: i64,
    },
}
