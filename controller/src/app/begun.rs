//! Remembers beside the log that there was one: a node whose log is gone must not vote again under its old id.

use std::path::Path;

use super::{Options, RunError};
use crate::identity::{IdentityError, write_durably};

/// The file that says so.
const NAME: &str = "begun";

/// Whether this node had a log: it must not begin a second one, not even where its folder is there and empty, as
/// that of a disk that is not mounted.
pub(super) fn had_log(data_dir: &Path) -> Result<bool, RunError> {
    let path = data_dir.join(NAME);
    path.try_exists()
        .map_err(|source| RunError::Mark(IdentityError::Io { path: path.display().to_string(), source }))
}

/// The log is open: from now on it must be there.
pub(super) fn mark(options: &Options) -> Result<(), RunError> {
    if had_log(&options.data_dir)? {
        return Ok(());
    }
    write_durably(&options.data_dir, NAME, b"").map_err(RunError::Mark)
}
