//! Named moments at which a test makes the process crash; without the feature `faults` they are nothing.
//!
//! A point is armed for the whole life of a process, and fires when its trigger, a file, is there: a test writes
//! it when everything else is at rest. The process takes it away first, so that it crashes once and not again
//! after its restart. What the file says must stand in a key of what the process handles then; an empty one
//! fires at once.

/// After a command is committed, applied and written, before its proposer is answered. Keys: those it changed.
pub const APPLIED_BEFORE_ANSWER: &str = "raft-applied-before-answer";

/// After entries are durable, before Raft is told. No keys.
pub const FLUSHED_BEFORE_CALLBACK: &str = "raft-flushed-before-callback";

/// After a received snapshot was read whole, before the state on the disk is that of the snapshot. No keys.
pub const SNAPSHOT_BEFORE_STATE: &str = "raft-snapshot-before-state";

/// A disk that is ill. While a file of this name is in a log's folder each of its syncs takes so many milliseconds
/// longer as it says; or fails, where it says `fail`; or fails when it is one of WHAT, where it says `fail WHAT`.
pub const ILL: &str = "ill";

#[cfg(feature = "faults")]
pub use armed::arm;
#[cfg(feature = "faults")]
pub(crate) use armed::hit;

/// What an ill disk does at a sync. Blocks.
#[cfg(feature = "faults")]
pub(crate) fn at_sync(dir: &std::path::Path, what: &str) -> std::io::Result<()> {
    let Ok(wanted) = std::fs::read_to_string(dir.join(ILL)) else { return Ok(()) };
    match (wanted.parse(), wanted.strip_prefix("fail")) {
        (Ok(ms), _) => std::thread::sleep(std::time::Duration::from_millis(ms)),
        (Err(_), Some(only)) if !only.is_empty() && only.trim() != what => {}
        // The system's number for a disk that cannot be written.
        (Err(_), _) => return Err(std::io::Error::from_raw_os_error(5)),
    }
    Ok(())
}

/// Nothing: the feature `faults` is off.
#[cfg(not(feature = "faults"))]
#[inline]
pub(crate) fn at_sync(_dir: &std::path::Path, _what: &str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "faults")]
mod armed {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::OnceLock;

    struct Armed {
        point: String,
        trigger: PathBuf,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Chooses the moment at which this process aborts; the first choice stays. Called by the program at its start.
    pub fn arm(point: impl Into<String>, trigger: impl Into<PathBuf>) {
        // Whoever armed first is meant.
        let _ = ARMED.set(Armed { point: point.into(), trigger: trigger.into() });
    }

    /// Aborts the process when this moment was chosen and its trigger is there.
    pub(crate) fn hit<'a>(point: &str, mut keys: impl Iterator<Item = &'a [u8]>) {
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
        let Ok(wanted) = fs::read(&armed.trigger) else { return };
        let fires = wanted.is_empty() || keys.any(|key| key.windows(wanted.len()).any(|part| part == wanted));
        if fires && fs::remove_file(&armed.trigger).is_ok() {
            std::process::abort();
        }
    }
}

/// Nothing: the feature `faults` is off.
#[cfg(not(feature = "faults"))]
#[inline]
pub(crate) fn hit<'a>(_point: &str, _keys: impl Iterator<Item = &'a [u8]>) {}
