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
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // The one who waited may have gone.
            Self::Signal(sender) => drop(sender.send(result)),
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

/// Hands jobs to the thread; it ends when the last of these is gone.
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

/// The thread, to be joined after the last [`Flusher`] is gone.
pub(crate) type FlusherThread = JoinHandle<()>;

/// The state of the thread.
pub(crate) struct FlusherLoop {
    db: sled::Db,
    /// sled's file once more: its `flush` is `sync_file_range` on Linux, which a power cut undoes.
    file: File,
    mark_file: MarkFile,
    mark: Mark,
    metrics: Arc<StoreMetrics>,
}

impl FlusherLoop {
    pub(crate) fn new(
        db: sled::Db,
        sled_dir: &Path,
        mark_file: MarkFile,
        mark: Mark,
        metrics: Arc<StoreMetrics>,
    ) -> io::Result<Self> {
        Ok(Self { db, file: File::open(sled_dir.join("db"))?, mark_file, mark, metrics })
    }

    pub(crate) fn spawn(self, name: String) -> io::Result<(Flusher, FlusherThread)> {
        let (sender, jobs) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name(name).spawn(move || self.run(&jobs))?;
        Ok((Flusher(sender), thread))
    }

    fn run(mut self, jobs: &Receiver<Job>) {
        let mut failed: Option<String> = None;
        while let Ok(first) = jobs.recv() {
            let batch: Vec<Job> = std::iter::once(first).chain(jobs.try_iter().take(QUEUE_MAX)).collect();
            if failed.is_none() {
                failed = self.commit(&batch).err().map(|error| error.to_string());
            }
            for job in batch {
                job.done.tell(failed.as_ref().map_or(Ok(()), |reason| Err(io::Error::other(reason.clone()))));
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

    #[expect(clippy::disallowed_methods, reason = "the length of a sync is measured where it happens")]
    fn sync(&self) -> io::Result<()> {
        let start = Instant::now();
        self.db.flush().map_err(sled_error)?;
        self.file.sync_data()?;
        self.metrics.synced(start.elapsed());
        Ok(())
    }
}
