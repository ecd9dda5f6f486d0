//! What became of what was accepted: a record from then on until a day after its end, and beside it what was answered.

use bytes::Bytes;
use coracle_proto::id::{NodeId, VersionNumber};

use super::super::name::{Name, Place};
use super::message::Cause;

/// One invocation. While it has not ended, how far it is says its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// In which queue its message is, or was.
    pub queue: Place,
    /// The number of its message.
    pub message: u64,
    /// Who takes it, or took it last; none: nobody did when it was accepted.
    pub function: Option<Name>,
    /// What fired.
    pub kind: String,
    /// When it was accepted, Unix milliseconds.
    pub accepted_ms: u64,
    /// Of its trace, 32 hexadecimal digits; empty: it has none.
    pub trace_id: String,
    /// Of its last attempts, the oldest first, as many as `REPORTS_MAX`.
    pub reports: Vec<Report>,
    /// Whether an answer is kept.
    pub answered: bool,
    /// How it ended; none: it has not.
    pub ended: Option<Ended>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: How,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Until when its record is kept. That of a dead letter is kept as long as the letter is there.
    pub until_ms: u64,
    /// Attempts that were begun, since it was accepted or revived.
    pub attempts: u32,
    /// What went wrong at last; empty: nothing.
    pub last_error: String,
    /// Why it is, or was, a dead letter.
    pub cause: Option<Cause>,
}

/// How an invocation may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// Its message was done with.
    Succeeded,
    /// Its message is a dead letter, and may be given another life.
    Dead,
    /// Somebody did not want it any more.
    Cancelled,
    /// Its message was purged, or was a dead letter whose time was over.
    Dropped,
}

/// One attempt, as whoever ran it tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Which attempt it was, from 1 on; set when it is settled.
    pub attempt: u32,
    /// Who ran it; 0: nobody did.
    pub node: NodeId,
    /// Which version of the function; 0: that is not known.
    pub version: VersionNumber,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
    /// Whether an instance was made for it.
    pub cold: bool,
    /// An HTTP status, or an error code of the platform.
    pub outcome: String,
    /// What went wrong, for people; empty: nothing.
    pub error: String,
    /// The processor time that it took.
    pub cpu_us: u64,
    /// The most memory that it had, times how long it ran.
    pub memory_byte_ms: u64,
    /// Bytes of what it was called with.
    pub bytes_in: u64,
    /// Bytes of what it answered.
    pub bytes_out: u64,
}

/// What a function answered at its last attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// In order; a name may come more than once.
    pub headers: Vec<(String, Bytes)>,
    /// As much as is kept.
    pub body: Bytes,
    /// Bytes that the body had; more than `body` has: it was too large to be kept.
    pub body_bytes: u64,
}
