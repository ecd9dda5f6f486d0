//! openraft's log store on sled: entries under their index (big-endian), the vote, and what was purged.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};

use super::flusher::Flusher;
use super::{COMMITTED, PURGED, Trees, VOTE, damaged, sled_error};
use crate::codec::raft::position;
use crate::codec::record::Stored as _;
use crate::types::{Entry, LogId, Types, Vote};

/// Entries that one message to a follower carries at most, in bytes; a single larger one goes alone.
pub(crate) const APPEND_BYTES_MAX: usize = 1 << 20;

/// Entries removed in one batch by a purge: keeps the batch small while a follower's writes wait.
const PURGE_BATCH: usize = 1_024;

/// The log. Clones share the database and the flusher; only Raft's core writes.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    trees: Trees,
    flusher: Flusher,
}

impl LogStore {
    pub(crate) fn new(trees: Trees, flusher: Flusher) -> Self {
        Self { trees, flusher }
    }

    fn entries<RB: RangeBounds<u64>>(&self, range: &RB, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let bound = |bound: Bound<&u64>| bound.map(|index| index.to_be_bytes());
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for item in self.trees.log.range((bound(range.start_bound()), bound(range.end_bound()))) {
            let (key, record) = item.map_err(sled_error)?;
            bytes += record.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            let entry = decode(&key, &record)?;
            if entries.last().is_some_and(|last| last.log_id.index + 1 != entry.log_id.index) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the log has a hole before {}", entry.log_id),
                ));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// An entry, which must be what was written under this key.
pub(crate) fn decode(key: &[u8], record: &[u8]) -> io::Result<Entry> {
    let entry = Entry::unseal(key, record).map_err(|error| damaged(key, &error))?;
    if key != entry.log_id.index.to_be_bytes() {
        let text = format!("entry {} is stored under {}", entry.log_id, key.escape_ascii());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(entry)
}

/// The newest entry.
pub(crate) fn last_entry(trees: &Trees) -> io::Result<Option<LogId>> {
    let last = trees.log.last().map_err(sled_error)?;
    last.map(|(key, record)| decode(&key, &record).map(|entry| entry.log_id)).transpose()
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.entries(&range, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries(&(start..end), APPEND_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.trees.read_meta(VOTE)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.trees.read_meta(PURGED)?;
        let last_log_id = last_entry(&self.trees)?.max(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.trees.write_meta(VOTE, vote)?;
        self.flusher.voted(vote.leader_id.term).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Not flushed: a lower one only means that more is applied again after a restart.
        match committed {
            Some(committed) => self.trees.write_meta(COMMITTED, &committed),
            None => self.trees.meta.remove(COMMITTED).map(drop).map_err(sled_error),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.trees.read_meta(COMMITTED)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        // One by one, in their order: a process that is killed leaves the first of them, which nobody was told of, and
        // no hole. After a power cut a page above 128 KiB may be missing that was not synced yet: a start notices that
        // as damage, as it would with a batch, which would cost two more buffers of sled, each written and waited for
        // alone.
        let mut last = None;
        for entry in entries {
            let key = entry.log_id.index.to_be_bytes();
            self.trees.log.insert(key, entry.seal(&key)).map_err(sled_error)?;
            last = Some(position(&entry.log_id));
        }
        self.flusher.appended(last, callback)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        self.flusher.lower(last_log_id.as_ref().map(position)).await?;
        let first = last_log_id.map_or(0, |last| last.index + 1);
        let mut batch = sled::Batch::default();
        for key in self.trees.log.range(first.to_be_bytes()..).keys() {
            batch.remove(key.map_err(sled_error)?);
        }
        // One batch: the log must never have a hole.
        self.trees.log.apply_batch(batch).map_err(sled_error)
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        // First the mark of the purge, then the entries, oldest first: a crash leaves no hole.
        self.trees.write_meta(PURGED, &log_id)?;
        loop {
            let mut batch = sled::Batch::default();
            let mut count = 0;
            for key in self.trees.log.range(..=log_id.index.to_be_bytes()).keys().take(PURGE_BATCH) {
                batch.remove(key.map_err(sled_error)?);
                count += 1;
            }
            self.trees.log.apply_batch(batch).map_err(sled_error)?;
            if count < PURGE_BATCH {
                return Ok(());
            }
        }
    }
}
