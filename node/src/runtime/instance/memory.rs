//! Counts the linear memories and tables of one instance, all together, against its grant and the node's budget.

use crate::runtime::budget::{Full, Share};

/// What an instance has.
pub(super) struct Memory {
    used: usize,
    /// What it was before the last growth.
    before: usize,
    max: usize,
    share: Share,
}

/// Why it has no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It was granted so many bytes.
    Granted(usize),
    /// The node has none left for guests.
    Node(Full),
}

impl Memory {
    /// Of an instance that may have so many bytes, and has nothing yet.
    pub(super) const fn new(max: usize, share: Share) -> Self {
        Self { used: 0, before: 0, max, share }
    }

    /// Bytes that it has.
    pub(super) const fn used(&self) -> usize {
        self.used
    }

    /// One of its memories or tables is to grow.
    pub(super) fn grow(&mut self, current: usize, desired: usize) -> Result<(), Refused> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.max {
            return Err(Refused::Granted(self.max));
        }
        self.share.grow(used as u64).map_err(Refused::Node)?;
        self.before = self.used;
        self.used = used;
        Ok(())
    }

    /// What was let in last did not come about.
    pub(super) const fn undo(&mut self) {
        self.used = self.before;
    }
}
