//! A group's part of a log, shared by who appends, who reads and the thread that writes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_proto::id::GroupId;

use super::Tail;

/// One group of a log.
#[derive(Debug)]
pub(crate) struct GroupLog {
    pub(crate) id: GroupId,
    tail: Mutex<Tail>,
}

impl GroupLog {
    pub(crate) fn new(id: GroupId, tail: Tail) -> Self {
        Self { id, tail: Mutex::new(tail) }
    }

    pub(crate) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
