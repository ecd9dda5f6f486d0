//! The edge where time enters: everything else takes it as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coracle_proto::pace::Pace;

/// Unix time in milliseconds. It can jump: ages computed from it saturate at zero.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the edge")]
pub fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// A clock that never goes back, for deadlines and durations.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the edge")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for the next turn, which may be now: even no time at all would be a tick of the timer.
pub(crate) async fn turn(pace: &mut Pace) {
    let wait = pace.take(now());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

/// Whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
