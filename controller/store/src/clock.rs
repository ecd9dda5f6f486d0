//! The one place where this process reads the clock, and what time it is in a group: `members` asks the clocks of all, of which `middle`
//! takes one, and `group` never goes back.

mod group;
mod members;
mod middle;
mod remote;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use group::GroupClock;
pub(crate) use members::Members;
#[cfg(test)]
pub(crate) use middle::Clocks;

/// For stamps: Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the edge at which the clock is read")]
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// For what is waited for.
#[expect(clippy::disallowed_methods, reason = "this is the edge at which the clock is read")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
