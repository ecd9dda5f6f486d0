//! What a call takes, added up as it goes, and told when the last of those who add to it is gone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::InvocationId;
use coracle_proto::record::Version;

use super::ending::Ending;
use crate::call::{Gathered, Receipt, Spent};
use crate::clock;
use crate::runtime::state::operation::{Came, Operation, Tally};
use crate::runtime::usage::{Outcome, Usage, UsageSink};

/// Dropping it tells.
#[derive(Debug)]
pub(in crate::runtime) struct Account {
    sink: Arc<dyn UsageSink>,
    version: Arc<Version>,
    invocation: InvocationId,
    trigger: &'static str,
    began: Instant,
    cold: AtomicBool,
    outcome: OnceLock<Outcome>,
    /// Where an instance may serve again: somebody waits for that.
    ending: Option<Ending>,
    cpu_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    requests: AtomicU64,
    blobs_in: AtomicU64,
    blobs_out: AtomicU64,
    /// What it did with what its function keeps.
    operations: Tally,
    /// What it does to it, where that is done with its end.
    gathered: Option<Arc<Mutex<Gathered>>>,
    receipt: Receipt,
}

impl Account {
    pub(in crate::runtime) fn new(
        sink: Arc<dyn UsageSink>,
        version: Arc<Version>,
        invocation: InvocationId,
        trigger: &'static str,
        receipt: Receipt,
    ) -> Self {
        let ending = version.spec.reuse().map(|_| Ending::default());
        let gathered = (receipt.gathers() && version.spec.has_state()).then(Arc::default);
        if gathered.is_none() {
            receipt.set_idle();
        }
        Self {
            sink,
            version,
            invocation,
            trigger,
            began: clock::now(),
            cold: AtomicBool::new(false),
            outcome: OnceLock::new(),
            ending,
            cpu_nanos: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            blobs_in: AtomicU64::new(0),
            blobs_out: AtomicU64::new(0),
            operations: Tally::default(),
            gathered,
            receipt,
        }
    }

    /// When the call began.
    pub(in crate::runtime) const fn began(&self) -> Instant {
        self.began
    }

    /// Code was mapped for it.
    pub(in crate::runtime) fn set_cold(&self, cold: bool) {
        self.cold.store(cold, Ordering::Relaxed);
    }

    /// It ended so. What is said first counts.
    pub(in crate::runtime) fn end(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_ok()
            && let Some(ending) = &self.ending
        {
            ending.tell(matches!(outcome, Outcome::Answered(_)));
        }
    }

    /// Its guest has returned, and the host has the whole of its answer: nothing can fail any more but the caller.
    pub(in crate::runtime) fn is_made(&self) {
        if let Some(ending) = &self.ending {
            ending.tell(true);
        }
    }

    /// Where it is told whether its answer was whole, at the latest when the account is; `None` where nobody asks.
    pub(in crate::runtime) const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Something computed for it.
    pub(in crate::runtime) fn computed(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Its guest has so many bytes now.
    pub(in crate::runtime) fn has_memory(&self, bytes: usize) {
        self.memory_bytes.fetch_max(bytes as u64, Ordering::Relaxed);
    }

    /// Its guest was given bytes of the request.
    pub(in crate::runtime) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of its answer were taken.
    pub(in crate::runtime) fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of blobs were read for it.
    pub(in crate::runtime) fn read_blob(&self, bytes: usize) {
        self.blobs_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of blobs were written for it.
    pub(in crate::runtime) fn wrote_blob(&self, bytes: usize) {
        self.blobs_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A request of its guest's goes out.
    pub(in crate::runtime) fn requests(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// It did not, after all.
    pub(in crate::runtime) fn refused(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Where it is gathered what the call does to what its function keeps; none: it is done at once.
    pub(in crate::runtime) const fn gathered(&self) -> Option<&Arc<Mutex<Gathered>>> {
        self.gathered.as_ref()
    }

    /// It did something with what its function keeps, and this came of it.
    pub(in crate::runtime) fn kept(&self, operation: Operation, came: Came) {
        self.operations.count(operation, came);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.end(Outcome::Abandoned);
        let count = |counter: &mut AtomicU64| std::mem::take(counter.get_mut());
        let usage = Usage {
            version: Arc::clone(&self.version),
            invocation: self.invocation,
            trigger: self.trigger,
            outcome: self.outcome.take().unwrap_or(Outcome::Abandoned),
            cold: *self.cold.get_mut(),
            wall: self.began.elapsed(),
            cpu: Duration::from_nanos(count(&mut self.cpu_nanos)),
            memory_peak_bytes: count(&mut self.memory_bytes),
            bytes_in: count(&mut self.bytes_in),
            bytes_out: count(&mut self.bytes_out),
            requests: count(&mut self.requests),
            blob_bytes_in: count(&mut self.blobs_in),
            blob_bytes_out: count(&mut self.blobs_out),
            operations: self.operations.take(),
        };
        let gathered = self.gathered.take();
        let gathered =
            gathered.map(|it| std::mem::take(&mut *it.lock().unwrap_or_else(PoisonError::into_inner)));
        let effects = gathered.map_or_else(Vec::new, Gathered::into_effects);
        self.receipt.over_with(Some(spent(&usage)), effects);
        self.sink.used(usage);
    }
}

fn spent(usage: &Usage) -> Spent {
    let Usage { wall, cpu, memory_peak_bytes, bytes_in, bytes_out, .. } = *usage;
    // Most calls take less than a millisecond, and have memory all the same.
    let byte_ms = u128::from(memory_peak_bytes).saturating_mul(wall.as_micros()) / 1000;
    let memory_byte_ms = u64::try_from(byte_ms).unwrap_or(u64::MAX);
    Spent { cpu, memory_byte_ms, bytes_in, bytes_out }
}
