//! What only the system knows.

use std::io;
use std::path::Path;

/// Bytes that are free below a folder. None: its file system does not tell.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<Option<u64>> {
    let found = rustix::fs::statvfs(dir)?;
    Ok((found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)))
}
