//! Waiting for a predicate, with a reason and a bound.

use std::future::Future;
use std::time::{Duration, Instant};

/// How much longer than its goal a test waits: the machines that run it are small and shared.
pub const SLACK: u32 = 5;

/// The pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Looks again and again until `look` gives something, and prints how long it took.
///
/// # Panics
/// When it did not within [`SLACK`] times `goal`; the message has the reason and what was seen last.
pub async fn within<T, F, R>(goal: Duration, reason: &str, mut look: F) -> T
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, String>>,
{
    let begin = Instant::now();
    loop {
        let last = match look().await {
            Ok(found) => {
                println!("{reason}: {:?} (goal {goal:?})", begin.elapsed());
                return found;
            }
            Err(last) => last,
        };
        let waited = begin.elapsed();
        assert!(waited < goal * SLACK, "gave up after {waited:?} waiting for: {reason}; last seen: {last}");
        tokio::time::sleep(POLL).await; // a bounded poll
    }
}

/// [`within`] ten seconds, where no goal is stated.
///
/// # Panics
/// As [`within`].
pub async fn eventually<T, F, R>(reason: &str, look: F) -> T
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, String>>,
{
    within(Duration::from_secs(10), reason, look).await
}
