//! Decides whether a call may run now, and counts it while it does.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::FunctionId;
use coracle_proto::status::Code;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::call::{Body, CallError};

/// How long a call waits for a slot before the gateway is told to try another node.
pub(super) const QUEUE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The node's slots and what is in them.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Arc<Semaphore>,
    running_max: u32,
    queue_max: u32,
    /// Admitted or waiting.
    in_flight: AtomicU32,
    /// The same for each function that has any: bounded by `in_flight`.
    functions: Mutex<HashMap<FunctionId, u32>>,
}

/// A call that is counted; dropping it takes it out at once.
#[derive(Debug)]
pub(super) struct Counted {
    admission: Arc<Admission>,
    function: FunctionId,
}

/// A call that has a slot.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Admission {
    pub(super) fn new(running_max: u32, queue_max: u32) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(running_max as usize));
        Arc::new(Self {
            slots,
            running_max,
            queue_max,
            in_flight: AtomicU32::new(0),
            functions: Mutex::default(),
        })
    }

    /// Calls that run or wait.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a call, or refuses it.
    pub(super) fn enter(self: &Arc<Self>, function: &FunctionId, limit: u32) -> Result<Counted, CallError> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that calls that come together are counted one after the other.
        if self.in_flight() >= self.running_max.saturating_add(self.queue_max) {
            let said =
                format!("the node runs {} calls and {} wait: no more", self.running_max, self.queue_max);
            return Err(CallError::new(Code::Overloaded, said));
        }
        match functions.get_mut(function) {
            Some(running) if *running >= limit => {
                let said = format!("'{function}' has {limit} calls on this node: its concurrency");
                return Err(CallError::new(Code::ConcurrencyLimit, said));
            }
            Some(running) => *running += 1,
            None => drop(functions.insert(function.clone(), 1)),
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        drop(functions);
        Ok(Counted { admission: Arc::clone(self), function: function.clone() })
    }
}

impl Counted {
    /// A slot, if one is free and nobody waits.
    pub(super) fn try_slot(self) -> Result<Slot, Self> {
        match Arc::clone(&self.admission.slots).try_acquire_owned() {
            Ok(permit) => Ok(Slot { _permit: permit, _counted: self }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => Err(self),
        }
    }

    /// Waits for a slot: first come, first served.
    pub(super) async fn slot(self, patience: Duration) -> Result<Slot, CallError> {
        let wait = patience.min(QUEUE_WAIT_MAX);
        let acquired = tokio::time::timeout(wait, Arc::clone(&self.admission.slots).acquire_owned()).await;
        if let Ok(Ok(permit)) = acquired {
            return Ok(Slot { _permit: permit, _counted: self });
        }
        let said = format!("no slot of {} was free for {} ms", self.admission.running_max, wait.as_millis());
        Err(CallError::new(Code::Overloaded, said))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.admission.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut functions = self.admission.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = functions.get_mut(&self.function) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                functions.remove(&self.function);
            }
        }
    }
}

/// What a body holds.
pub(crate) trait Held: Send + Unpin + 'static {
    /// The body broke off.
    fn failed(&mut self, _error: &CallError) {}
}

impl Held for Slot {}

/// A body that holds something until it ends or is dropped.
#[derive(Debug)]
pub(crate) struct Holding<T> {
    body: Body,
    held: Option<T>,
}

impl<T: Held> Holding<T> {
    pub(crate) fn body(body: Body, held: T) -> Body {
        Body::new(Self { body, held: Some(held) })
    }
}

impl<T: Held> http_body::Body for Holding<T> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.held = None,
            Poll::Ready(Some(Err(error))) => {
                if let Some(mut held) = self.held.take() {
                    held.failed(error);
                }
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
