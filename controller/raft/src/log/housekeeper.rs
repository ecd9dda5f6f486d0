//! Makes the next segment ahead of its use and removes old ones, on a thread of its own: both take the file system
//! some milliseconds, which no commit waits for.

use std::collections::VecDeque;
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

    /// The next segment; the one after it is begun. What kept it from being made may be hours ago, a disk that was full
    /// then: it is tried once more.
    pub(super) fn next(&mut self) -> io::Result<Segment> {
        let made = self.made().or_else(|_| {
            self.ask(Task::Make(self.next));
            self.made()
        });
        if made.is_ok() {
            self.next += 1;
        }
        self.ask(Task::Make(self.next));
        made.map_err(|error| io::Error::new(error.kind(), format!("making a segment of the log: {error}")))
    }

    fn made(&self) -> io::Result<Segment> {
        self.made.recv().unwrap_or_else(|_| Err(io::Error::other("the log's housekeeper has ended")))
    }

    /// Removes a segment some time. Older ones are handed over before newer ones.
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
    let mut old = VecDeque::new();
    while let Ok(task) = todo.recv() {
        match task {
            Task::Remove(number) => {
                old.push_back(number);
                remove(dir, &mut old);
            }
            Task::Make(number) => {
                let made = Segment::create(dir, number, syncs);
                if let Err(error) = &made {
                    tracing::warn!(%error, number, "the next segment of the log was not made: tried again when it is needed");
                }
                // Nobody waits for it any more when the log has ended.
                drop(done.send(made));
            }
        }
    }
}

/// Removes old segments, each only when the one before it is gone: a gap would look like a loss. What cannot be removed
/// now is tried again with the next one, and by the next process.
fn remove(dir: &Path, old: &mut VecDeque<u64>) {
    while let Some(number) = old.front() {
        match Segment::remove(dir, *number) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, number, "a segment of the log was not removed");
                return;
            }
            Ok(()) | Err(_) => drop(old.pop_front()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::failure::Failure;
    use crate::log::segment::numbers;

    fn spawn(dir: &Path) -> Housekeeper {
        let syncs = Syncs::new(dir, &Arc::new(Failure::new(dir)));
        Housekeeper::spawn(dir.to_owned(), "files".to_owned(), 2, syncs).unwrap()
    }

    /// A folder in the place of a file: the system refuses to make the file, and to remove it.
    fn obstacle(path: PathBuf) -> PathBuf {
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_segment_that_was_not_made_is_tried_again_when_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let full = obstacle(dir.path().join("0000000002.tmp"));
        let mut files = spawn(dir.path());
        // Tasks are done in their order: when this one is, the segment was not made.
        let sign = Segment::path(dir.path(), 1);
        fs::write(&sign, "").unwrap();
        files.remove(1);
        while sign.exists() {
            std::thread::yield_now();
        }
        fs::remove_dir(&full).unwrap();
        assert_eq!(files.next().unwrap().number, 2);
        assert_eq!(files.next().unwrap().number, 3);
        obstacle(dir.path().join("0000000005.tmp"));
        assert_eq!(files.next().unwrap().number, 4);
        assert!(files.next().unwrap_err().to_string().contains("making a segment"));
        files.stop();
    }

    #[test]
    fn no_segment_goes_before_an_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let stays = obstacle(Segment::path(dir.path(), 5));
        for number in [6, 7] {
            fs::write(Segment::path(dir.path(), number), "").unwrap();
        }
        let mut files = spawn(dir.path());
        files.remove(5);
        files.remove(6);
        // The second one was asked for after what is to be removed.
        files.next().unwrap();
        files.next().unwrap();
        assert!(numbers(dir.path()).unwrap().ends_with(&[5, 6, 7]));
        fs::remove_dir(&stays).unwrap();
        files.remove(7);
        files.stop();
        assert!(numbers(dir.path()).unwrap().iter().all(|number| *number < 5));
    }
}
