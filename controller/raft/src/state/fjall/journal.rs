//! fjall's journal, emptied: what it holds is in the log too, and it may have holes where nobody had synced it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::open::VERSION;

/// Empties the journal of a database that is not open. Blocks.
pub(super) fn empty(dir: &Path) -> io::Result<()> {
    let mut journals = journals(dir)?;
    if dir.join(VERSION).try_exists()? {
        // Where there is no file at all fjall takes the database for a new one, and counts its writes from 0 again.
        let newest = journals.pop().map_or_else(|| dir.join("0.jnl"), |(_, path)| path);
        let newest = File::options().write(true).create(true).truncate(true).open(newest)?;
        newest.sync_all()?;
    }
    // The others; and what is left of a database whose creation was cut off, which fjall would stumble over.
    journals.into_iter().try_for_each(|(_, path)| fs::remove_file(path))
}

/// Its files by number.
fn journals(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort_unstable();
    Ok(journals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(dir: &Path) -> Vec<(u64, u64)> {
        let sizes = journals(dir).unwrap().into_iter();
        sizes.map(|(number, path)| (number, fs::metadata(path).unwrap().len())).collect()
    }

    #[test]
    fn the_newest_file_stays_and_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        for number in [9, 10, 11] {
            fs::write(dir.path().join(format!("{number}.jnl")), b"something").unwrap();
        }
        fs::write(dir.path().join(VERSION), b"3").unwrap();
        empty(dir.path()).unwrap();
        assert_eq!(left(dir.path()), [(11, 0)]);
        fs::remove_file(dir.path().join("11.jnl")).unwrap();
        empty(dir.path()).unwrap();
        assert_eq!(left(dir.path()), [(0, 0)], "there is always one");
    }

    #[test]
    fn nothing_is_left_of_a_database_that_was_not_made_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("0.jnl"), [0; 100]).unwrap();
        empty(dir.path()).unwrap();
        assert_eq!(left(dir.path()), []);
    }
}
