//! A chunk as a file: a head that says how long it is and its digest, and its bytes. It is written beside, synced and renamed, and
//! checked whenever it is read. All of this waits for the disk.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// How a file begins: what it is, in which format.
const MAGIC: &[u8; 16] = b"coracle chunk 1\n";
/// With the length in four bytes, and the digest.
const HEAD_BYTES: usize = 16 + 4 + 32;
/// Read at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// A chunk that is being written. What is not finished is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Writing {
    /// None: it has its name.
    beside: Option<PathBuf>,
    file: File,
    hash: Sha256,
    bytes: u32,
}

impl Writing {
    /// Begins one that will be renamed to `path`, whose folder is there.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let beside = path.with_file_name(format!("{BESIDE}{:016x}", rand::random::<u64>()));
        let mut file = File::options().write(true).create_new(true).open(&beside)?;
        let head = file.write_all(&[0; HEAD_BYTES]);
        let writing = Self { beside: Some(beside), file, hash: Sha256::new(), bytes: 0 };
        head.map(|()| writing)
    }

    pub(super) const fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.hash.update(data);
        self.bytes = self.bytes.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Whether what was written has this digest.
    pub(super) fn is(&self, digest: &[u8]) -> bool {
        self.hash.clone().finalize()[..] == *digest
    }

    /// It is there from now on, whatever happens to the machine.
    pub(super) fn finish(mut self, path: &Path) -> io::Result<()> {
        let Some(beside) = &self.beside else { return Ok(()) };
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(MAGIC)?;
        self.file.write_all(&self.bytes.to_be_bytes())?;
        self.file.write_all(&self.hash.clone().finalize())?;
        self.file.sync_data()?;
        fs::rename(beside, path)?;
        self.beside = None;
        path.parent().map_or(Ok(()), sync_folder)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // What stays goes as garbage does.
            let _ = fs::remove_file(beside);
        }
    }
}

/// How the names of files begin that are being written.
pub(super) const BESIDE: &str = ".";

/// What is in a folder stays there.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a file is there that could be a chunk of so many bytes. It is not read.
pub(super) fn has(path: &Path, bytes: u64) -> bool {
    let is_file = |told: fs::Metadata| told.is_file() && told.len() == HEAD_BYTES as u64 + bytes;
    fs::metadata(path).is_ok_and(is_file)
}

/// A chunk that was checked, to be read from the first of the bytes that are wanted.
#[derive(Debug)]
pub(super) struct Checked {
    file: File,
    left: u64,
    digest: [u8; 32],
}

/// A chunk that is there.
#[derive(Debug)]
pub(super) enum Opened {
    /// It can be read.
    Checked(Checked),
    /// It cannot: why, and whether its file is gone. Where it is another one by now, that stays.
    Damaged(io::Error, io::Result<()>),
}

/// Opens a chunk and reads all of it once. A damaged one is unlinked.
pub(super) fn open(path: &Path, offset: u64, bytes: Option<u64>) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    match checked(&mut file, offset) {
        Ok((rest, digest)) => {
            let left = bytes.map_or(rest, |bytes| bytes.min(rest));
            Ok(Opened::Checked(Checked { file, left, digest }))
        }
        Err(error) if is_passing(&error) => Err(error),
        Err(error) => {
            let removed = unlink(&file, path);
            Ok(Opened::Damaged(error, removed))
        }
    }
}

/// Bytes from an offset on, where the file stands then, and the digest of the whole.
fn checked(file: &mut File, offset: u64) -> io::Result<(u64, [u8; 32])> {
    let (length, digest) = check(file)?;
    file.seek(SeekFrom::Start(HEAD_BYTES as u64 + offset.min(length)))?;
    Ok((length.saturating_sub(offset), digest))
}

/// Whether it may go better the next time. What a disk cannot read now (a bad sector is `EIO`) it will not read later.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | OutOfMemory | TimedOut | WouldBlock)
}

/// Unlinks what is open, if it has that name still: it may have been fetched anew meanwhile.
fn unlink(file: &File, path: &Path) -> io::Result<()> {
    let of = |told: &fs::Metadata| (told.dev(), told.ino());
    match fs::metadata(path) {
        Ok(named) if of(&named) == of(&file.metadata()?) => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl Checked {
    /// The next piece; none: that was all.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let mut piece = vec![0; size];
        self.file.read_exact(&mut piece)?;
        self.left = self.left.saturating_sub(size as u64);
        Ok(Some(piece))
    }

    /// Of the whole chunk.
    pub(super) const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What was read once cannot be read again: it is unlinked. None: it may go better the next time.
    pub(super) fn give_up(&self, error: &io::Error, path: &Path) -> Option<io::Result<()>> {
        (!is_passing(error)).then(|| unlink(&self.file, path))
    }
}

/// The bytes that it has, all of which were read, and their digest.
fn check(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    let damaged = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let (mut magic, mut length, mut digest) = ([0; 16], [0; 4], [0; 32]);
    file.read_exact(&mut magic)?;
    file.read_exact(&mut length)?;
    file.read_exact(&mut digest)?;
    if magic != *MAGIC {
        return damaged("it does not begin as a chunk does");
    }
    let length = u64::from(u32::from_be_bytes(length));
    if file.metadata()?.len() != HEAD_BYTES as u64 + length {
        return damaged("it has another length than it says");
    }
    let (mut hash, mut buffer, mut left) = (Sha256::new(), vec![0; BUFFER_BYTES], length);
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let Some(piece) = buffer.get_mut(..size) else { break };
        file.read_exact(piece)?;
        hash.update(&*piece);
        left = left.saturating_sub(size as u64);
    }
    if hash.finalize()[..] != digest {
        return damaged("it has another digest than it says");
    }
    Ok((length, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &Path, data: &[u8]) {
        let mut writing = Writing::begin(path).unwrap();
        writing.write(data).unwrap();
        assert!(writing.is(&Sha256::digest(data)) && !writing.is(&Sha256::digest(b"other")));
        writing.finish(path).unwrap();
    }

    fn all(path: &Path, offset: u64, bytes: Option<u64>) -> io::Result<Vec<u8>> {
        let mut checked = match open(path, offset, bytes)? {
            Opened::Checked(checked) => checked,
            Opened::Damaged(error, removed) => {
                removed.unwrap();
                assert!(!path.exists(), "it is taken away");
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        let mut all = Vec::new();
        while let Some(piece) = checked.next()? {
            all.extend(piece);
        }
        Ok(all)
    }

    #[test]
    fn what_was_written_is_read_from_any_byte_on() {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (dir.path().join("c"), vec![7; 2 * BUFFER_BYTES + 5]);
        written(&path, &data);
        assert!(has(&path, data.len() as u64) && !has(&path, 5));
        assert_eq!(all(&path, 0, None).unwrap(), data);
        assert_eq!(all(&path, 2 * BUFFER_BYTES as u64, Some(3)).unwrap(), [7; 3]);
        assert_eq!(all(&path, data.len() as u64, None).unwrap().len(), 0);
        assert_eq!(all(&path, u64::MAX, Some(9)).unwrap().len(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stands beside it");
    }

    #[test]
    fn what_is_not_finished_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut writing = Writing::begin(&dir.path().join("c")).unwrap();
        writing.write(b"data").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(writing);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn each_flipped_bit_and_each_lost_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        written(&path, b"some data");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            fs::write(&path, flipped).unwrap();
            assert_eq!(all(&path, 0, None).unwrap_err().kind(), io::ErrorKind::InvalidData, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(all(&path, 0, None).unwrap_err().kind(), io::ErrorKind::InvalidData, "{at} bytes");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(all(&path, 0, None).unwrap(), b"some data");
    }

    /// As a bad sector is: there is a file, and it cannot be read.
    #[test]
    fn what_the_disk_does_not_read_is_damaged_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
        let error = all(&path, 0, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(fs::symlink_metadata(&path).is_err(), "and fetched anew");
    }

    #[test]
    fn a_file_that_was_fetched_anew_is_not_the_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        fs::write(&path, b"damaged").unwrap();
        let opened = File::open(&path).unwrap();
        written(&path, b"some data");
        unlink(&opened, &path).unwrap();
        assert_eq!(all(&path, 0, None).unwrap(), b"some data");
    }
}
