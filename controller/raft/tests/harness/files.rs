//! Files of a store that is closed, copied and damaged.

use std::fs;
use std::path::Path;

/// Copies a folder with all that is in it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Flips a bit in every place of a file that holds a value.
pub(crate) fn flip(path: &Path, needle: &str) {
    let mut bytes = fs::read(path).unwrap();
    let at: Vec<usize> = bytes
        .windows(needle.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == needle.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!at.is_empty(), "the value is not in {}", path.display());
    at.iter().for_each(|at| bytes[at + 2] ^= 4);
    fs::write(path, bytes).unwrap();
}
