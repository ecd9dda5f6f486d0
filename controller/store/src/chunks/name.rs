//! What a chunk is called, and the one place of its file that comes of it.

use std::path::{Path, PathBuf};

use crate::model::{BLOB_BYTES_MAX, CHUNK_BYTES_MAX, Part, UploadId};

/// Chunks of a part, at most.
const CHUNKS_MAX: u64 = BLOB_BYTES_MAX / CHUNK_BYTES_MAX;

/// A chunk: of which upload, of which attempt to send a part of it, and its number in that part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChunkName {
    pub(crate) upload: UploadId,
    pub(crate) run: u64,
    pub(crate) number: u32,
}

impl ChunkName {
    /// None: no part has so many.
    pub(crate) fn new(upload: UploadId, run: u64, number: u32) -> Option<Self> {
        (u64::from(number) < CHUNKS_MAX).then_some(Self { upload, run, number })
    }

    /// Where its file is, below the folder of its group.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(self.upload.to_string()).join(self.file())
    }

    pub(super) fn file(&self) -> String {
        format!("{:016x}-{}", self.run, self.number)
    }
}

/// The run that a file in an upload's folder is of; none: it is no chunk's.
pub(super) fn run_of(file: &str) -> Option<u64> {
    let (run, number) = file.split_once('-')?;
    let (run, number) = (u64::from_str_radix(run, 16).ok()?, number.parse().ok()?);
    let name = ChunkName::new(UploadId::new(0, 0), run, number)?;
    // No other text means the same.
    (name.file() == file).then_some(run)
}

/// The chunks of a part, with the bytes of each.
pub(crate) fn chunks_of(upload: UploadId, part: &Part) -> impl Iterator<Item = (ChunkName, u64)> {
    let (run, bytes) = (part.run, part.bytes);
    (0_u32..).map_while(move |number| {
        let left = bytes.checked_sub(u64::from(number) * CHUNK_BYTES_MAX).filter(|left| *left > 0)?;
        Some((ChunkName { upload, run, number }, left.min(CHUNK_BYTES_MAX)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parts_chunks_are_full_but_for_the_last_one() {
        let sizes = |bytes| {
            let part = Part { number: 1, run: 7, bytes, digest: bytes::Bytes::new() };
            chunks_of(UploadId::new(1, 2), &part).map(|(_, bytes)| bytes).collect::<Vec<_>>()
        };
        const FULL: u64 = CHUNK_BYTES_MAX;
        assert_eq!((sizes(0), sizes(1), sizes(FULL)), (vec![], vec![1], vec![FULL]));
        assert_eq!(sizes(2 * FULL + 5), [FULL, FULL, 5]);
        assert_eq!(sizes(BLOB_BYTES_MAX).len() as u64, CHUNKS_MAX);
    }

    #[test]
    fn a_file_is_a_chunks_or_it_is_not() {
        let name = ChunkName { upload: UploadId::new(1, 2), run: 0xab, number: 12 };
        assert_eq!((name.file(), run_of(&name.file())), ("00000000000000ab-12".to_owned(), Some(0xab)));
        for other in
            ["", "ab-12", "00000000000000ab-012", "00000000000000AB-1", "00000000000000ab-1280", "..", ".x-1"]
        {
            assert_eq!(run_of(other), None, "{other}");
        }
    }

    #[test]
    fn no_part_has_more_chunks_than_a_blob_may() {
        let new = |number| ChunkName::new(UploadId::new(1, 2), 3, number);
        assert!(new(1279).is_some() && new(1280).is_none() && new(u32::MAX).is_none());
    }
}
