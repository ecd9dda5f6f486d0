//! What a person gives: a file, or stdin for `-`.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::exit::Failure;
use crate::units::show_bytes;

/// What stands for it.
const STDIN: &str = "-";
/// Bytes of a message: larger data lies in a bucket.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// From where data come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given<'a> {
    Text(&'a str),
    File(&'a Path),
}

/// What a person means by text, @FILE, or - for stdin.
pub(super) fn given(data: &str) -> Given<'_> {
    match (data, data.strip_prefix('@')) {
        (STDIN, _) => Given::File(Path::new(STDIN)),
        (_, Some(file)) => Given::File(Path::new(file)),
        (text, None) => Given::Text(text),
    }
}

/// The data of a message, of at most [`MESSAGE_BYTES_MAX`].
pub(super) async fn message(data: Given<'_>) -> Result<Bytes, Failure> {
    let (read, name) = match data {
        Given::Text(text) => (text.as_bytes().to_vec(), Path::new("--data")),
        Given::File(file) => {
            let failed = |error| Failure::usage(format!("--data: {}: {error}", file.display()));
            let opened = open(file).await.map_err(failed)?;
            let mut data = Vec::new();
            opened.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut data).await.map_err(failed)?;
            (data, file)
        }
    };
    if read.len() > MESSAGE_BYTES_MAX {
        let most = show_bytes(MESSAGE_BYTES_MAX as u64);
        return Err(Failure::usage(format!("{}: a message has at most {most}", name.display())));
    }
    Ok(read.into())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_a_text_a_file_or_stdin() {
        assert_eq!(given("a"), Given::Text("a"));
        assert_eq!(given("-1"), Given::Text("-1"));
        assert_eq!(given("@a.json"), Given::File(Path::new("a.json")));
        assert_eq!((given("-"), given("@-")), (Given::File(Path::new("-")), Given::File(Path::new("-"))));
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'x'; MESSAGE_BYTES_MAX + 1]).unwrap();
        let failure = message(Given::File(file.path())).await.unwrap_err();
        assert!(failure.message.contains("a message has at most 64 KiB"), "{failure}");
        std::fs::write(file.path(), vec![b'x'; MESSAGE_BYTES_MAX]).unwrap();
        assert_eq!(message(Given::File(file.path())).await.unwrap().len(), MESSAGE_BYTES_MAX);
    }
}
