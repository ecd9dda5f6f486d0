//! What is tried several times, and what is not.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::client::{Deadline, Stopwatch};
use crate::exit::{Exit, Failure};
use crate::output::Progress;

/// Attempts of one request.
const TRIES: u32 = 5;
/// Before the second one; twice as long before each other one.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 200 });
/// A transfer of which nothing moves for so long is given up: longer than an election and a lost node together.
const STILL_MAX: Duration = Duration::from_secs(30);
/// What is behind a slow link is waited for as long as it has taken so far, and no longer than this: the last bytes that were counted
/// may be in buffers on their way.
const STILL_LONGEST: Duration = Duration::from_secs(5 * 60);

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It would be the same again.
    Final(Failure),
    /// Another gateway, or the same later, may do it.
    Again(Failure),
}

impl From<Failure> for Wrong {
    /// What stores say was tried again already.
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Does it until it works, or does not for good.
pub(super) async fn tried<T>(
    progress: &Progress,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, Wrong>,
) -> Result<T, Failure> {
    let mut turn = 1;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Wrong::Final(failure)) => return Err(failure.during(what)),
            Err(Wrong::Again(failure)) if turn == TRIES => {
                return Err(failure.during(format!("{what}: tried {TRIES} times")));
            }
            Err(Wrong::Again(failure)) => {
                let pause = PAUSE.saturating_mul(1 << (turn - 1));
                progress.line(&format!("{what}: {failure}; trying again"));
                Deadline::after(pause).pause(pause).await;
            }
        }
        turn += 1;
    }
}

/// Bytes that were moved, counted by whoever moves them.
#[derive(Debug, Clone, Default)]
pub(super) struct Moved(Arc<AtomicU64>);

impl Moved {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for it as long as something moves.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>) -> Result<T, Wrong> {
        self.watch_for(STILL_MAX, work).await
    }

    async fn watch_for<T>(&self, still: Duration, work: impl Future<Output = T>) -> Result<T, Wrong> {
        let (mut work, since) = (pin!(work), Stopwatch::start());
        loop {
            let (before, still) = (self.count(), since.elapsed().min(STILL_LONGEST).max(still));
            match tokio::time::timeout(still, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) if self.count() != before => {}
                Err(_) => {
                    let sentence = format!("nothing has moved for {} s", still.as_secs());
                    return Err(Wrong::Again(Failure::new(Exit::TimedOut, sentence)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Talk;

    #[tokio::test]
    async fn what_fails_is_tried_again_and_what_is_final_is_not() {
        let progress = Talk::new(true, true).progress(None);
        let failure = |exit| Failure::new(exit, "no");
        let mut turns = 0;
        let done = tried(&progress, "it", async || {
            turns += 1;
            if turns < 3 { Err(Wrong::Again(failure(Exit::Server))) } else { Ok(turns) }
        });
        assert_eq!(done.await, Ok(3));
        let mut turns = 0;
        let failed = tried(&progress, "it", async || {
            turns += 1;
            Err::<(), _>(Wrong::Again(failure(Exit::Server)))
        });
        let failed = failed.await.unwrap_err();
        assert_eq!((failed.message.as_str(), turns), ("it: tried 5 times: no", 5));
        let mut turns = 0;
        let failed = tried(&progress, "it", async || {
            turns += 1;
            Err::<(), _>(Wrong::Final(failure(Exit::NotFound)))
        });
        assert_eq!((failed.await.unwrap_err().exit, turns), (Exit::NotFound, 1));
    }

    #[tokio::test]
    async fn what_moves_is_waited_for_and_what_stands_still_is_not() {
        let (moved, still) = (Moved::default(), Duration::from_millis(300));
        let slow = async {
            for _ in 0..5 {
                Deadline::after(still).pause(still * 2 / 3).await;
                moved.add(1);
            }
        };
        assert!(moved.watch_for(still, slow).await.is_ok());
        assert!(matches!(moved.watch_for(still, std::future::pending::<()>()).await, Err(Wrong::Again(_))));
        // What went slowly is slow to arrive.
        let late = async {
            for _ in 0..6 {
                Deadline::after(still).pause(still * 2 / 3).await;
                moved.add(1);
            }
            Deadline::after(still * 2).pause(still * 3 / 2).await;
        };
        assert!(moved.watch_for(still, late).await.is_ok());
    }
}
