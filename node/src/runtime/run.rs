//! A guest's run: the one owner of its store, polled under limits, stopped by being dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use coracle_proto::spec::Limits;
use coracle_proto::status::Code;

use super::failure;
use super::guest::Signals;
use super::log::LineLog;
use crate::call::CallError;
use crate::{clock, os};

type Guest = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send>>;

/// A guest that runs. [`Run::poll`] goes on after its end and gives the same answer.
pub(super) struct Run {
    guest: Option<Guest>,
    ended: Option<Result<(), CallError>>,
    cpu_used: Duration,
    cpu_max: Duration,
    watch: Arc<Watch>,
    signals: Arc<Signals>,
    stderr: LineLog,
}

impl Run {
    pub(super) fn new(
        guest: impl Future<Output = wasmtime::Result<()>> + Send + 'static,
        limits: Limits,
        watch: Arc<Watch>,
        signals: Arc<Signals>,
        stderr: LineLog,
    ) -> Self {
        Self {
            guest: Some(Box::pin(guest)),
            ended: None,
            cpu_used: Duration::ZERO,
            cpu_max: limits.cpu_time,
            watch,
            signals,
            stderr,
        }
    }

    /// Lets the guest run until it waits, its turn is over, or it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        if let Some(ended) = &self.ended {
            return Poll::Ready(ended.clone());
        }
        let Some(guest) = &mut self.guest else {
            return Poll::Ready(Ok(()));
        };
        self.signals.turn_begins();
        let before = os::thread_cpu_time();
        let polled = guest.as_mut().poll(cx);
        self.cpu_used += os::thread_cpu_time().saturating_sub(before);
        let ended = match polled {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => self.judge(&error),
            Poll::Pending => match self.verdict() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
        };
        // Frees the instance now, not when the rest of the body was read.
        self.guest = None;
        self.ended = Some(ended.clone());
        Poll::Ready(ended)
    }

    /// Ends the guest for a reason of the platform's.
    pub(super) fn stop(&mut self, error: CallError) -> CallError {
        self.guest = None;
        self.ended = Some(Err(error.clone()));
        error
    }

    /// Whether the guest has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether the guest, when it was polled last, waited for nothing but its next turn.
    pub(super) fn is_computing(&self) -> bool {
        self.guest.is_some() && self.signals.turn_is_over()
    }

    /// When something last moved in either direction.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    fn judge(&self, error: &wasmtime::Error) -> Result<(), CallError> {
        if let Some(error) = self.watch.verdict() {
            return Err(error);
        }
        if failure::is_success(error) {
            return Ok(());
        }
        let named = failure::of_run(error, &self.signals);
        if named.code() == Code::FunctionTrapped {
            // With the stack: for the function's author, who reads its log.
            self.stderr.print(format!("{error:?}\n").as_bytes());
        }
        Err(named)
    }

    fn verdict(&self) -> Option<CallError> {
        if self.cpu_used > self.cpu_max {
            let message =
                format!("the function used more than 'cpu-time' grants, {} ms", self.cpu_max.as_millis());
            return Some(CallError::new(Code::CpuTimeExceeded, message));
        }
        self.watch.verdict()
    }
}

/// When body bytes last moved in either direction, and what the request's body came to.
#[derive(Debug)]
pub(super) struct Watch {
    began: Instant,
    moved_ms: AtomicU64,
    idle_max: Duration,
    awaits_caller: AtomicBool,
    verdict: Mutex<Option<CallError>>,
}

impl Watch {
    pub(super) fn new(idle_max: Duration) -> Arc<Self> {
        Arc::new(Self {
            began: clock::now(),
            moved_ms: AtomicU64::new(0),
            idle_max,
            awaits_caller: AtomicBool::new(false),
            verdict: Mutex::new(None),
        })
    }

    /// Bytes moved just now.
    pub(super) fn moved(&self) {
        self.moved_ms.store(clock::millis(self.began.elapsed()), Ordering::Relaxed);
    }

    /// Whether the guest waits for more of the request's body.
    pub(super) fn awaits_caller(&self) -> bool {
        self.awaits_caller.load(Ordering::Relaxed)
    }

    pub(super) fn set_awaits_caller(&self, awaits: bool) {
        self.awaits_caller.store(awaits, Ordering::Relaxed);
    }

    /// How long may still pass without a byte; `None` when it is over.
    pub(super) fn left(&self) -> Option<Duration> {
        let idle =
            self.began.elapsed().saturating_sub(Duration::from_millis(self.moved_ms.load(Ordering::Relaxed)));
        self.idle_max.checked_sub(idle).filter(|left| !left.is_zero())
    }

    /// The error for when it is over.
    pub(super) fn idle_error(&self) -> CallError {
        let message = format!(
            "no body bytes moved for {} ms, the function's 'idle-timeout'",
            self.idle_max.as_millis()
        );
        CallError::new(Code::IdleTimeout, message)
    }

    /// The call is to end with this error, whatever the guest makes of it.
    pub(super) fn condemn(&self, error: CallError) {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn verdict(&self) -> Option<CallError> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
