//! The one thread that makes writes durable: it takes every job that waits, syncs once, then answers them in
//! the order in which they came. This is the group commit.
//!
//! Appends and votes go through the same queue, so a vote can neither overtake an append nor be overtaken.
//! After a failed sync nothing more is acknowledged: what the disk holds is unknown then.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::blobs::Blobs;
use super::mark::{Mark, MarkFile};
use super::sled_error;
use crate::faults;
use crate::metrics::StoreMetrics;
use crate::state_machine::Position;
use crate::types::Types;

/// Jobs that may wait for the disk. A core that is further ahead than this waits for the disk itself.
const QUEUE_MAX: usize = 4_096;

/// What is told when a job is done.
enum Done {
    Append(IOFlushed<Types>),
    Signal(oneshot::Sender<io::Result<()>>),
    /// The thread ends after this job.
    Stop,
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // The one who waited may have gone.
            Self::Signal(sender) => drop(sender.send(result)),
            Self::Stop => {}
        }
    }
}

/// How a job moves the mark.
enum Move {
    Log(Option<Position>),
    Vote(u64),
    /// Before a truncation: the log will end here.
    Lower(Option<Position>),
    Stay,
}

struct Job {
    moves: Move,
    done: Done,
}

/// Hands jobs to the thread; it ends when it is stopped, or when the last of these is gone.
#[derive(Debug, Clone)]
pub(crate) struct Flusher(SyncSender<Job>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Flusher {
    fn send(&self, moves: Move, done: Done) -> io::Result<()> {
        self.0.send(Job { moves, done }).map_err(|_| io::Error::other("the flusher has ended"))
    }

    /// Entries were written; `last` is the newest of them.
    pub(crate) fn appended(&self, last: Option<Position>, callback: IOFlushed<Types>) -> io::Result<()> {
        self.send(Move::Log(last), Done::Append(callback))
    }

    /// A vote was written; returns when it is durable.
    pub(crate) async fn voted(&self, term: u64) -> io::Result<()> {
        self.wait(Move::Vote(term)).await
    }

    /// The log is about to be cut after `last`; returns when the mark no longer claims more.
    pub(crate) async fn lower(&self, last: Option<Position>) -> io::Result<()> {
        self.wait(Move::Lower(last)).await
    }

    /// Returns when everything written before is durable.
    pub(crate) async fn barrier(&self) -> io::Result<()> {
        self.wait(Move::Stay).await
    }

    async fn wait(&self, moves: Move) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.send(moves, Done::Signal(sender))?;
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the flusher has ended")))
    }
}

/// The thread, and the means to end it.
pub(crate) struct FlusherThread {
    thread: JoinHandle<()>,
    flusher: Flusher,
}

impl FlusherThread {
    /// Ends the thread after everything that was handed to it before; an error means that it panicked. Whoever
    /// still has a [`Flusher`] is not waited for: one was seen to outlive the tasks that write, and a shutdown
    /// that waited for it hung. Blocks.
    pub(crate) fn stop(self) -> std::thread::Result<()> {
        // An error means that it has ended before.
        drop(self.flusher.send(Move::Stay, Done::Stop));
        self.thread.join()
    }
}

/// The state of the thread.
pub(crate) struct FlusherLoop {
    db: sled::Db,
    /// sled's file once more: its `flush` is `sync_file_range` on Linux, which a power cut undoes.
    file: File,
    blobs: Blobs,
    mark_file: MarkFile,
    mark: Mark,
    metrics: Arc<StoreMetrics>,
}

impl FlusherLoop {
    /// Makes durable what the store holds: a killed process may have left more than it had synced, and what was
    /// read from the store is taken for acknowledged from now on.
    pub(crate) fn new(
        db: sled::Db,
        sled_dir: &Path,
        mark_file: MarkFile,
        mark: Mark,
        metrics: Arc<StoreMetrics>,
    ) -> io::Result<Self> {
        let (file, blobs) = (File::open(sled_dir.join("db"))?, Blobs::new(sled_dir));
        let mut flusher = Self { db, file, blobs, mark_file, mark, metrics };
        flusher.sync()?;
        Ok(flusher)
    }

    pub(crate) fn spawn(self, name: String) -> io::Result<(Flusher, FlusherThread)> {
        let (sender, jobs) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name(name).spawn(move || self.run(&jobs))?;
        let flusher = Flusher(sender);
        Ok((flusher.clone(), FlusherThread { thread, flusher }))
    }

    fn run(mut self, jobs: &Receiver<Job>) {
        let mut failed: Option<String> = None;
        while let Ok(first) = jobs.recv() {
            let batch: Vec<Job> = std::iter::once(first).chain(jobs.try_iter().take(QUEUE_MAX)).collect();
            if failed.is_none() {
                failed = self.commit(&batch).err().map(|error| error.to_string());
            }
            let stop = batch.iter().any(|job| matches!(job.done, Done::Stop));
            for job in batch {
                job.done.tell(failed.as_ref().map_or(Ok(()), |reason| Err(io::Error::other(reason.clone()))));
            }
            if stop {
                return;
            }
        }
    }

    /// Makes every job of the batch durable and moves the mark.
    ///
    /// A lowering comes alone or last, because a truncation waits for it before anything else is written.
    fn commit(&mut self, batch: &[Job]) -> io::Result<()> {
        self.sync()?;
        faults::hit(faults::FLUSHED_BEFORE_CALLBACK, std::iter::empty());
        let mut lowered = false;
        for job in batch {
            match job.moves {
                Move::Log(last) => self.mark.last = last.or(self.mark.last),
                Move::Vote(term) => self.mark.vote_term = term,
                Move::Lower(last) => {
                    self.mark.last = self.mark.last.min(last);
                    lowered = true;
                }
                Move::Stay => {}
            }
        }
        if lowered { self.mark_file.lower(self.mark) } else { self.mark_file.raise(self.mark) }
    }

    /// First what is pointed to, then what points: once the flush has returned, every blob that a record
    /// before it needs is complete.
    #[expect(clippy::disallowed_methods, reason = "the length of a sync is measured where it happens")]
    fn sync(&mut self) -> io::Result<()> {
        let start = Instant::now();
        self.db.flush().map_err(sled_error)?;
        self.blobs.sync()?;
        self.file.sync_data()?;
        self.metrics.synced(start.elapsed());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use openraft::EntryPayload;
    use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};

    use super::*;
    use crate::codec::raft::log_id;
    use crate::store::{LogStore, Trees};
    use crate::types::{Command, Entry, Vote};

    struct Store {
        dir: tempfile::TempDir,
        trees: Trees,
    }

    impl Store {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let config = sled::Config::new().path(dir.path().join("store")).flush_every_ms(None);
            MarkFile::create(&dir.path().join("mark"), Mark::default()).unwrap();
            Self { dir, trees: Trees::new(config.open().unwrap()).unwrap() }
        }

        fn blobs(&self) -> PathBuf {
            self.dir.path().join("store/blobs")
        }

        fn mark(&self) -> Mark {
            MarkFile::read(&self.dir.path().join("mark")).unwrap().unwrap()
        }

        fn flusher(&self) -> FlusherLoop {
            let mark_file = MarkFile::open(&self.dir.path().join("mark")).unwrap();
            let (db, dir) = (self.trees.db.clone(), self.dir.path().join("store"));
            FlusherLoop::new(db, &dir, mark_file, Mark::default(), Arc::default()).unwrap()
        }

        fn log(&self, flusher: FlusherLoop) -> (LogStore, FlusherThread) {
            let (handle, thread) = flusher.spawn("flusher".to_owned()).unwrap();
            (LogStore::new(self.trees.clone(), handle), thread)
        }
    }

    fn entry(index: u64, bytes: usize) -> Entry {
        let payload = EntryPayload::Normal(Command(vec![b'v'; bytes].into()));
        Entry { log_id: log_id(1, index), payload }
    }

    /// A power cut cannot be had in a test, but a file that the system refuses to sync can: what is acknowledged
    /// with it was not synced.
    #[tokio::test]
    async fn nothing_is_acknowledged_that_was_not_synced() {
        let store = Store::new();
        let mut flusher = store.flusher();
        flusher.file = File::open("/dev/null").unwrap();
        assert!(flusher.file.sync_data().is_err(), "it can be synced: the test would prove nothing");
        let (mut log, thread) = store.log(flusher);
        assert!(log.blocking_append([entry(0, 10)]).await.is_err());
        assert_eq!(store.mark(), Mark::default(), "the mark is a lower bound of what is durable");
        assert!(log.save_vote(&Vote::new(1, 1)).await.is_err(), "nothing is known of the disk any more");
        assert_eq!(store.mark(), Mark::default());
        thread.stop().unwrap();
    }

    #[tokio::test]
    async fn nothing_is_acknowledged_whose_blobs_were_not_synced() {
        let store = Store::new();
        let (mut log, thread) = store.log(store.flusher());
        log.blocking_append([entry(0, 10)]).await.unwrap();
        std::os::unix::fs::symlink("/dev/null", store.blobs().join("1")).unwrap();
        assert!(log.blocking_append([entry(1, 10)]).await.is_err());
        thread.stop().unwrap();
    }

    #[tokio::test]
    async fn the_thread_is_stopped_while_somebody_has_a_handle() {
        let store = Store::new();
        let (mut log, thread) = store.log(store.flusher());
        log.blocking_append([entry(0, 10)]).await.unwrap();
        thread.stop().unwrap();
        assert!(log.blocking_append([entry(1, 10)]).await.is_err());
    }

    /// 64 KiB an entry: a page has sixteen of them and more.
    #[test]
    fn pages_above_128_kib_are_durable_with_the_batch() {
        let store = Store::new();
        let mut flusher = store.flusher();
        // sled may remove those that are not needed any more between two looks.
        let seen = |flusher: &FlusherLoop| {
            let files = std::fs::read_dir(store.blobs()).unwrap().map(Result::unwrap);
            let lengths = files.filter_map(|file| Some((file.file_name(), file.metadata().ok()?.len())));
            lengths
                .inspect(|(name, length)| assert_eq!(flusher.blobs.durable.get(name), Some(length)))
                .count()
        };
        let mut most = 0;
        for index in 0..64_u64 {
            let key = index.to_be_bytes();
            for tree in [&store.trees.log, &store.trees.state] {
                tree.insert(key, crate::codec::record::Stored::seal(&entry(index, 64 << 10), &key)).unwrap();
            }
            flusher.commit(&[]).unwrap();
            most = most.max(seen(&flusher));
        }
        assert!(most > 0, "there are no blobs: the test would prove nothing");
    }

    #[test]
    fn what_a_killed_process_had_not_synced_is_synced_at_the_start() {
        let store = Store::new();
        std::os::unix::fs::symlink("/dev/null", store.blobs().join("1")).unwrap();
        let mark_file = MarkFile::open(&store.dir.path().join("mark")).unwrap();
        let (db, dir) = (store.trees.db.clone(), store.dir.path().join("store"));
        assert!(FlusherLoop::new(db, &dir, mark_file, Mark::default(), Arc::default()).is_err());
    }
}
