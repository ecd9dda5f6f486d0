//! Numbers for the starts of a node's processes: each is greater than all before it, though the clock was set back, or the
//! folder brought back from a copy; only both at once go back.
//!
//! What a process tells the cluster is newer than what its predecessor told by it. A clock may be set back between two
//! starts, and everybody would believe the older words until it has caught up. The supervisor draws the numbers for
//! itself and for its children, so that one file has one writer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::client::now_ms;
use crate::os;

/// The file in the data folder that holds the last one, as decimal text.
const FILE: &str = "incarnation";

/// The counter of one data folder, shared by those who start a process.
#[derive(Debug, Clone)]
pub(crate) struct Incarnations {
    path: PathBuf,
    last: Arc<Mutex<u64>>,
}

impl Incarnations {
    /// Goes on from the number in the folder, if there is one that can be read.
    pub(crate) fn load(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let kept = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        Self { path, last: Arc::new(Mutex::new(kept.unwrap_or_default())) }
    }

    /// The number of a start that happens now. One that cannot be kept still grows while this process lives.
    pub(crate) fn next(&self) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The time too: a folder that was brought back from a copy has the number of then.
        *last = last.saturating_add(1).max(now_ms());
        if let Err(error) = os::replace_file(&self.path, format!("{last}\n").as_bytes()) {
            warn!(%error, file = %self.path.display(), "the number of this start is not kept");
        }
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_start_has_a_greater_number_though_the_clock_was_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let ahead = now_ms() + 3_600_000;
        // As a data plane left it that counted by itself.
        fs::write(folder.path().join(FILE), format!("{ahead}\n")).unwrap();
        let own = Incarnations::load(folder.path());
        let childs = own.clone();
        assert_eq!([own.next(), childs.next(), own.next()], [ahead + 1, ahead + 2, ahead + 3]);
        assert_eq!(Incarnations::load(folder.path()).next(), ahead + 4, "the next supervisor goes on");
    }

    #[test]
    fn a_file_that_is_lost_damaged_or_old_leads_forward_too() {
        let folder = tempfile::tempdir().unwrap();
        let before = now_ms();
        assert!(Incarnations::load(folder.path()).next() >= before);
        for kept in ["?", "7"] {
            fs::write(folder.path().join(FILE), kept).unwrap();
            assert!(Incarnations::load(folder.path()).next() >= before, "{kept}");
        }
    }
}
