//! What is counted of a group's chunks, and shown.

use std::sync::atomic::{AtomicU64, Ordering};

use super::GroupChunks;

/// For whoever scrapes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) bytes: AtomicU64,
    pub(super) repaired: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) missing: AtomicU64,
    /// The group's sequence when a walk began that found all; zero: none has.
    pub(super) whole: AtomicU64,
}

/// What a group shows of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Of all files, as they were counted last.
    pub(crate) bytes: u64,
    /// Fetched from other members since the start.
    pub(crate) repaired: u64,
    /// Found damaged since the start.
    pub(crate) damaged: u64,
    /// That blobs and parts of uploads have and are not here, as far as it was looked.
    pub(crate) missing: u64,
    /// All that the group had at this sequence was here, but for what no member has; zero: it was not looked for all yet.
    pub(crate) whole: u64,
}

impl Shown {
    /// Whether all is here, as far as is known.
    pub(crate) const fn is_whole(&self) -> bool {
        self.whole > 0 && self.missing == 0
    }
}

impl GroupChunks {
    pub(crate) fn shown(&self) -> Shown {
        let Counts { bytes, repaired, damaged, missing, whole } = &*self.counts;
        Shown {
            bytes: bytes.load(Ordering::Relaxed),
            repaired: repaired.load(Ordering::Relaxed),
            damaged: damaged.load(Ordering::Relaxed),
            missing: missing.load(Ordering::Relaxed),
            whole: whole.load(Ordering::Relaxed),
        }
    }
}
