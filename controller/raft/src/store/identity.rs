//! The file `identity`: it says that this folder once held a store, and whose.

use std::io;
use std::path::Path;

use super::disk;
use crate::codec::frame::{FrameError, seal_message, unseal_message};
use crate::codec::raft::{identity_from_wire, identity_to_wire};
use crate::options::Identity;

const KEY: &[u8] = b"identity file";

pub(crate) fn write(path: &Path, identity: &Identity) -> io::Result<()> {
    disk::write_whole(path, &seal_message(KEY, &identity_to_wire(identity)))
}

/// Who the file names; none when it is not there, `Err` inside when it is not whole.
pub(crate) fn read(path: &Path) -> io::Result<Option<Result<Identity, FrameError>>> {
    let Some(bytes) = disk::read_if_there(path)? else { return Ok(None) };
    Ok(Some(unseal_message(KEY, &bytes).and_then(|wire| Ok(identity_from_wire(&wire)?))))
}
