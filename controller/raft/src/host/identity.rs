//! The file `identity`: it says that this folder once held a store, and whose.

use std::io;
use std::path::Path;

use crate::codec::frame::FrameError;
use crate::codec::record::Stored as _;
use crate::disk;
use crate::options::HostIdentity;

const KEY: &[u8] = b"identity file";

pub(crate) fn write(path: &Path, identity: &HostIdentity) -> io::Result<()> {
    disk::write_whole(path, &identity.seal(KEY))
}

/// Who the file names; none when it is not there, `Err` inside when it is not whole.
pub(crate) fn read(path: &Path) -> io::Result<Option<Result<HostIdentity, FrameError>>> {
    let Some(bytes) = disk::read_if_there(path)? else { return Ok(None) };
    Ok(Some(HostIdentity::unseal(KEY, &bytes)))
}
