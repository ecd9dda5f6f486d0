//! What the log's thread is asked to write, and whom it answers.

use std::io;
use std::sync::Arc;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use crate::log::GroupLog;
use crate::log::tail::entry_bytes;
use crate::types::{Entry, LogId, Types, Vote};

/// One thing to write.
#[derive(Debug)]
pub(super) enum What {
    Entries(Vec<Entry>),
    Vote(Vote),
    Truncated(Option<LogId>),
    Purged(LogId),
    /// Nothing to write: the state on the disk is at least as new.
    Checkpoint(LogId),
    /// Nothing to write: what was handed over before is made durable.
    Flush,
    /// Nothing to write: the thread ends.
    Stop,
}

impl What {
    /// What it puts into memory, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Entries(entries) => entries.iter().map(entry_bytes).sum(),
            Self::Vote(_)
            | Self::Truncated(_)
            | Self::Purged(_)
            | Self::Checkpoint(_)
            | Self::Flush
            | Self::Stop => 0,
        }
    }

    /// Whether somebody acts on its being on the disk.
    pub(super) fn must_be_durable(&self) -> bool {
        match self {
            Self::Entries(_) | Self::Vote(_) | Self::Truncated(_) | Self::Flush => true,
            Self::Purged(_) | Self::Checkpoint(_) | Self::Stop => false,
        }
    }
}

/// Who is told when a job is done.
pub(super) enum Answer {
    Append(IOFlushed<Types>),
    Signal(oneshot::Sender<io::Result<()>>),
    Nobody,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Append(_) => "Append",
            Self::Signal(_) => "Signal",
            Self::Nobody => "Nobody",
        })
    }
}

impl Answer {
    pub(super) fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // The one who waited may have gone.
            Self::Signal(sender) => drop(sender.send(result)),
            Self::Nobody => {}
        }
    }
}

/// A job: none of a group is the log's own.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) group: Option<Arc<GroupLog>>,
    pub(super) what: What,
    pub(super) answer: Answer,
}
