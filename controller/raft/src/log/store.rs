//! openraft's log store on a group's part of the log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use tokio::time::sleep;

use super::tail::Found;
use super::{GroupLog, LogWriter, cold};
use crate::types::{Entry, LogId, Types, Vote};

/// Entries that one message to a follower carries at most, in bytes; a single larger one goes alone.
pub(crate) const APPEND_BYTES_MAX: usize = 1 << 20;

/// Between a look up of where entries stand and the reading of them their segment may go: they were moved forward. The
/// next look finds them. A process without a free descriptor may have one soon. What fails for longer is damage.
const READS_MAX: usize = 10;
const READ_AGAIN: Duration = Duration::from_millis(100);

/// A group's log. Clones share it; only Raft's core writes.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    dir: PathBuf,
    pub(crate) group: Arc<GroupLog>,
    writer: LogWriter,
}

impl LogStore {
    pub(crate) fn new(dir: PathBuf, group: Arc<GroupLog>, writer: LogWriter) -> Self {
        Self { dir, group, writer }
    }

    async fn entries(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let read = self.read(next..range.end, bytes_max).await?;
            let Some(last) = read.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(read);
            if bytes_max < usize::MAX {
                break;
            }
        }
        Ok(entries)
    }

    /// The first entries of a range, all of them from memory or all from the disk.
    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut again = 1..READS_MAX;
        loop {
            let found = self.group.tail().read(range.clone(), bytes_max);
            let places = match found {
                Found::Here(read) => return Ok(read),
                Found::Cold(places) => places,
            };
            let (dir, group) = (self.dir.clone(), self.group.id);
            let read = move || cold::read(&dir, group, &places, bytes_max);
            match tokio::task::spawn_blocking(read).await.map_err(io::Error::other)? {
                Err(error) if again.next().is_some() => {
                    tracing::info!(%error, "reading entries of the log again");
                    sleep(READ_AGAIN).await;
                }
                read => return read,
            }
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        // What was purged is not asked for by Raft, and not there.
        let start = self.group.tail().purged.map_or(start, |purged| start.max(purged.index + 1));
        self.entries(start..end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries(start..end, APPEND_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.group.tail().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let tail = self.group.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.group.tail().vote = Some(*vote);
        self.writer.vote(&self.group, *vote).await
    }

    /// Written with the next entries, for which the thread wakes anyway: a lower one only means that more is applied again
    /// after a restart, and what the state on the disk has is committed too.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.group.tail().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.group.tail().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            // Readable at once, durable when the callback is called.
            let mut tail = self.group.tail();
            entries.iter().for_each(|entry| tail.push(entry.clone(), 0));
        }
        self.writer.append(&self.group, entries, callback)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.group.tail().truncate_after(last);
        self.writer.truncate_after(&self.group, last).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.group.tail().purge(upto);
        self.writer.purged(&self.group, upto)
    }
}
