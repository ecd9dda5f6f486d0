//! Whether all of a call's answer was made: a guest is often done before that is known.

use std::sync::{Arc, OnceLock};

/// Told once, to whoever has a clone.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct Ending(Arc<OnceLock<bool>>);

impl Ending {
    /// The answer was `whole`, or it was not. What is told first counts.
    pub(in crate::runtime) fn tell(&self, whole: bool) {
        let _ = self.0.set(whole);
    }

    /// Whether nothing was told yet.
    pub(in crate::runtime) fn is_open(&self) -> bool {
        self.0.get().is_none()
    }

    /// Whether the caller had an error for an answer, or not all of it.
    pub(in crate::runtime) fn is_broken(&self) -> bool {
        self.0.get() == Some(&false)
    }
}
