//! Remembers beside the store that there was one: a node whose store is gone must not vote again under its old id.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::RunError;

/// The file in the node's folder that says so.
const NAME: &str = "store-begun";

/// Whether this node had a store.
pub(super) fn had_store(data_dir: &Path) -> Result<bool, RunError> {
    let path = data_dir.join(NAME);
    path.try_exists().map_err(|source| RunError::Mark { path, source })
}

/// The store is open: from now on it must be there.
pub(super) fn mark(data_dir: &Path) -> Result<(), RunError> {
    if had_store(data_dir)? {
        return Ok(());
    }
    let path = data_dir.join(NAME);
    let write = || -> io::Result<()> {
        File::create(&path)?.sync_all()?;
        fs::File::open(data_dir)?.sync_all()
    };
    write().map_err(|source| RunError::Mark { path: path.clone(), source })
}
