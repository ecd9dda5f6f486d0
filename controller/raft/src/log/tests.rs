//! A log on a real disk: what was acknowledged is there, what was torn is not, what is damaged is said so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, NodeId, StoreId};
use openraft::EntryPayload;
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};

use super::segment::{Segment, numbers};
use super::*;
use crate::codec::raft::log_id;
use crate::failure::Failure;
use crate::options::{HostIdentity, Owner};
use crate::types::{Command, Entry, LogId, Vote};

mod failing;
mod resting;

fn identity() -> HostIdentity {
    let owner = Owner { cluster: ClusterId::new(1), node: NodeId::new(1) };
    HostIdentity { owner, store: StoreId::new(7) }
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let payload = EntryPayload::Normal(Command(Bytes::from(vec![u8::try_from(index % 251).unwrap(); bytes])));
    Entry { log_id: log_id(term, index), payload }
}

/// Of a log whose folder is that of its store too.
fn syncs(dir: &Path) -> Syncs {
    Syncs::new(dir, &Arc::new(Failure::new(dir)))
}

/// A log that is open.
struct Open {
    dir: PathBuf,
    writer: LogWriter,
    thread: LogThread,
    found: BTreeMap<GroupId, Restored>,
}

impl Open {
    /// Of states on the disk that have nothing.
    fn new(dir: &Path) -> Self {
        Self::at(dir, |_| None)
    }

    /// Of states on the disk that are so far.
    fn at(dir: &Path, applied: impl Fn(u32) -> Option<LogId>) -> Self {
        let mut log = recover(dir, syncs(dir)).unwrap();
        let found = log.restore(|group| Ok(applied(group.get()))).unwrap();
        let start = Start {
            dir: dir.to_owned(),
            name: "log".to_owned(),
            identity: log.identity,
            written: log.written,
            groups: found.iter().map(|(id, group)| (*id, Arc::clone(group.as_ref().unwrap()))).collect(),
            syncs: log.syncs,
            full: Box::new(|| ()),
        };
        let (writer, thread) = LogThread::spawn(start).unwrap();
        Self { dir: dir.to_owned(), writer, thread, found }
    }

    fn group(&mut self, group: u32) -> LogStore {
        let id = GroupId::new(group);
        let new = || Arc::new(GroupLog::new(id, Tail::default()));
        let group = self.found.remove(&id).map_or_else(new, Result::unwrap);
        LogStore::new(self.dir.clone(), group, self.writer.clone())
    }

    fn close(self) {
        self.thread.stop().unwrap();
    }
}

fn made() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    create(&log, &identity(), &syncs(&log)).unwrap();
    (dir, log)
}

/// A log that is new, for the tests of what needs one.
pub(crate) fn open_for_test(dir: &Path) -> (Arc<GroupLog>, LogWriter, LogThread) {
    let path = dir.join("log");
    create(&path, &identity(), &syncs(&path)).unwrap();
    let Open { writer, thread, .. } = Open::new(&path);
    (Arc::new(GroupLog::new(GroupId::new(0), Tail::default())), writer, thread)
}

async fn read(log: &mut LogStore) -> Vec<Entry> {
    log.try_get_log_entries(0..u64::MAX).await.unwrap()
}

fn damage(dir: &Path) -> String {
    match recover(dir, syncs(dir)) {
        Err(Refused::Damaged(reason)) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(log) => panic!("it was taken, with {} groups", log.groups.len()),
    }
}

#[tokio::test]
async fn groups_share_a_log_and_do_not_see_each_other() {
    let (_dir, path) = made();
    let mut open = Open::new(&path);
    let mut logs: Vec<_> = (0..5).map(|group| open.group(group)).collect();
    for (term, log) in (1..).zip(&mut logs) {
        log.save_vote(&Vote::new(term, 1)).await.unwrap();
        log.blocking_append((0..term).map(|index| entry(term, index, 10))).await.unwrap();
    }
    open.close();
    let mut open = Open::new(&path);
    for (group, term) in (0..5).zip(1_u64..) {
        let mut log = open.group(group);
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(term, 1)));
        let expected: Vec<_> = (0..term).map(|index| entry(term, index, 10)).collect();
        assert_eq!(read(&mut log).await, expected);
    }
    open.close();
}

/// Entries of many sizes over many segments, more than the cache holds: all of them are read again, by this process
/// from the disk and by the next one.
#[tokio::test]
async fn entries_beyond_the_cache_are_read_from_their_frames() {
    const ENTRIES: u64 = 60;
    let (_dir, path) = made();
    let mut open = Open::new(&path);
    let mut log = open.group(0);
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let bytes = |index: u64| [10, 700_000, 1 << 20][(index % 3) as usize];
    for first in (0..ENTRIES).step_by(6) {
        log.blocking_append((first..first + 6).map(|index| entry(1, index, bytes(index)))).await.unwrap();
    }
    assert!(numbers(&path).unwrap().len() > 3, "it is in one segment: the test would prove less");
    let expected: Vec<_> = (0..ENTRIES).map(|index| entry(1, index, bytes(index))).collect();
    assert!(read(&mut log).await == expected);
    let limited = log.limited_get_log_entries(1, ENTRIES).await.unwrap();
    assert!(limited == expected[1..2], "one entry at least, and no more than a message takes");
    open.close();
    let mut open = Open::new(&path);
    assert!(read(&mut open.group(0)).await == expected);
    open.close();
}

/// Between the look at the tail and the read the file went, as when entries are moved forward.
#[tokio::test]
async fn a_read_that_missed_its_entries_looks_again() {
    let (_dir, path) = made();
    let mut open = Open::new(&path);
    let mut log = open.group(0);
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    for first in (0..30).step_by(6) {
        log.blocking_append((first..first + 6).map(|index| entry(1, index, 1 << 20))).await.unwrap();
    }
    let (first, aside) = (Segment::path(&path, 1), path.join("aside"));
    fs::rename(&first, &aside).unwrap();
    let reading = log.limited_get_log_entries(0, 2);
    tokio::pin!(reading);
    let early = tokio::time::timeout(Duration::from_millis(20), &mut reading).await;
    assert!(early.is_err(), "{early:?}");
    fs::rename(&aside, &first).unwrap();
    assert_eq!(reading.await.unwrap()[0].log_id, log_id(1, 0));
    open.close();
}

#[tokio::test]
async fn segments_go_when_they_are_purged_and_in_the_state_on_the_disk() {
    let (_dir, path) = made();
    let mut open = Open::new(&path);
    let mut log = open.group(0);
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let mut next = 0;
    let mut append = async |log: &mut LogStore, count: u64| {
        log.blocking_append((next..next + count).map(|index| entry(1, index, 1 << 19))).await.unwrap();
        next += count;
    };
    append(&mut log, 60).await;
    log.purge(log_id(1, 50)).await.unwrap();
    append(&mut log, 1).await;
    assert_eq!(numbers(&path).unwrap()[0], 1, "the state on the disk does not have it");
    open.writer.checkpointed(&log.group, log_id(1, 30)).unwrap();
    append(&mut log, 1).await;
    append(&mut log, 1).await;
    drop(log);
    open.close();
    let left = numbers(&path).unwrap();
    assert!(left[0] > 1, "{left:?}");
    let mut open = Open::at(&path, |_| Some(log_id(1, 30)));
    let mut log = open.group(0);
    let read = read(&mut log).await;
    assert_eq!((read[0].log_id, read.len()), (log_id(1, 31), 32));
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(1, 1)), "its record's segment is gone");
    open.close();
    let error = recover(&path, syncs(&path))
        .unwrap()
        .groups
        .remove(&GroupId::new(0))
        .unwrap()
        .tail(Some(log_id(1, 2)));
    assert!(error.unwrap_err().contains("are missing"));
}

/// Where the frames of a segment begin.
fn frames(bytes: &[u8], number: u64) -> Vec<usize> {
    let base = Segment::base(number);
    let found = frame::behind(bytes, 0, base).map(|head| usize::try_from(head.position - base).unwrap());
    found.collect()
}

async fn written(path: &Path, entries: u64) {
    let mut open = Open::new(path);
    let mut log = open.group(0);
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    for index in 0..entries {
        log.blocking_append([entry(1, index, 100)]).await.unwrap();
    }
    open.close();
}

#[tokio::test]
async fn a_torn_tail_is_taken_away_and_a_flipped_bit_is_damage() {
    let (_dir, path) = made();
    written(&path, 10).await;
    let first = Segment::path(&path, 1);
    let whole = fs::read(&first).unwrap();
    let frames = frames(&whole, 1);
    let end = frames[frames.len() - 1] + 176;
    assert!(whole[end..].iter().all(|byte| *byte == 0), "the test knows where the last frame ends");
    // Any bit of any frame, the last one too: it was acknowledged, and the mark knows.
    for frame in &frames {
        for at in [frame + 1, frame + 9, frame + 30, frame + 40] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&first, &flipped).unwrap();
            let reason = damage(&path);
            assert!(reason.contains("synced"), "byte {at}: {reason}");
            assert_eq!(fs::read(&first).unwrap(), flipped, "what is damaged is left as it is");
        }
    }
    // Half a frame behind the last one: it was being written.
    for length in [1, 20, 100] {
        let mut torn = whole.clone();
        torn[end..end + length].fill(0x5a);
        fs::write(&first, &torn).unwrap();
        let mut open = Open::new(&path);
        assert_eq!(read(&mut open.group(0)).await.len(), 10);
        open.close();
        assert_eq!(fs::read(&first).unwrap(), whole, "it is zeros again");
    }
}

/// After a power cut the mark may be an old one: what later records say is enough.
#[tokio::test]
async fn an_old_mark_does_not_hide_what_was_lost_before_the_last_record() {
    let (_dir, path) = made();
    let old = fs::read(path.join("mark")).unwrap();
    written(&path, 10).await;
    fs::write(path.join("mark"), &old).unwrap();
    let first = Segment::path(&path, 1);
    let whole = fs::read(&first).unwrap();
    let frames = frames(&whole, 1);
    for frame in &frames[1..frames.len() - 1] {
        let mut flipped = whole.clone();
        flipped[frame + 40] ^= 1;
        fs::write(&first, &flipped).unwrap();
        assert!(damage(&path).contains("was synced up to"), "frame at {frame}");
        // A lost write reads as what was there before.
        let mut lost = whole.clone();
        lost[*frame..frame + 64].fill(0);
        fs::write(&first, &lost).unwrap();
        assert!(damage(&path).contains("was synced up to"), "frame at {frame}");
    }
}

#[tokio::test]
async fn segments_that_are_missing_cut_off_or_of_another_log_are_damage() {
    let (_dir, path) = made();
    let mut open = Open::new(&path);
    let mut log = open.group(0);
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    log.blocking_append((0..60).map(|index| entry(1, index, 1 << 19))).await.unwrap();
    open.close();
    let whole: Vec<_> = numbers(&path).unwrap();
    assert!(whole.len() >= 5);
    let aside = path.join("aside");
    for number in [2, 3] {
        fs::rename(Segment::path(&path, number), &aside).unwrap();
        assert_eq!(damage(&path), format!("segments {number} to {number} are missing"));
        fs::rename(&aside, Segment::path(&path, number)).unwrap();
    }
    let file = fs::File::options().write(true).open(Segment::path(&path, 2)).unwrap();
    let mut byte = [0];
    file.set_len(SEGMENT_BYTES).unwrap();
    fs::File::open(Segment::path(&path, 2)).unwrap().read_exact_at(&mut byte, 5_000_000).unwrap();
    let whole = fs::read(Segment::path(&path, 2)).unwrap();
    file.set_len(5_000_000).unwrap();
    assert!(damage(&path).contains("was synced up to"));
    fs::write(Segment::path(&path, 2), whole).unwrap();
    let (_other, other) = made();
    written(&other, 3).await;
    fs::copy(Segment::path(&other, 1), Segment::path(&path, 1)).unwrap();
    assert!(recover(&path, syncs(&path)).is_err());
}

/// For information, started by hand with `--ignored --nocapture`: what docs/adr/0004 compares.
#[tokio::test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
async fn entries_a_second() {
    use std::time::Instant;

    let (_dir, path) = made();
    let mut open = Open::new(&path);
    let mut log = open.group(0);
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let mut next = 0;
    for batch in [1, 16, 256] {
        let (begin, first, mut took) = (Instant::now(), next, Vec::new());
        while begin.elapsed() < Duration::from_secs(4) {
            let one = Instant::now();
            log.blocking_append((next..next + batch).map(|index| entry(1, index, 256))).await.unwrap();
            next += batch;
            took.push(one.elapsed());
            log.purge(log_id(1, next - 1)).await.unwrap();
            open.writer.checkpointed(&log.group, log_id(1, next - 1)).unwrap();
        }
        took.sort_unstable();
        let rate = (next - first) as f64 / begin.elapsed().as_secs_f64();
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        println!("batch {batch}: {rate:.0} entries/s, p50 {p50:?} p99 {p99:?}");
    }
    open.close();
}
