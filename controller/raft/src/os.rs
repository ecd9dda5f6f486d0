//! What only the system knows.

use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Bytes that are free below a folder. None: its file system does not tell.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<Option<u64>> {
    let found = rustix::fs::statvfs(dir)?;
    Ok((found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)))
}

/// Whether the system was short of files, memory or threads just then: nothing was done.
pub(crate) fn is_short(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN))
}
