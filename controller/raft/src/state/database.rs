//! Opens sled, and tells apart why it does not open: somebody else has it, the system refuses, or it is damaged.
//!
//! Only a damaged one is ever given up. A disk that is full, or a process without a free descriptor, says nothing
//! about what the store holds.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// What the database may cache; sled's default is a gigabyte.
const CACHE_BYTES: u64 = 64 << 20;

/// A store that was closed a moment ago may still be locked: threads of sled's own hold its file until they have ended.
const LOCK_LOOKS: usize = 20;
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why the database did not open.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another process, or a member that is not shut down, holds its lock.
    InUse,
    /// The system refused something; it may not the next time.
    Refused(io::Error),
    /// What is there is no database of ours.
    Damaged(String),
}

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => match error.kind() {
                // Less was there than something else promised.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
                io::ErrorKind::Other if error.to_string().contains("could not acquire lock") => Self::InUse,
                _ => Self::Refused(error),
            },
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Opens the database; once more without its snapshots when it does not like them. One that is locked is waited for, a
/// second at most. Blocks.
pub(super) fn open(path: &Path) -> Result<sled::Db, Trouble> {
    for _ in 0..LOCK_LOOKS {
        match open_now(path) {
            Err(Trouble::InUse) => sleep(LOCK_LOOK_EVERY),
            opened => return opened,
        }
    }
    open_now(path)
}

fn open_now(path: &Path) -> Result<sled::Db, Trouble> {
    let open = || {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        // sled panics on some files that were cut off.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        opened.map_or_else(|_| Err(Trouble::Damaged("sled panicked".to_owned())), |opened| Ok(opened?))
    };
    match open() {
        Err(Trouble::Damaged(_)) => {
            remove_snapshots(path, |_, _| true).map_err(Trouble::Refused)?;
            open()
        }
        opened => opened,
    }
}

/// Removes what a crash left of a snapshot.
pub(super) fn sweep(path: &Path) -> io::Result<()> {
    remove_snapshots(path, |name, bytes| bytes == 0 || name.ends_with(".generating"))
}

/// sled's own snapshots only save work at the next start: it recovers everything without them, but refuses to
/// start with one that was cut off.
fn remove_snapshots(path: &Path, which: impl Fn(&str, u64) -> bool) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && which(&name, entry.metadata()?.len()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the system: no permission, too many files, no space, a bad disk, only reading.
    const REFUSALS: [i32; 5] = [13, 24, 28, 5, 30];

    #[test]
    fn what_the_system_refuses_is_no_damage() {
        for number in REFUSALS {
            let error = io::Error::from_raw_os_error(number);
            let trouble = Trouble::from(sled::Error::Io(error));
            assert!(matches!(&trouble, Trouble::Refused(error) if error.raw_os_error() == Some(number)));
        }
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData] {
            assert!(matches!(Trouble::from(sled::Error::Io(kind.into())), Trouble::Damaged(_)), "{kind}");
        }
        assert!(matches!(Trouble::from(sled::Error::Corruption { at: None, bt: () }), Trouble::Damaged(_)));
    }

    #[test]
    fn snapshots_are_removed_for_damage_only() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = dir.path().join("snap.0000000000000001");
        fs::write(&snapshot, b"whole").unwrap();
        fs::create_dir(dir.path().join("db")).unwrap();
        assert!(matches!(open(dir.path()), Err(Trouble::Refused(_))));
        assert!(snapshot.exists());
        fs::remove_dir(dir.path().join("db")).unwrap();
        open(dir.path()).unwrap();
        assert!(!snapshot.exists());
        assert!(open(dir.path()).is_ok());
    }
}
