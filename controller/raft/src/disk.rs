//! Files that survive a power cut: written aside, synced, renamed, and their folder synced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::os;

/// Makes the entries of a folder durable: without it a new file can vanish with its content intact.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Whether the system did not take something for want of room, which somebody may make.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Refuses where so much room is not left, as the system would. A file system that does not tell has it.
pub(crate) fn has_room(dir: &Path, bytes: u64) -> io::Result<()> {
    let Some(left) = os::free_bytes(dir)?.filter(|left| *left < bytes) else { return Ok(()) };
    let sentence = format!("{} has {left} bytes left, and {bytes} are to be free", dir.display());
    Err(io::Error::new(io::ErrorKind::StorageFull, sentence))
}

/// Puts a finished, synced file in the place of another, durably.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    to.parent().map_or(Ok(()), sync_dir)
}

/// Writes a small file, whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("tmp");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    replace(&aside, path)
}

/// The bytes of a file, none when it is not there.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
