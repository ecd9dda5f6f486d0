//! Named moments at which a test makes the process crash; without the feature `faults` they are nothing.

/// After a command is committed, applied and written, before its proposer is answered.
pub const APPLIED_BEFORE_ANSWER: &str = "raft-applied-before-answer";

/// After entries are durable, before Raft is told.
pub const FLUSHED_BEFORE_CALLBACK: &str = "raft-flushed-before-callback";

#[cfg(feature = "faults")]
static ARMED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Chooses the moment at which this process aborts; the first choice stays. Called by the program at its start.
#[cfg(feature = "faults")]
pub fn arm(name: impl Into<String>) {
    let _ = ARMED.set(name.into());
}

/// Aborts the process when this moment was chosen.
#[cfg(feature = "faults")]
pub fn hit(name: &str) {
    if ARMED.get().is_some_and(|armed| armed == name) {
        std::process::abort();
    }
}

/// Nothing: the feature `faults` is off.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn hit(_name: &str) {}
