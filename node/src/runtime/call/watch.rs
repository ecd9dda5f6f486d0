//! When body bytes last moved in either direction, and what the request's body came to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::status::Code;

use crate::call::CallError;
use crate::clock;

/// What a call's bodies do.
#[derive(Debug)]
pub(in crate::runtime) struct Watch {
    began: Instant,
    moved_ms: AtomicU64,
    idle_max: Duration,
    awaits_caller: AtomicBool,
    condemned: AtomicBool,
    verdict: Mutex<Option<CallError>>,
}

impl Watch {
    pub(in crate::runtime) fn new(began: Instant, idle_max: Duration) -> Self {
        Self {
            began,
            moved_ms: AtomicU64::new(0),
            idle_max,
            awaits_caller: AtomicBool::new(false),
            condemned: AtomicBool::new(false),
            verdict: Mutex::new(None),
        }
    }

    /// Bytes moved just now.
    pub(in crate::runtime) fn moved(&self) {
        self.moved_ms.store(clock::millis(self.began.elapsed()), Ordering::Relaxed);
    }

    /// Whether the guest waits for more of the request's body.
    pub(in crate::runtime) fn awaits_caller(&self) -> bool {
        self.awaits_caller.load(Ordering::Relaxed)
    }

    pub(in crate::runtime) fn set_awaits_caller(&self, awaits: bool) {
        self.awaits_caller.store(awaits, Ordering::Relaxed);
    }

    /// How long may still pass without a byte; `None` when it is over.
    pub(in crate::runtime) fn left(&self) -> Option<Duration> {
        let idle =
            self.began.elapsed().saturating_sub(Duration::from_millis(self.moved_ms.load(Ordering::Relaxed)));
        self.idle_max.checked_sub(idle).filter(|left| !left.is_zero())
    }

    /// The error for when it is over.
    pub(in crate::runtime) fn idle_error(&self) -> CallError {
        let message = format!(
            "no body bytes moved for {} ms, the function's 'idle-timeout'",
            self.idle_max.as_millis()
        );
        CallError::new(Code::IdleTimeout, message)
    }

    /// The call is to end with this error, whatever the guest makes of it.
    pub(in crate::runtime) fn condemn(&self, error: CallError) {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.condemned.store(true, Ordering::Release);
    }

    /// The error that it is to end with, if there is one.
    pub(in crate::runtime) fn verdict(&self) -> Option<CallError> {
        // Asked after each turn: nearly always there is none.
        if !self.condemned.load(Ordering::Acquire) {
            return None;
        }
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
