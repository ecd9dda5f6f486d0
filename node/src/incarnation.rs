//! The number of a start of this process: greater than that of every earlier one, whatever the clock does.
//!
//! A node's reports are newer than those of its last start by it. The clock alone may be set back between two starts,
//! and everybody would believe the older reports until it has caught up.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::{clock, os};

/// The file in the node's folder that holds the last one, as decimal text.
const FILE: &str = "incarnation";

/// The number of the start that happens now. Where it cannot be kept it is the clock's, and the log says so.
#[must_use]
pub(crate) fn next(folder: &Path) -> u64 {
    let next = after(&fs::read_to_string(folder.join(FILE)).unwrap_or_default(), clock::unix_ms());
    if let Err(error) = keep(folder, next) {
        tracing::warn!(folder = %folder.display(), %error, "the number of this start is not kept");
    }
    next
}

/// One more than the last one, or the time where that is later.
fn after(last: &str, now_ms: u64) -> u64 {
    let last = last.trim().parse::<u64>().unwrap_or(0);
    now_ms.max(last.saturating_add(1))
}

fn keep(folder: &Path, number: u64) -> io::Result<()> {
    let new = folder.join(format!("{FILE}.new"));
    let mut file = File::create(&new)?;
    writeln!(file, "{number}")?;
    file.sync_all()?;
    fs::rename(new, folder.join(FILE))?;
    os::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_start_has_a_greater_number_though_the_clock_was_set_back() {
        assert_eq!((after("", 70), after("60\n", 70), after("90\n", 70), after("?", 70)), (70, 70, 91, 70));
    }

    #[test]
    fn it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let ahead = clock::unix_ms() + 3_600_000;
        keep(folder.path(), ahead).unwrap();
        assert_eq!((next(folder.path()), next(folder.path())), (ahead + 1, ahead + 2));
    }
}
