//! The mark: a lower bound of what this log had made durable, in a file of its own.
//!
//! A tail that is gone without a trace cannot be seen by any checksum. So after each sync the end of the log and the
//! checksum of its last frame are written here, without a sync of their own: what the file says is never more than
//! what was durable. Positions only grow, a truncation being a record like others, so the mark is never lowered. A log
//! that ends below its mark, or has another frame there, has lost something that it acknowledged.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::disk;

/// Length of the file: it fits in one sector, so it is never half old and half new.
pub(crate) const MARK_BYTES: usize = 32;

const FORMAT: u32 = 2;

/// Where the durable part of a log ended at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) end: u64,
    /// Of the frame that ends there.
    pub(crate) checksum: u32,
}

impl Mark {
    fn to_bytes(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        let fields = FORMAT.to_le_bytes().into_iter().chain(self.end.to_le_bytes());
        let fields = fields.chain(self.checksum.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(at, byte)| *at = byte);
        if let Some((body, sum)) = bytes.split_last_chunk_mut::<4>() {
            *sum = crc32fast::hash(body).to_le_bytes();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let bytes = <[u8; MARK_BYTES]>::try_from(bytes)
            .map_err(|_| format!("the mark has {} bytes instead of {MARK_BYTES}", bytes.len()))?;
        let (format, rest) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let (end, rest) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let (checksum, _) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let (body, sum) = bytes.split_last_chunk::<4>().unwrap_or((&[], &[0; 4]));
        if crc32fast::hash(body).to_le_bytes() != *sum {
            return Err("the mark's checksum is wrong".to_owned());
        }
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(format!("the mark has format {format}, this build reads {FORMAT}"));
        }
        Ok(Self { end: u64::from_le_bytes(*end), checksum: u32::from_le_bytes(*checksum) })
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct MarkFile(File);

impl MarkFile {
    /// Makes the file, durably.
    pub(crate) fn create(path: &Path, mark: Mark) -> io::Result<()> {
        disk::write_whole(path, &mark.to_bytes())
    }

    /// What the file says; `Err` inside when it is not there or not whole.
    pub(crate) fn read(path: &Path) -> io::Result<Result<Mark, String>> {
        let bytes = disk::read_if_there(path)?;
        Ok(bytes.ok_or_else(|| "the mark is missing".to_owned()).and_then(|bytes| Mark::from_bytes(&bytes)))
    }

    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().write(true).open(path)?))
    }

    /// Raises the mark; not synced, because a lower one is right too.
    pub(crate) fn raise(&self, mark: Mark) -> io::Result<()> {
        self.0.write_all_at(&mark.to_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_round_trip_and_every_flipped_bit_is_found() {
        let mark = Mark { end: 7_000_000_001, checksum: 0xdead_beef };
        assert_eq!(Mark::from_bytes(&mark.to_bytes()), Ok(mark));
        for byte in 0..MARK_BYTES {
            let mut bytes = mark.to_bytes();
            bytes[byte] ^= 1;
            assert_eq!(Mark::from_bytes(&bytes), Err("the mark's checksum is wrong".to_owned()));
        }
        assert!(Mark::from_bytes(&[0; 3]).unwrap_err().contains("3 bytes"));
    }
}
