//! Remembers beside the log that there was one: a node whose log is gone must not vote again under its old id.

use std::path::Path;

use coracle_raft::OpenError;

use super::{Options, RunError};
use crate::identity::write_durably;

/// The file that says so.
const NAME: &str = "begun";

/// Refuses to begin a second log for one identity.
pub(super) fn check(options: &Options, log: &Path) -> Result<(), RunError> {
    if options.data_dir.join(NAME).exists() && !log.exists() {
        let (dir, node) = (log.to_owned(), options.identity.node);
        return Err(OpenError::Empty { dir, node }.into());
    }
    Ok(())
}

/// The log is open: from now on it must be there.
pub(super) fn mark(options: &Options) -> Result<(), RunError> {
    if options.data_dir.join(NAME).exists() {
        return Ok(());
    }
    write_durably(&options.data_dir, NAME, b"").map_err(RunError::Mark)
}
