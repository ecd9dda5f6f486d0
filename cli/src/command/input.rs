//! What a person gives: a file, or stdin for `-`.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use tokio::fs::File;

/// What stands for it.
const STDIN: &str = "-";

/// Whether there is such a file; stdin is there.
pub(super) fn find(path: &Path) -> io::Result<()> {
    if path == Path::new(STDIN) { Ok(()) } else { std::fs::File::open(path).map(drop) }
}

/// Opens a file, or stdin.
pub(super) async fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    if path != Path::new(STDIN) {
        return File::open(path).await;
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(File::from_std(std::fs::File::from(stdin)))
}
