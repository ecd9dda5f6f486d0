//! The write-ahead log: what the members of this process must not forget, of all their groups in one file at a time.
//!
//! ```text
//! LOG/0000000001.wal   segments of one length, filled with zeros before they are used
//! LOG/mark             where the log's durable part ended at least
//! ```
//! A segment is a row of frames, a frame a row of records. One thread takes whatever waits, writes it as one frame,
//! syncs once, then answers in the order in which it was asked: the group commit. Votes are records like entries, so
//! neither overtakes the other. What of it is read often is kept in memory, decoded (see [`Tail`]).

mod cold;
mod frame;
mod group;
mod housekeeper;
mod mark;
mod recover;
mod scan;
mod segment;
mod store;
mod sync;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub(crate) use group::GroupLog;
use mark::{Mark, MarkFile};
pub(crate) use recover::{Log, Recovered, Refused, Restored, create, recover};
pub(crate) use store::{APPEND_BYTES_MAX, LogStore};
pub(crate) use sync::Syncs;
pub(crate) use tail::Tail;
pub(crate) use writer::{LogThread, LogWriter, Start};

/// Length of a segment: some seconds of the fastest writes; filling one with zeros takes some milliseconds.
pub(crate) const SEGMENT_BYTES: u64 = 8 << 20;

/// What one frame carries at most, beside a single larger record: bounds what is read again to find one entry.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// The largest record is an entry that came in the largest message.
const _: () = assert!(SEGMENT_BYTES as usize > FRAME_BYTES_MAX + crate::network::MESSAGE_BYTES_MAX);
