//! What the system grants this process, by safe wrappers.

use rustix::process::Resource;

/// How many files this process may have open.
#[must_use]
pub(crate) fn open_files() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
