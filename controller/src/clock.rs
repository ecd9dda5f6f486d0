//! The clocks: the only place of this package that reads them. Everything else is given the time.

mod agreed;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coracle_proto::pace::Pace;

pub(crate) use agreed::{Agreed, ClusterClock, agree};

/// For intervals and deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the edge at which the clock is read")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// For stamps: Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the edge at which the clock is read")]
pub(crate) fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Waits for the next turn, which may be now: even no time at all would be a tick of the timer.
pub(crate) async fn turn(pace: &mut Pace) {
    let wait = pace.take(now());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
