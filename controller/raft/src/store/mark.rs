//! The mark: a lower bound of what this store acknowledged, kept outside sled.
//!
//! sled drops a torn tail at recovery without an error, which a checksum in each record cannot see. So after
//! each `fdatasync` of the database its vote and last log id are written here, without a sync of their own:
//! what is in the file is never more than what was durable. Before the log is truncated the mark is lowered
//! *and* synced. A store below its mark has lost something that it acknowledged.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::disk;
use crate::state_machine::Position;

/// Length of the file: it fits in one sector, so it is never half old and half new.
pub(crate) const MARK_BYTES: usize = 32;

const FORMAT: u32 = 1;

/// A vote and the end of a log, comparable as a lower bound.
///
/// The vote's term is enough: in a term a voter votes for one node only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) vote_term: u64,
    pub(crate) last: Option<Position>,
}

impl Mark {
    /// Whether a store that is at `self` has everything that `bound` stands for.
    pub(crate) fn covers(&self, bound: &Self) -> bool {
        self.vote_term >= bound.vote_term && self.last >= bound.last
    }

    fn to_bytes(self) -> [u8; MARK_BYTES] {
        let (term, next) = self.last.map_or((0, 0), |last| (last.term, last.index + 1));
        let mut bytes = [0; MARK_BYTES];
        let fields = FORMAT.to_le_bytes().into_iter().chain(self.vote_term.to_le_bytes());
        let fields = fields.chain(term.to_le_bytes()).chain(next.to_le_bytes());
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
        let (vote_term, rest) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let (term, rest) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let (next, sum) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let body = bytes.get(..MARK_BYTES - 4).unwrap_or_default();
        if crc32fast::hash(body).to_le_bytes() != *sum {
            return Err("the mark's checksum is wrong".to_owned());
        }
        if u32::from_le_bytes(*format) != FORMAT {
            return Err(format!(
                "the mark has format {}, this build reads {FORMAT}",
                u32::from_le_bytes(*format)
            ));
        }
        let (term, next) = (u64::from_le_bytes(*term), u64::from_le_bytes(*next));
        let last = next.checked_sub(1).map(|index| Position { term, index });
        Ok(Self { vote_term: u64::from_le_bytes(*vote_term), last })
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

    /// Lowers the mark; synced, because a higher one would be wrong.
    pub(crate) fn lower(&self, mark: Mark) -> io::Result<()> {
        self.raise(mark)?;
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_round_trip_and_order() {
        let mark = Mark { vote_term: 7, last: Some(Position { term: 6, index: 99 }) };
        assert_eq!(Mark::from_bytes(&mark.to_bytes()), Ok(mark));
        assert_eq!(Mark::from_bytes(&Mark::default().to_bytes()), Ok(Mark::default()));
        assert!(mark.covers(&mark) && mark.covers(&Mark::default()) && !Mark::default().covers(&mark));
        let longer_but_older = Mark { vote_term: 7, last: Some(Position { term: 5, index: 500 }) };
        assert!(mark.covers(&longer_but_older) && !longer_but_older.covers(&mark));
        let mut bytes = mark.to_bytes();
        bytes[9] ^= 1;
        assert_eq!(Mark::from_bytes(&bytes), Err("the mark's checksum is wrong".to_owned()));
    }
}
