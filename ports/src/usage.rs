//! What a connection is used for: how many requests it made, and since when it has asked nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::now;

/// Who came a moment ago is about to speak: until then it counts like one that was answered just now.
const FRESH: Duration = Duration::from_millis(100);

/// Requests of one connection. Counting one takes no lock.
#[derive(Debug)]
pub struct Usage {
    came: Instant,
    greeted: AtomicBool,
    begun: AtomicU64,
    ended: AtomicU64,
    /// When its last request ended, in milliseconds after it came.
    quiet_ms: AtomicU64,
}

/// A request that is being answered; dropping it ends it.
#[derive(Debug)]
pub struct Asking(Arc<Usage>);

/// How much a connection that asks nothing has shown of itself: who has shown least makes room first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shown {
    /// Not even its protocol.
    Nothing,
    /// Its protocol, and no request.
    Greeting,
    /// Requests, which are answered.
    Requests,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            came: now(),
            greeted: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            quiet_ms: AtomicU64::new(0),
        }
    }
}

impl Usage {
    /// A request has come.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Asking {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Asking(Arc::clone(self))
    }

    /// Requests so far.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether none is being answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ended.load(Ordering::Relaxed) == self.begun()
    }

    /// It has said which protocol it speaks.
    pub(crate) fn greet(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// How much it has shown and since when it asks nothing; none while it is being answered.
    pub(crate) fn waits(&self, now: Instant) -> Option<(Shown, Instant)> {
        if !self.is_idle() {
            return None;
        }
        let shown = match (self.begun(), self.greeted.load(Ordering::Relaxed)) {
            (0, _) if now.saturating_duration_since(self.came) < FRESH => Shown::Requests,
            (0, false) => Shown::Nothing,
            (0, true) => Shown::Greeting,
            _ => Shown::Requests,
        };
        Some((shown, self.came + Duration::from_millis(self.quiet_ms.load(Ordering::Relaxed))))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let quiet = now().saturating_duration_since(self.0.came).as_millis();
        self.0.quiet_ms.store(u64::try_from(quiet).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
