//! The state out of its records: from the disk, or from another controller's snapshot.

use coracle_proto::key::Key;
use coracle_proto::record::Record;
use thiserror::Error;

use super::{Broken, ClusterState, invariant};

/// Why records make no state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// Two records have one key.
    #[error("two records have the key '{0}'")]
    Twice(Key),
    /// The records contradict each other.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl ClusterState {
    /// Builds the state and its hash out of records in any order, and checks that they make one. How
    /// many there are is not asked: see [`Door::Disk`](coracle_proto::codec::Door::Disk).
    ///
    /// # Errors
    /// When a key stands twice or an invariant is broken.
    pub fn restore(records: impl IntoIterator<Item = Record>) -> Result<Self, RestoreError> {
        let mut state = Self::empty();
        for record in records {
            if let Some(old) = state.put(record) {
                return Err(RestoreError::Twice(old.key()));
            }
        }
        invariant::check_stored(&state)?;
        Ok(state)
    }
}
