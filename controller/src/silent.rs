//! Workers that did not answer lately: they are asked last, until they had time to come back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::NodeId;

/// One that is away for good is known to be after about as long: its reports are missed.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Who was silent, and when.
#[derive(Debug, Default)]
pub(crate) struct Silent(Mutex<BTreeMap<NodeId, Instant>>);

impl Silent {
    /// It did not answer in time.
    pub(crate) fn note(&self, node: NodeId, now: Instant) {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        silent.insert(node, now);
    }

    /// Whether it did not answer a moment ago.
    pub(crate) fn lately(&self, node: NodeId, now: Instant) -> bool {
        let silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.get(&node).is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_silent_worker_is_remembered_for_a_while() {
        let (silent, now, one) = (Silent::default(), clock::now(), NodeId::new(1));
        silent.note(one, now);
        assert!(silent.lately(one, now) && !silent.lately(NodeId::new(2), now));
        assert!(!silent.lately(one, now + REMEMBERED));
        silent.note(NodeId::new(2), now + REMEMBERED);
        assert_eq!(silent.0.lock().unwrap().len(), 1, "what is old is forgotten");
    }
}
