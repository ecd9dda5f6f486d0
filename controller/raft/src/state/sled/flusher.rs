//! The thread that flushes: sled's flush may wait for what has failed long ago, or for a disk that does not answer.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::Duration;

use super::error;

/// A flush that takes longer than this may wait for what has failed: it is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A disk may be slow. One that takes longer than this does not answer at all, or a thread of sled's has panicked.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(300);

/// The thread, for the life of the store: a flush asks the system for none, which it might refuse. It ends when this is
/// dropped.
pub(super) struct Flusher {
    asks: mpsc::Sender<Ask>,
    woken: Once,
}

/// For one flush, and who is told.
struct Ask {
    db: sled::Db,
    tell: mpsc::Sender<thread::Result<sled::Result<usize>>>,
}

impl Flusher {
    pub(super) fn spawn() -> io::Result<Self> {
        let (asks, asked) = mpsc::channel::<Ask>();
        thread::Builder::new().name("raft-flush".to_owned()).spawn(move || {
            for Ask { db, tell } in asked {
                let flushed = catch_unwind(AssertUnwindSafe(|| db.flush()));
                drop(db);
                // Nobody waits any more: it took too long.
                let _ = tell.send(flushed);
            }
        })?;
        Ok(Self { asks, woken: Once::new() })
    }

    /// Flushes; none where that does not end. Blocks.
    pub(super) fn flush(&self, db: &sled::Db) -> Option<io::Result<()>> {
        let (tell, told) = mpsc::channel();
        self.asks.send(Ask { db: db.clone(), tell }).ok()?;
        self.wait(&told, || db.context.global_error(), || wake(db), WAIT_MAX)
    }

    /// sled's flush waits for what threads of sled's write. Where they cannot they tell nobody, and who waits would wait for
    /// ever: the error is looked for where they leave it.
    fn wait(
        &self,
        told: &mpsc::Receiver<thread::Result<sled::Result<usize>>>,
        look: impl Fn() -> sled::Result<()>,
        wake: impl FnOnce(),
        at_most: Duration,
    ) -> Option<io::Result<()>> {
        let mut waited = Duration::ZERO;
        while waited < at_most {
            match told.recv_timeout(LOOK_EVERY) {
                Ok(Ok(flushed)) => return Some(flushed.map(drop).map_err(error)),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => waited += LOOK_EVERY,
            }
            if let Err(failed) = look() {
                self.woken.call_once(wake);
                return Some(Err(error(failed)));
            }
        }
        None
    }
}

/// Whoever comes to flush after an error sees it, and wakes all who wait. Those who come later see it by themselves, so that
/// one is enough; and none, where the system has no thread for it: the process ends.
fn wake(db: &sled::Db) {
    let db = db.clone();
    let flush = move || {
        let _ = catch_unwind(AssertUnwindSafe(|| db.flush()));
    };
    if let Err(error) = thread::Builder::new().name("raft-wake".to_owned()).spawn(flush) {
        tracing::warn!(%error, "who waits for the state's disk was not woken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_flush_that_waits_for_what_has_failed_is_told_and_others_are_woken_once() {
        let flusher = Flusher::spawn().unwrap();
        let (_tell, told) = mpsc::channel();
        let look = || Err(sled::Error::Io(io::ErrorKind::StorageFull.into()));
        let woken = std::cell::Cell::new(0);
        for _ in 0..2 {
            let flushed = flusher.wait(&told, look, || woken.set(woken.get() + 1), LONG);
            assert_eq!(flushed.unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(woken.get(), 1);
    }

    #[test]
    fn a_flush_that_does_not_end_is_given_up() {
        let flusher = Flusher::spawn().unwrap();
        let (tell, told) = mpsc::channel();
        let nobody = || panic!("there was no error");
        assert!(flusher.wait(&told, || Ok(()), nobody, 2 * LOOK_EVERY).is_none());
        tell.send(Ok(Ok(1))).unwrap();
        assert!(flusher.wait(&told, || Ok(()), nobody, 2 * LOOK_EVERY).unwrap().is_ok());
    }
}
