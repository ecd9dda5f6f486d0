//! How a process's open files are divided, so that nobody's crowd takes what another needs.

use crate::os;

/// A process's files are so many parts.
const PARTS: u64 = 8;
const GATEWAY_PARTS: u64 = 4;
const PROGRAMS_PARTS: u64 = 2;
const DATA_PARTS: u64 = 1;
const CONTROL_PARTS: u64 = 4;
const STORE_PARTS: u64 = 2;

// What is left is the reserve: other nodes, what guests call, files that are open for a moment. A controller's is for
// its log, its state, and the members that it calls.
const _: () = assert!(
    GATEWAY_PARTS + PROGRAMS_PARTS + DATA_PARTS < PARTS && CONTROL_PARTS < PARTS && STORE_PARTS < PARTS
);

/// What files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Connections of callers, at 8080: a half of the data plane's.
    Gateway,
    /// Mapped programs: a quarter of the data plane's.
    Programs,
    /// Connections of other nodes, at 7402: an eighth of the data plane's.
    Data,
    /// Connections at 7400: a half of the controller's.
    Control,
    /// Connections at 7403: a quarter of the store's, whose state has most of the others.
    Store,
}

impl Files {
    /// How many of this process's it may have, by the limit that holds now.
    #[must_use]
    pub fn here(self) -> usize {
        self.of(os::open_files())
    }

    /// Of so many files that its process may open, how many it may have: one at least.
    #[must_use]
    pub fn of(self, open_files: u64) -> usize {
        let parts = match self {
            Self::Gateway => GATEWAY_PARTS,
            Self::Programs => PROGRAMS_PARTS,
            Self::Data => DATA_PARTS,
            Self::Control => CONTROL_PARTS,
            Self::Store => STORE_PARTS,
        };
        // Divided first, for where there is no limit.
        usize::try_from((open_files / PARTS).saturating_mul(parts)).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_process_leave_a_reserve() {
        let data_plane = [Files::Gateway, Files::Programs, Files::Data];
        assert_eq!(data_plane.map(|part| part.of(1024)), [512, 256, 128]);
        assert_eq!(Files::Control.of(1024), 512);
        assert_eq!(Files::Data.of(0), 1);
        assert!(Files::Gateway.of(u64::MAX) > 1 << 40);
    }
}
