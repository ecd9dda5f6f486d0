//! The one thread that writes a log, and how it is asked: it takes every job that waits, writes all of it, syncs once,
//! then answers in the order in which they came. This is the group commit, for all groups of the log.

mod frames;
mod job;
mod thread;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use coracle_proto::id::GroupId;
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use self::job::{Answer, Job, What};
use super::segment::Segment;
use super::{GroupLog, Syncs};
use crate::codec::log::GroupState;
use crate::options::HostIdentity;
use crate::types::{Entry, LogId, Types, Vote};

/// Jobs that may wait for the disk. A core that is further ahead than this waits for the disk itself.
const QUEUE_MAX: usize = 8_192;

/// What a log holds, as far as it is written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(super) end: u64,
    /// Of the last frame.
    pub(super) checksum: u32,
    /// That is written to.
    pub(super) segment: Segment,
    /// The segments that are there, each with the newest index of each group in it.
    pub(super) segments: BTreeMap<u64, HashMap<GroupId, u64>>,
    /// What the records say last.
    pub(super) groups: BTreeMap<GroupId, GroupState>,
}

/// Everything that the thread is started with.
pub(crate) struct Start {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) identity: HostIdentity,
    pub(crate) written: Written,
    /// Those that are there.
    pub(crate) groups: BTreeMap<GroupId, Arc<GroupLog>>,
    pub(crate) syncs: Syncs,
    /// Told when a full segment waits for the state on disk to be newer.
    pub(crate) full: Box<dyn Fn() + Send>,
}

/// Hands jobs to the thread.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter(SyncSender<Job>);

impl LogWriter {
    fn send(&self, group: &Arc<GroupLog>, what: What, answer: Answer) -> io::Result<()> {
        let job = Job { group: Some(Arc::clone(group)), what, answer };
        self.0.send(job).map_err(|_| io::Error::other("the log has ended"))
    }

    async fn wait(&self, group: &Arc<GroupLog>, what: What) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.send(group, what, Answer::Signal(sender))?;
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log has ended")))
    }

    /// Entries follow the last one. The callback is called when they are durable.
    pub(crate) fn append(
        &self,
        group: &Arc<GroupLog>,
        entries: Vec<Entry>,
        callback: IOFlushed<Types>,
    ) -> io::Result<()> {
        self.send(group, What::Entries(entries), Answer::Append(callback))
    }

    /// Returns when the vote is durable.
    pub(crate) async fn vote(&self, group: &Arc<GroupLog>, vote: Vote) -> io::Result<()> {
        self.wait(group, What::Vote(vote)).await
    }

    /// Returns when it is durable that the log ends after `last`.
    pub(crate) async fn truncate_after(&self, group: &Arc<GroupLog>, last: Option<LogId>) -> io::Result<()> {
        self.wait(group, What::Truncated(last)).await
    }

    /// Written, not waited for: nothing is removed before it is durable.
    pub(crate) fn purged(&self, group: &Arc<GroupLog>, upto: LogId) -> io::Result<()> {
        self.send(group, What::Purged(upto), Answer::Nobody)
    }

    /// Returns when everything is durable that was handed over before. Blocks.
    pub(crate) fn flush(&self, group: &Arc<GroupLog>) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.send(group, What::Flush, Answer::Signal(sender))?;
        receiver.blocking_recv().unwrap_or_else(|_| Err(io::Error::other("the log has ended")))
    }

    /// The state on the disk is now at least as new.
    pub(crate) fn checkpointed(&self, group: &Arc<GroupLog>, at: LogId) -> io::Result<()> {
        self.send(group, What::Checkpoint(at), Answer::Nobody)
    }
}

/// The thread, and the means to end it.
pub(crate) struct LogThread {
    thread: JoinHandle<()>,
    writer: LogWriter,
}

impl LogThread {
    /// Makes durable what the log holds, then starts the thread. Blocks.
    pub(crate) fn spawn(start: Start) -> io::Result<(LogWriter, Self)> {
        let (sender, jobs) = sync_channel(QUEUE_MAX);
        let name = start.name.clone();
        let failure = Arc::clone(&start.syncs.failure);
        let writing = thread::Loop::new(start)?;
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            failure.watching("the log", || writing.run(&jobs));
        })?;
        let writer = LogWriter(sender);
        Ok((writer.clone(), Self { thread, writer }))
    }

    /// Ends the thread after everything that was handed to it before; an error means that it panicked. Whoever still
    /// has a [`LogWriter`] is not waited for. Blocks.
    pub(crate) fn stop(self) -> std::thread::Result<()> {
        // An error means that it has ended before.
        drop(self.writer.0.send(Job { group: None, what: What::Stop, answer: Answer::Nobody }));
        self.thread.join()
    }
}
