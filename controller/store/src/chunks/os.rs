//! What chunks need of the system, by `rustix`'s safe functions.

use std::io;
use std::path::Path;

/// Bytes that are free for this process on the disk of a folder.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let told = rustix::fs::statvfs(folder)?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}
