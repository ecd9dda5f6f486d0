//! A segment's file: made whole before it is used, so that a sync of what is written into it later has nothing to do
//! but the data. A file that grows costs the file system a commit of its journal for each sync.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::SEGMENT_BYTES;
use super::sync::{self, Syncs};
use crate::disk;

const EXTENSION: &str = "wal";

/// Zeros are written in pieces of this length.
const PIECE: usize = 256 << 10;

/// The file of a segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) file: File,
}

impl Segment {
    /// Where its first byte stands in the whole log.
    pub(crate) fn base(number: u64) -> u64 {
        number * SEGMENT_BYTES
    }

    /// The segment in which a position of the log lies.
    pub(crate) fn of(position: u64) -> u64 {
        position / SEGMENT_BYTES
    }

    pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
        dir.join(format!("{number:010}.{EXTENSION}"))
    }

    /// Makes a segment of zeros, durably.
    pub(crate) fn create(dir: &Path, number: u64, syncs: &Syncs) -> io::Result<Self> {
        let (path, aside) = (Self::path(dir, number), dir.join(format!("{number:010}.tmp")));
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&aside)?;
        zero(&mut file, SEGMENT_BYTES)?;
        syncs.run(sync::NEW_SEGMENT, || file.sync_all())?;
        fs::rename(&aside, &path)?;
        syncs.run(sync::NEW_SEGMENT, || disk::sync_dir(dir))?;
        Ok(Self { number, file })
    }

    pub(crate) fn open(dir: &Path, number: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(Self::path(dir, number))?;
        Ok(Self { number, file })
    }

    /// All of its bytes: fewer than a segment has when the file was cut off.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(SEGMENT_BYTES as usize);
        (&self.file).take(SEGMENT_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes at a position of the log.
    pub(crate) fn write(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position - Self::base(self.number))
    }

    /// Makes everything behind a position zeros again, durably.
    pub(crate) fn clear_from(&self, position: u64, syncs: &Syncs) -> io::Result<()> {
        let mut at = position - Self::base(self.number);
        let zeros = vec![0; PIECE];
        while at < SEGMENT_BYTES {
            let length = (SEGMENT_BYTES - at).min(PIECE as u64);
            self.file.write_all_at(zeros.get(..length as usize).unwrap_or_default(), at)?;
            at += length;
        }
        syncs.run(sync::TORN_TAIL, || self.file.sync_data())
    }

    pub(crate) fn remove(dir: &Path, number: u64) -> io::Result<()> {
        fs::remove_file(Self::path(dir, number))
    }
}

fn zero(file: &mut File, length: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE];
    for _ in 0..length / PIECE as u64 {
        file.write_all(&zeros)?;
    }
    Ok(())
}

const _: () = assert!(SEGMENT_BYTES.is_multiple_of(PIECE as u64));

/// The numbers of the segments of a folder, ascending.
pub(crate) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            numbers.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
