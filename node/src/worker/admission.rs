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
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{Body, CallError};

/// How long a call waits for a slot before the gateway is told to try another node.
pub(super) const QUEUE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Of four slots, how many one function may have at most: however slow its calls are, others find a slot. The rest
/// stays free where nobody else calls; so a node runs this much less of a single function.
const SHARE_OF_FOUR: u32 = 3;

/// Answers that are whole and wait to be read, beside those of calls with a slot: forty of the largest. Where more wait,
/// calls keep their slots until theirs are read: slow readers then take slots, and no more memory.
const KEPT_KIB_MAX: u32 = 256 << 10;
/// An answer up to this size is not counted: the gateway bounds how many calls are open, whoever has their answers.
const UNCOUNTED_BYTES_MAX: u64 = 64 << 10;

/// Functions without a call that are kept beside those with one, so that the next call finds what the last one left: some
/// hundred KiB.
const IDLE_KEPT_MAX: usize = 1024;

/// The node's slots and what is in them.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Arc<Semaphore>,
    running_max: u32,
    /// Of one function.
    share_max: u32,
    /// The same part of all that may run or wait: else one function's calls that wait for its share would fill the queue.
    calls_max: u32,
    queue_max: u32,
    /// Admitted or waiting.
    in_flight: AtomicU32,
    /// The same for each function that has any, or had lately: bounded by `in_flight` and [`IDLE_KEPT_MAX`].
    functions: Mutex<HashMap<FunctionId, Arc<Entered>>>,
    /// KiB of answers that have no slot any more.
    kept: Arc<Semaphore>,
}

/// The calls of one function.
#[derive(Debug)]
struct Entered {
    function: FunctionId,
    /// More come under the lock of all functions.
    calls: AtomicU32,
    /// Its share of the slots: who waits for it is in nobody else's way.
    share: Arc<Semaphore>,
}

/// A call that is counted; dropping it takes it out at once.
#[derive(Debug)]
pub(super) struct Counted {
    admission: Arc<Admission>,
    entered: Arc<Entered>,
}

/// A call that has a slot.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    counted: Counted,
    /// Behind all of them: fields are dropped in their order.
    _gone: Option<DropGuard>,
}

/// The place of an answer whose guest has ended.
#[derive(Debug)]
pub(super) struct Kept(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

impl Slot {
    /// Cancels a token when the slot has been given back.
    pub(super) fn when_gone(&mut self, token: CancellationToken) {
        self._gone = Some(token.drop_guard());
    }

    /// Gives the slot back while a whole answer of so many bytes waits to be read, if there is room for it; a small one
    /// needs none.
    pub(super) fn keep(self: Arc<Self>, bytes: u64) -> Result<Option<Kept>, Arc<Self>> {
        if bytes <= UNCOUNTED_BYTES_MAX {
            return Ok(None);
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.counted.admission.kept).try_acquire_many_owned(kib);
        room.map(|permit| Some(Kept(permit))).map_err(|_| self)
    }
}

impl Admission {
    pub(super) fn new(running_max: u32, queue_max: u32) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(running_max as usize));
        // A node of one slot has none to keep free.
        let share = |of: u32| {
            let part = (u64::from(of) * u64::from(SHARE_OF_FOUR)).div_ceil(4);
            u32::try_from(part).unwrap_or(of)
        };
        let (share_max, calls_max) = (share(running_max), share(running_max.saturating_add(queue_max)));
        Arc::new(Self {
            slots,
            running_max,
            share_max,
            calls_max,
            queue_max,
            in_flight: AtomicU32::new(0),
            functions: Mutex::default(),
            kept: Arc::new(Semaphore::new(KEPT_KIB_MAX as usize)),
        })
    }

    /// Calls that run or wait.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether nobody else may run or wait, of whatever function.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight() >= self.running_max.saturating_add(self.queue_max)
    }

    /// What a call that was refused finds taken: its function's own places, or those of all; and how many these are.
    pub(super) fn taken<'a>(&self, function: &'a FunctionId, limit: u32) -> (Option<&'a FunctionId>, u32) {
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let (calls, own) =
            (functions.get(function).map_or(0, |entered| entered.calls()), limit.min(self.calls_max));
        // Others' places are of no use to one that has all of its own.
        if calls >= own || !self.is_full() {
            (Some(function), own)
        } else {
            (None, self.running_max.saturating_add(self.queue_max))
        }
    }

    /// Counts a call, or refuses it.
    pub(super) fn enter(self: &Arc<Self>, function: &FunctionId, limit: u32) -> Result<Counted, CallError> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that calls that come together are counted one after the other.
        if self.is_full() {
            let said =
                format!("the node runs {} calls and {} wait: no more", self.running_max, self.queue_max);
            return Err(CallError::new(Code::Overloaded, said));
        }
        let entered = match functions.get(function) {
            Some(entered) => Arc::clone(entered),
            None => self.know(&mut functions, function),
        };
        if entered.calls() >= limit {
            let said = format!("'{function}' has {limit} calls on this node: its concurrency");
            return Err(CallError::new(Code::ConcurrencyLimit, said));
        }
        if entered.calls() >= self.calls_max {
            let said = format!(
                "'{function}' has {} calls on this node, running or waiting: others have the rest",
                self.calls_max
            );
            return Err(CallError::new(Code::Overloaded, said));
        }
        entered.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        drop(functions);
        Ok(Counted { admission: Arc::clone(self), entered })
    }

    /// Takes up a function that has no call yet, for which others without one may have to make room.
    fn know(&self, functions: &mut HashMap<FunctionId, Arc<Entered>>, function: &FunctionId) -> Arc<Entered> {
        if functions.len() >= (self.in_flight() as usize).saturating_add(IDLE_KEPT_MAX) {
            functions.retain(|_, entered| entered.calls() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share_max as usize));
        let entered = Arc::new(Entered { function: function.clone(), calls: AtomicU32::new(0), share });
        functions.insert(function.clone(), Arc::clone(&entered));
        entered
    }
}

impl Entered {
    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Counted {
    /// Whose slots are taken: its function's, where it has all that one may have and others' are no use to it, or those of
    /// all; and how many these are.
    pub(super) fn taken(&self) -> (Option<&FunctionId>, u32) {
        if self.entered.share.available_permits() == 0 {
            (Some(&self.entered.function), self.admission.share_max)
        } else {
            (None, self.admission.running_max)
        }
    }

    /// A slot, if one is free and nobody waits.
    pub(super) fn try_slot(self) -> Result<Slot, Self> {
        let share = Arc::clone(&self.entered.share).try_acquire_owned();
        let permit = share.and_then(|share| {
            let slot = Arc::clone(&self.admission.slots).try_acquire_owned()?;
            Ok((slot, share))
        });
        match permit {
            Ok((permit, share)) => Ok(Slot { _permit: permit, _share: share, counted: self, _gone: None }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => Err(self),
        }
    }

    /// Waits for a slot: first come, first served, but for those whose function has its share.
    pub(super) async fn slot(self, patience: Duration) -> Result<Slot, CallError> {
        let wait = patience.min(QUEUE_WAIT_MAX);
        let acquiring = async {
            let share = Arc::clone(&self.entered.share).acquire_owned().await?;
            Ok::<_, AcquireError>((Arc::clone(&self.admission.slots).acquire_owned().await?, share))
        };
        if let Ok(Ok((permit, share))) = tokio::time::timeout(wait, acquiring).await {
            return Ok(Slot { _permit: permit, _share: share, counted: self, _gone: None });
        }
        let (share_max, running_max) = (self.admission.share_max, self.admission.running_max);
        let said = format!(
            "no slot was free for {} ms: the node has {running_max}, of which '{}' may have {share_max}",
            wait.as_millis(),
            self.entered.function
        );
        Err(CallError::new(Code::Overloaded, said))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.admission.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.entered.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a body holds until its end.
pub(crate) trait UntilEnd: Send + Unpin + 'static {
    /// The body broke off.
    fn failed(&mut self, _error: &CallError) {}
}

impl UntilEnd for Arc<Slot> {}
impl UntilEnd for Kept {}

/// A body that holds something until it ends or is dropped.
#[derive(Debug)]
pub(crate) struct Holding<T> {
    body: Body,
    held: Option<T>,
}

impl<T: UntilEnd> Holding<T> {
    pub(crate) fn body(body: Body, held: T) -> Body {
        Body::new(Self { body, held: Some(held) })
    }
}

impl<T: UntilEnd> http_body::Body for Holding<T> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => {
                // First the guest, which may run still, then its slot: the next one finds its pools free.
                self.body = Body::default();
                self.held = None;
            }
            Poll::Ready(Some(Err(error))) => {
                self.body = Body::default();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn function(number: usize) -> FunctionId {
        FunctionId::parse("", &format!("f{number}")).unwrap()
    }

    #[test]
    fn functions_without_a_call_make_room_and_those_with_one_keep_their_count() {
        let admission = Admission::new(4, 4);
        let known = || admission.functions.lock().unwrap().len();
        let held = admission.enter(&function(0), 1).unwrap();
        for number in 1..=IDLE_KEPT_MAX * 3 {
            drop(admission.enter(&function(number), 1).unwrap());
            assert!(known() <= IDLE_KEPT_MAX + 1, "{}", known());
        }
        assert_eq!(admission.in_flight(), 1);
        let refused = admission.enter(&function(0), 1).unwrap_err();
        assert_eq!(refused.code(), Code::ConcurrencyLimit);
        drop(held);
        assert!(admission.enter(&function(0), 1).is_ok());
    }
}
