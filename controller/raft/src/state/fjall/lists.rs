//! fjall's lists of tables, checked before it opens: it has a checksum of each, does not look at it, and ends the whole process
//! where it cannot make sense of one.

use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::open::{KEYSPACES, damaged};
use crate::disk;

/// The file that names a keyspace's newest list: its number, its checksum, and which kind that is.
const CURRENT: &str = "current";

/// Checks the newest list of each keyspace of a database that is not open. Blocks.
pub(super) fn check(dir: &Path) -> io::Result<()> {
    let keyspaces = match fs::read_dir(dir.join(KEYSPACES)) {
        Ok(keyspaces) => keyspaces,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for keyspace in keyspaces {
        let keyspace = keyspace?.path();
        // One that is not there is one whose creation was cut off, or whose removal was.
        if let Some(current) = disk::read_if_there(&keyspace.join(CURRENT))? {
            check_list(&keyspace, &current)?;
        }
    }
    Ok(())
}

fn check_list(keyspace: &Path, current: &[u8]) -> io::Result<()> {
    let named = current.split_first_chunk::<8>().and_then(|(number, rest)| {
        let (checksum, kind) = rest.split_first_chunk::<16>()?;
        (kind == [0]).then_some((u64::from_le_bytes(*number), u128::from_le_bytes(*checksum)))
    });
    let Some((number, checksum)) = named else {
        return Err(damaged(format!("{} names no list of tables", keyspace.join(CURRENT).display())));
    };
    let path = keyspace.join(format!("v{number}"));
    match disk::read_if_there(&path)? {
        Some(list) if xxh3_128(&list) == checksum => Ok(()),
        Some(_) => Err(damaged(format!("{} is not what was written", path.display()))),
        None => Err(damaged(format!("{} is missing", path.display()))),
    }
}
