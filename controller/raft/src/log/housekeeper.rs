//! Makes the next segment ahead of its use and removes old ones, on a thread of its own: both take the file system
//! some milliseconds, which no commit waits for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::Syncs;
use super::segment::Segment;

/// What it is asked to do.
enum Task {
    Remove(u64),
    Make(u64),
}

/// The thread, as the log's thread uses it.
pub(super) struct Housekeeper {
    tasks: Option<Sender<Task>>,
    made: Receiver<io::Result<Segment>>,
    thread: Option<JoinHandle<()>>,
    /// The number of the segment that is being made.
    next: u64,
}

impl Housekeeper {
    /// Starts the thread, which makes segment `next`.
    pub(super) fn spawn(dir: PathBuf, name: String, next: u64, syncs: Syncs) -> io::Result<Self> {
        // As many tasks as segments fill up: each is some milliseconds for it and megabytes for the log.
        let (tasks, todo) = channel();
        let (done, made) = sync_channel(1);
        let thread =
            std::thread::Builder::new().name(name).spawn(move || work(&dir, &syncs, &todo, &done))?;
        let housekeeper = Self { tasks: Some(tasks), made, thread: Some(thread), next };
        housekeeper.ask(Task::Make(next));
        Ok(housekeeper)
    }

    /// The next segment; the one after it is begun.
    pub(super) fn next(&mut self) -> io::Result<Segment> {
        let made =
            self.made.recv().unwrap_or_else(|_| Err(io::Error::other("the log's housekeeper has ended")));
        if made.is_ok() {
            self.next += 1;
        }
        self.ask(Task::Make(self.next));
        made.map_err(|error| io::Error::new(error.kind(), format!("making a segment of the log: {error}")))
    }

    /// Removes a segment some time.
    pub(super) fn remove(&self, number: u64) {
        self.ask(Task::Remove(number));
    }

    fn ask(&self, task: Task) {
        // An error means that it has ended: `next` says so.
        let _ = self.tasks.as_ref().map(|tasks| tasks.send(task));
    }

    /// Ends the thread. What was to be removed is.
    pub(super) fn stop(&mut self) {
        self.tasks = None;
        // A panic is not this thread's to pass on: the log is whole without.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn work(dir: &Path, syncs: &Syncs, todo: &Receiver<Task>, done: &SyncSender<io::Result<Segment>>) {
    while let Ok(task) = todo.recv() {
        match task {
            Task::Remove(number) => {
                if let Err(error) = Segment::remove(dir, number) {
                    tracing::warn!(%error, number, "a segment of the log was not removed");
                }
            }
            // Nobody waits for it any more when the log has ended.
            Task::Make(number) => drop(done.send(Segment::create(dir, number, syncs))),
        }
    }
}
